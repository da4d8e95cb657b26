"""Names, calls and statements on top of the machine: Python's rules of scope and flow."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from racer.rewards import assignment, expressions, statements
from racer.rewards.diagnostics import RefusedError, Report
from racer.rewards.library.methods import method
from racer.rewards.library.names import BUILTINS
from racer.rewards.limits import MAX_CALL_DEPTH
from racer.rewards.machine import Exit, Machine, Work
from racer.rewards.scopes import Names, names_of
from racer.rewards.values import (
    Bound,
    Builtin,
    ClassRef,
    Function,
    Guard,
    Instance,
    Value,
    describe,
)

GLOBALS = 0  # the frame of the module


@dataclass
class Scope:
    """A frame's rules: which names are its own, and where the others are looked up."""

    frame: int
    parent: Scope | None = None
    own: frozenset[str] | None = None  # None: all that are assigned here (the module, a class)
    global_names: frozenset[str] = frozenset()
    nonlocal_names: frozenset[str] = frozenset()
    function: Function | None = None
    returns: list[Exit] = field(default_factory=list)
    loops: list[statements.Loop] = field(default_factory=list)
    of_class: bool = False  # its names are not seen from the functions in it


class Interpreter(Machine):
    """Executes a module and calls its functions, abstractly."""

    def __init__(self, report: Report, work: Work, inputs: dict[str, Value]) -> None:
        super().__init__(report, work, inputs)
        self.state.frames[GLOBALS] = {}
        self.scope = Scope(GLOBALS)
        self._scopes = {GLOBALS: self.scope}
        self._depth = 0
        self._names: dict[ast.FunctionDef, Names] = {}

    # entry points that other modules use

    def evaluate(self, node: ast.expr) -> Value:
        """The value of an expression."""
        return expressions.evaluate(self, node)

    def run(self, body: list[ast.stmt]) -> None:
        """Execute statements in the present scope."""
        statements.run_block(self, body)

    def assign(self, target: ast.expr, value: Value) -> None:
        """target = value."""
        assignment.assign(self, target, value)

    def method(self, owner: Value, name: str) -> Builtin | None:
        """A list's, dictionary's or params' own method, bound to it."""
        return method(owner, name)

    # names

    def load(self, node: ast.Name) -> Value:
        """What a name stands for, by Python's rules of scope."""
        name = node.id
        scope: Scope | None = self.scope
        if name in self.scope.global_names:
            scope = self._scopes[GLOBALS]
        elif self.scope.own is not None and name in self.scope.own:
            return self._own(name, node)
        while scope is not None:
            names = self.state.frames.get(scope.frame, {})
            if name in names:
                return self.stripped(names[name], node)
            scope = scope.parent
        if name in BUILTINS:
            return BUILTINS[name]
        raise RefusedError(f"The name '{name[:64]}' is not defined.", node)

    def _own(self, name: str, node: ast.Name) -> Value:
        names = self.state.frames[self.scope.frame]
        if name in names:
            return self.stripped(names[name], node)
        hint = (
            f" To keep a value from step to step, write 'global {name}' first."
            if name in self.state.frames[GLOBALS]
            else ""
        )
        raise RefusedError(f"'{name}' has no value here yet.{hint}", node)

    def store(self, name: str, value: Value) -> None:
        """Assign a name, by Python's rules of scope."""
        frame = self.scope.frame
        if name in self.scope.global_names:
            frame = GLOBALS
        elif name in self.scope.nonlocal_names:
            frame = self._owner(name)
        self.state.frames[frame][name] = value

    def _owner(self, name: str) -> int:
        scope = self.scope.parent
        while scope is not None and scope.frame != GLOBALS:
            if scope.own is not None and name in scope.own:
                return scope.frame
            scope = scope.parent
        raise RefusedError(f"No enclosing function has a variable '{name}'.")

    def stripped(self, value: Value, node: ast.AST) -> Value:
        """The value, which must have been set; it may still be None."""
        if isinstance(value, Guard) and value.why == "unset":
            self.fault_if(value.flag, node, "it has no value yet")
            return self.stripped(value.value, node)
        return value

    @contextmanager
    def inner_names(self, target: ast.expr) -> Iterator[None]:
        """The names of a comprehension are its own."""
        outer = self.scope
        nodes = list(ast.walk(target))
        self.visit(target, len(nodes))
        names = frozenset(each.id for each in nodes if isinstance(each, ast.Name))
        self.scope = Scope(self.new_id(), outer, names, function=outer.function)
        self.state.frames[self.scope.frame] = {}
        try:
            yield
        finally:
            self.state.frames.pop(self.scope.frame, None)
            self.scope = outer

    @contextmanager
    def class_body(self) -> Iterator[int]:
        """A frame for the names that a class defines."""
        outer = self.scope
        self.scope = Scope(self.new_id(), outer, function=outer.function, of_class=True)
        self.state.frames[self.scope.frame] = {}
        try:
            yield self.scope.frame
        finally:
            self.state.frames.pop(self.scope.frame, None)
            self.scope = outer

    def names_of(self, node: ast.FunctionDef) -> Names:
        """The names of a function, looked for once: a `def` may stand in a loop."""
        if node not in self._names:
            self._names[node] = names_of(node)
        return self._names[node]

    def defining_frame(self) -> int:
        """The frame that a function defined here looks its outer names up in."""
        scope = self.scope
        while scope.of_class and scope.parent is not None:
            scope = scope.parent
        return scope.frame

    # calls

    def call(self, node: ast.Call) -> Value:
        """A call in the source."""
        callee = self.present(self.evaluate(node.func), node)
        if callee is BUILTINS["print"]:
            self.report.add("print is ignored while training.", node, "warning")
            return None
        args: list[Value] = []
        for each in node.args:
            if isinstance(each, ast.Starred):
                args.extend(expressions.iterate(self, self.evaluate(each.value), each))
            else:
                args.append(self.evaluate(each))
        kwargs = {}
        for keyword in node.keywords:
            if keyword.arg is None:
                raise RefusedError("** is not accepted.", keyword)
            kwargs[keyword.arg] = self.evaluate(keyword.value)
        return self.apply(callee, args, kwargs, node)

    def apply(
        self, callee: Value, args: list[Value], kwargs: dict[str, Value], node: ast.Call
    ) -> Value:
        """Call a value."""
        if isinstance(callee, Builtin):
            return callee.apply(self, node, args, kwargs)
        if isinstance(callee, Function):
            return self.inline(callee, args, kwargs, node)
        if isinstance(callee, Bound):
            return self.inline(callee.function, [callee.instance, *args], kwargs, node)
        if isinstance(callee, ClassRef):
            return self._instantiate(callee, args, kwargs, node)
        raise RefusedError(f"{describe(callee).capitalize()} cannot be called.", node)

    def _instantiate(
        self, of: ClassRef, args: list[Value], kwargs: dict[str, Value], node: ast.Call
    ) -> Value:
        instance = Instance(self.new_id(), of)
        self.state.heap[instance.id] = {}
        initialiser = self.attributes_of(of.id).get("__init__")
        if isinstance(initialiser, Function):
            self.inline(initialiser, [instance, *args], kwargs, node)
        elif args or kwargs:
            raise RefusedError(f"{of.name}() takes no arguments.", node)
        return instance

    def inline(
        self, function: Function, args: list[Value], kwargs: dict[str, Value], node: ast.AST
    ) -> Value:
        """Execute a function's body in a frame of its own, with its arguments."""
        self._check_depth(function, node)
        bound = self._arguments(function, args, kwargs, node)  # refused while still the caller
        caller, active = self.scope, self.state.active
        self.scope = self._enter(function)
        self.state.frames[self.scope.frame] = bound
        self._depth += 1
        try:
            self.run(function.node.body)
            value = self._leave(active)
        finally:
            self._depth -= 1
            self._scopes.pop(self.scope.frame)
            self.scope = caller
        return value

    def _check_depth(self, function: Function, node: ast.AST) -> None:
        scope: Scope | None = self.scope
        callers = [each.function for each in self._scopes.values()]
        if function in callers or (scope and scope.function is function):
            raise RefusedError(
                f"{function.node.name}() calls itself: write a loop over a fixed range instead.",
                node,
            )
        if self._depth >= MAX_CALL_DEPTH:
            raise RefusedError(f"Calls go more than {MAX_CALL_DEPTH} deep.", node)

    def _enter(self, function: Function) -> Scope:
        names = function.names
        parent = self._scopes.get(function.scope)
        if parent is None:
            raise RefusedError(
                "A function that was made in another one must not outlive it.", function.node
            )
        scope = Scope(
            self.new_id(),
            parent,
            names.own,
            names.global_names,
            names.nonlocal_names,
            function,
        )
        self._scopes[scope.frame] = scope
        return scope

    def _leave(self, active: object) -> Value:
        """Merge the ways out of the function; the end of its body returns None."""
        value: Value = None
        if self.scope.returns and self.state.active is False:
            last = self.scope.returns.pop()
            self.state, value = last.state, last.value
        for way in reversed(self.scope.returns):
            before, gone = self.state, way.state
            self.state = self.merge(gone.active, gone, before)
            value = self.join(gone.active, way.value, value, gone, before)
        self.state.frames.pop(self.scope.frame, None)
        self.state.active = active  # type: ignore[assignment]  # whoever called goes on
        return value

    def _arguments(
        self, function: Function, args: list[Value], kwargs: dict[str, Value], node: ast.AST
    ) -> dict[str, Value]:
        given = function.node.args
        names = [each.arg for each in (*given.posonlyargs, *given.args)]
        who = f"{function.node.name}()"
        if len(args) > len(names):
            raise RefusedError(f"{who} takes {len(names)} arguments, not {len(args)}.", node)
        bound: dict[str, Value] = dict(zip(names, args, strict=False))
        for name, value in kwargs.items():
            if name in bound or name not in names:
                raise RefusedError(f"{who} cannot take the argument '{name}'.", node)
            bound[name] = value
        optional = dict(
            zip(names[len(names) - len(function.defaults) :], function.defaults, strict=True)
        )
        for name in names:
            if name not in bound:
                if name not in optional:
                    raise RefusedError(f"{who} needs the argument '{name}'.", node)
                bound[name] = optional[name]
        return bound
