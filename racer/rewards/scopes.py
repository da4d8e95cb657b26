"""Which names a function calls its own, by Python's rule: those that it assigns anywhere."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Names:
    """What a function assigns, and which of it belongs to an outer scope."""

    own: frozenset[str]
    global_names: frozenset[str]
    nonlocal_names: frozenset[str]


def names_of(node: ast.FunctionDef) -> Names:
    """The names of a function."""
    global_names: set[str] = set()
    nonlocal_names: set[str] = set()
    for each in _statements(node.body):
        if isinstance(each, ast.Global):
            global_names.update(each.names)
        elif isinstance(each, ast.Nonlocal):
            nonlocal_names.update(each.names)
    arguments = {each.arg for each in (*node.args.posonlyargs, *node.args.args)}
    own = (stored_names(node.body) | arguments) - global_names - nonlocal_names
    return Names(frozenset(own), frozenset(global_names), frozenset(nonlocal_names))


def stored_names(body: Iterable[ast.stmt]) -> set[str]:
    """The names that statements assign, definitions and imports included."""
    names: set[str] = set()
    for each in _statements(body):
        if isinstance(each, (ast.FunctionDef, ast.ClassDef)):
            names.add(each.name)
        elif isinstance(each, (ast.Import, ast.ImportFrom)):
            names |= {alias.asname or alias.name for alias in each.names}
        else:
            names |= _targets(each)
    return names


def _targets(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, (ast.AnnAssign, ast.AugAssign, ast.For)):
        targets = [node.target]
    else:
        return set()
    found = (each for target in targets for each in ast.walk(target))
    return {
        each.id for each in found if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)
    }


def _statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Every statement at any depth, but not those inside of other functions and classes."""
    stack = list(body)
    while stack:
        node = stack.pop()
        yield node
        if isinstance(node, (ast.If, ast.For)):
            stack.extend((*node.body, *node.orelse))
