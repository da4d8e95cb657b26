"""Statements: assignment, flow, definitions."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from racer.rewards import assignment, expressions
from racer.rewards.diagnostics import RefusedError, TooLargeError
from racer.rewards.library.names import MODULES
from racer.rewards.machine import Exit
from racer.rewards.operators import binary
from racer.rewards.scopes import stored_names
from racer.rewards.values import (
    POISON,
    Array,
    ClassRef,
    Conflict,
    Function,
    ListRef,
    Module,
    PoisonedError,
    Value,
)

if TYPE_CHECKING:
    from racer.rewards.interpreter import Interpreter


@dataclass
class Loop:
    """Drones that left the present pass of a loop, or the whole loop."""

    continues: list[Exit] = field(default_factory=list)
    breaks: list[Exit] = field(default_factory=list)


def run_block(run: Interpreter, body: list[ast.stmt]) -> None:
    """Execute statements; one that is refused is reported, and checking goes on after it."""
    for node in body:
        if run.state.active is False:
            return  # everybody has left already
        run.visit(node)
        try:
            _HANDLERS[type(node)](run, node)
        except TooLargeError:
            raise
        except RefusedError as error:
            run.report.add(error.message, error.node or node)
            _poison(run, node)
        except PoisonedError:
            _poison(run, node)


def _poison(run: Interpreter, node: ast.stmt) -> None:
    """What a refused statement would have set has no value that could be complained about."""
    if isinstance(node, ast.Return):
        _set_aside(run, run.scope.returns, POISON)
        return
    names = stored_names([node])
    run.visit(node, len(names))
    for name in names:
        if name in (run.scope.own or ()) or run.scope.own is None:
            run.state.frames[run.scope.frame][name] = POISON


def _set_aside(run: Interpreter, exits: list[Exit], value: Value = None) -> None:
    run.spend(len(run.state.heap) // 16)  # copied here, and again where they go on
    exits.append(Exit(run.state.copy(run.state.active), value))
    run.state.active = False


def _expression(run: Interpreter, node: ast.Expr) -> None:
    if not isinstance(node.value, ast.Constant):  # a docstring
        expressions.evaluate(run, node.value)


def _assign(run: Interpreter, node: ast.Assign) -> None:
    value = expressions.evaluate(run, node.value)
    for target in node.targets:
        run.assign(target, value)


def _annotated(run: Interpreter, node: ast.AnnAssign) -> None:
    if node.value is not None:
        run.assign(node.target, expressions.evaluate(run, node.value))


def _augmented(run: Interpreter, node: ast.AugAssign) -> None:
    place = assignment.place_of(run, node.target)
    old = run.present(place.load(), node)
    added = expressions.evaluate(run, node.value)
    if isinstance(old, Array):
        raise RefusedError("An array is not changed in place here: write a = a + b.", node)
    if isinstance(old, ListRef) and isinstance(node.op, (ast.Add, ast.Mult)):
        if isinstance(node.op, ast.Add):
            items = (*run.items_of(old), *expressions.iterate(run, added, node))
        else:
            items = run.items_of(_list_of(binary(run, node.op, old, added, node)))
        assignment.replace_items(run, old, items, node)
        return
    place.store(binary(run, node.op, old, added, node))


def _list_of(value: Value) -> ListRef:
    if not isinstance(value, ListRef):
        raise TypeError("a list times a number is a list")
    return value


def _if(run: Interpreter, node: ast.If) -> None:
    condition = expressions.test(run, node.test)
    run.fork(condition, lambda: run.run(node.body), lambda: run.run(node.orelse))


def _for(run: Interpreter, node: ast.For) -> None:
    iterable = run.present(expressions.evaluate(run, node.iter), node.iter)
    items = expressions.iterate(run, iterable, node.iter)
    loop = Loop()
    for index in range(len(items)):
        if run.state.active is False:
            break
        run.visit(node)
        run.assign(node.target, _current(run, iterable, items)[index])
        run.scope.loops.append(loop)
        try:
            run.run(node.body)
        finally:
            run.scope.loops.pop()
        run.rejoin(loop.continues)
        loop.continues = []
        if run.state.active is not False and len(_current(run, iterable, items)) != len(items):
            raise RefusedError("The list changes its length while it is looped over.", node)
    run.run(node.orelse)
    run.rejoin(loop.breaks)


def _current(run: Interpreter, iterable: Value, items: tuple[Value, ...]) -> tuple[Value, ...]:
    """The items as they are now: the body may change those of a list."""
    return run.items_of(iterable) if isinstance(iterable, ListRef) else items


def _break(run: Interpreter, _: ast.Break) -> None:
    _set_aside(run, run.scope.loops[-1].breaks)


def _continue(run: Interpreter, _: ast.Continue) -> None:
    _set_aside(run, run.scope.loops[-1].continues)


def _return(run: Interpreter, node: ast.Return) -> None:
    value = None if node.value is None else expressions.evaluate(run, node.value)
    if isinstance(value, Conflict):
        run.present(value, node.value or node)  # complains here, where the place is known
    _set_aside(run, run.scope.returns, value)


def _nothing(run: Interpreter, node: ast.stmt) -> None:
    """pass, global and nonlocal act by being there."""


# definitions


def _function(run: Interpreter, node: ast.FunctionDef) -> None:
    static = [each for each in node.decorator_list if _is_staticmethod(each)]
    if len(static) != len(node.decorator_list):
        raise RefusedError("Decorators are not accepted.", node.decorator_list[0])
    given = node.args
    if given.vararg or given.kwarg or given.kwonlyargs:
        raise RefusedError("* and ** are not accepted in a function's arguments.", node)
    defaults = tuple(expressions.evaluate(run, each) for each in given.defaults)
    function = Function(
        run.new_id(), node, run.names_of(node), run.defining_frame(), defaults, bool(static)
    )
    run.state.heap[function.id] = {}
    run.store(node.name, function)


def _is_staticmethod(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "staticmethod"


def _class(run: Interpreter, node: ast.ClassDef) -> None:
    plain = all(isinstance(base, ast.Name) and base.id == "object" for base in node.bases)
    if not plain or node.keywords or node.decorator_list:
        raise RefusedError("A class here has no base class and no decorator.", node)
    with run.class_body() as frame:
        run.run(node.body)
        contents = dict(run.state.frames[frame])
    ref = ClassRef(run.new_id(), node.name)
    run.state.heap[ref.id] = contents
    run.store(node.name, ref)


def _import(run: Interpreter, node: ast.Import) -> None:
    for alias in node.names:
        run.store(alias.asname or alias.name, _module(alias.name, node))


def _import_from(run: Interpreter, node: ast.ImportFrom) -> None:
    module = _module(node.module or "", node)
    for alias in node.names:
        if alias.name == "*":
            for name, value in module.members.items():
                run.store(name, value)
        elif alias.name in module.members:
            run.store(alias.asname or alias.name, module.members[alias.name])
        else:
            raise RefusedError(
                f"{module.name}.{alias.name[:64]} is not accepted in a reward function.", node
            )


def _module(name: str, node: ast.AST) -> Module:
    if name in MODULES:
        return MODULES[name]
    advice = {
        "random": "a reward that is random teaches nothing: leave it out.",
        "time": "use params['time'] or params['steps'].",
    }.get(name, "only math and numpy are there.")
    raise RefusedError(f"The module '{name[:64]}' cannot be imported: {advice}", node)


_HANDLERS: dict[type[ast.AST], Callable[..., None]] = {
    ast.Expr: _expression,
    ast.Assign: _assign,
    ast.AnnAssign: _annotated,
    ast.AugAssign: _augmented,
    ast.If: _if,
    ast.For: _for,
    ast.Break: _break,
    ast.Continue: _continue,
    ast.Return: _return,
    ast.Pass: _nothing,
    ast.Global: _nothing,
    ast.Nonlocal: _nothing,
    ast.FunctionDef: _function,
    ast.ClassDef: _class,
    ast.Import: _import,
    ast.ImportFrom: _import_from,
}
