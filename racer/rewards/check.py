"""From source text to a checked program, without running any of it and without JAX.

    program, diagnostics = check(source)

What comes out is all that the compiler needs; what the compiler refuses is refused here, so the
web service and the training agree. Time and memory are bounded for any input (see limits).
"""

from __future__ import annotations

import ast
from dataclasses import dataclass

from racer.rewards import carried, parameters
from racer.rewards.carried import Cell, Leaves, Shape
from racer.rewards.diagnostics import (
    Diagnostic,
    InvalidRewardError,
    RefusedError,
    Report,
)
from racer.rewards.grammar import check_grammar
from racer.rewards.graph import Kind, Node, Number, reachable
from racer.rewards.interpreter import GLOBALS, Interpreter
from racer.rewards.joining import MISSING
from racer.rewards.limits import MAX_ROUNDS
from racer.rewards.machine import State, Work
from racer.rewards.source import check_rules, parse
from racer.rewards.values import POISON, Function, Params, PoisonedError, Value

ENTRY = "reward_function"


@dataclass(frozen=True)
class Program:
    """A checked reward function: results as nodes of one graph.

    The names of `inputs` are those of parameters.py, with `.x` and the like where a parameter has
    several numbers; `waypoints.length` and `objects.length` count rows.
    """

    source: str
    reward: Number
    fault: Number  # where Python would have raised
    memory: tuple[Number, ...]  # what the step leaves, leaf by leaf
    memory_kinds: tuple[Kind, ...]
    memory_first: tuple[float, ...]  # what a flight begins with
    inputs: frozenset[str]  # the values of `params` that it reads
    size: int  # operations


def check(source: str) -> tuple[Program | None, tuple[Diagnostic, ...]]:
    """The program and what there is to say about the text; no program when there is an error."""
    report = Report(source)
    program = None
    tree = parse(source, report)
    if tree is not None:
        check_grammar(tree, report)
    if tree is not None and not report.failed:
        check_rules(tree, report)
    if tree is not None and not report.failed:
        try:
            program = _Checker(source, tree, report).program()
        except RefusedError as error:
            report.add(error.message, error.node)
        except PoisonedError:
            pass  # has been reported where it arose
        except RecursionError:
            report.add("The function is nested too deeply.", None)
    return (None if report.failed else program), report.diagnostics()


def compile_source(source: str) -> Program:
    """The program of a text that must be right; InvalidRewardError has the diagnostics."""
    program, diagnostics = check(source)
    if program is None:
        raise InvalidRewardError(diagnostics)
    return program


class _Checker:
    """Runs the function, round by round, until it is known what it carries."""

    def __init__(self, source: str, tree: ast.Module, report: Report) -> None:
        self._source, self._tree, self._report = source, tree, report
        self._work = Work()
        self._shapes: dict[Cell, Shape] = {}

    def program(self) -> Program | None:
        """The program of the first round that finds nothing new; None after an error."""
        for _ in range(MAX_ROUNDS):
            program, again = self._round()
            if self._report.failed:
                return None
            if not again:
                return program
        raise RefusedError("What is kept from step to step does not settle.", self._tree.body[0])

    def _round(self) -> tuple[Program | None, bool]:
        machine = Interpreter(self._report, self._work, {})
        machine.run(self._tree.body)
        function = self._entry(machine)
        if machine.fault is not False:
            raise RefusedError("The module itself fails before the first step.", function.node)
        first = machine.state.copy(True)
        machine.inputs.update(parameters.inputs(machine))  # anew in each step, its lists too
        start = carried.cells_of(first)
        leaves = Leaves()
        for cell, shape in self._shapes.items():
            carried.put(machine, cell, carried.recall(machine, shape, leaves))
        before = carried.cells_of(machine.state)
        value = machine.inline(function, [Params()], {}, function.node)
        after = carried.cells_of(machine.state)
        found = carried.changed(machine, before, after, set(first.heap))
        try:
            again = self._learn(found, start, after, machine, first)
        except RefusedError as error:
            error.node = error.node or function.node
            raise
        if again or self._report.failed:
            return None, again
        return self._finish(machine, function, value, (start, after, first), leaves), False

    def _entry(self, machine: Interpreter) -> Function:
        function = machine.state.frames[GLOBALS].get(ENTRY)
        if function is POISON:
            raise PoisonedError
        if not isinstance(function, Function):
            raise RefusedError(f"There is no function: write def {ENTRY}(params).")
        arguments = function.node.args
        needed = len(arguments.posonlyargs) + len(arguments.args) - len(function.defaults)
        if needed > 1 or not (arguments.posonlyargs or arguments.args):
            raise RefusedError(f"{ENTRY} takes one argument: params.", function.node)
        return function

    def _learn(
        self,
        found: set[Cell],
        start: dict[Cell, Value],
        after: dict[Cell, Value],
        machine: Interpreter,
        first: State,
    ) -> bool:
        """Whether the shapes had to grow."""
        shapes = dict(self._shapes)
        for cell in sorted(found | set(shapes)):
            contents = cell[0] == "heap" and not cell[2]
            new = carried.shape_of(machine, after[cell], machine.state, contents=contents)
            began = start.get(cell, MISSING)
            old = shapes.get(cell) or carried.shape_of(machine, began, first, contents=contents)
            shapes[cell] = carried.join_shapes(old, new)
            carried.refuse_passing(shapes[cell], set(first.heap))
        grown = shapes != self._shapes
        self._shapes = shapes
        return grown

    def _finish(
        self,
        machine: Interpreter,
        function: Function,
        value: Value,
        ends: tuple[dict[Cell, Value], dict[Cell, Value], State],
        leaves: Leaves,
    ) -> Program:
        start, after, first = ends
        if value is None:
            raise RefusedError(f"{ENTRY} never returns a number.", function.node)
        reward = machine.number(value, function.node, "a number that is returned")
        left: list[Number] = []
        began: list[Number] = []
        for cell, shape in self._shapes.items():
            left += carried.flatten(machine, after[cell], shape, machine.state)
            began += carried.flatten(machine, start.get(cell, MISSING), shape, first)
        nodes = list(reachable([reward, machine.fault, *left]))
        read = {node.data for node in nodes if node.op in ("input", "lookup")}
        return Program(
            source=self._source,
            reward=reward,
            fault=machine.fault,
            memory=tuple(left),
            memory_kinds=tuple(leaves.kinds),
            memory_first=tuple(first for first in began if not isinstance(first, Node)),
            inputs=frozenset(read),
            size=len(nodes),
        )
