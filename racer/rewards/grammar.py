"""Which syntax is accepted: a list of what is, so that whatever Python learns next is not.

Everything is looked at, also what can never be reached. Names with two leading underscores are
the way into Python's insides, and none is needed here except `__init__`.
"""

from __future__ import annotations

import ast
from collections import deque

from racer.rewards.diagnostics import Report
from racer.rewards.limits import MAX_SYNTAX_DEPTH, MAX_SYNTAX_NODES

_ACCEPTED: frozenset[type[ast.AST]] = frozenset(
    {
        *(ast.Module, ast.FunctionDef, ast.arguments, ast.arg, ast.ClassDef, ast.Return),
        *(ast.Assign, ast.AugAssign, ast.AnnAssign, ast.For, ast.If, ast.Expr, ast.Pass),
        *(ast.Break, ast.Continue, ast.Global, ast.Nonlocal),
        *(ast.Import, ast.ImportFrom, ast.alias),
        *(ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.UAdd, ast.IfExp),
        *(ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow),
        *(ast.BitAnd, ast.BitOr, ast.Compare, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt),
        *(ast.GtE, ast.Is, ast.IsNot, ast.In, ast.NotIn, ast.Call, ast.keyword, ast.Constant),
        *(ast.Name, ast.Load, ast.Store, ast.Attribute, ast.Subscript, ast.Slice, ast.Starred),
        *(ast.Tuple, ast.List, ast.Set, ast.Dict, ast.ListComp, ast.GeneratorExp, ast.SetComp),
        *(ast.comprehension, ast.JoinedStr, ast.FormattedValue),
    }
)
_REFUSED: dict[type[ast.AST], str] = {
    ast.While: "while loops may never end: use 'for … in range(…)' with a fixed number.",
    ast.Lambda: "lambda is not accepted: write a function with def.",
    ast.Try: "try is not accepted. What would raise, such as a division by zero, ends the step "
    "with a reward close to zero: test for it with if.",
    ast.Raise: "raise is not accepted.",
    ast.Assert: "assert is not accepted: use if.",
    ast.With: "with is not accepted: a reward function opens nothing.",
    ast.Delete: "del is not accepted.",
    ast.NamedExpr: "':=' is not accepted: assign on a line of its own.",
    ast.Yield: "yield is not accepted: return the reward.",
    ast.YieldFrom: "yield is not accepted: return the reward.",
    ast.Await: "await is not accepted.",
    ast.AsyncFunctionDef: "async is not accepted.",
    ast.AsyncFor: "async is not accepted.",
    ast.AsyncWith: "async is not accepted.",
    ast.DictComp: "Dictionary comprehensions are not accepted: write the dictionary out.",
    ast.MatMult: "@ is not accepted: use numpy.dot.",
    ast.LShift: "Shifts are not accepted.",
    ast.RShift: "Shifts are not accepted.",
    ast.BitXor: "^ is not accepted; a power is **.",
    ast.Invert: "~ is not accepted: use not.",
    ast.Match: "match is not accepted: use if and elif.",
    ast.Del: "del is not accepted.",
}


def check_grammar(tree: ast.Module, report: Report) -> None:
    """Report every construct that is not accepted, and a tree that is too large or too deep."""
    queue: deque[tuple[ast.AST, ast.AST, int]] = deque([(tree, tree, 0)])
    count = 0
    while queue:
        node, place, depth = queue.popleft()
        place = node if hasattr(node, "lineno") else place
        count += 1
        if count > MAX_SYNTAX_NODES or depth > MAX_SYNTAX_DEPTH:
            many = count > MAX_SYNTAX_NODES
            report.add("The function is too long." if many else "Too deeply nested.", place)
            return
        if type(node) not in _ACCEPTED:
            message = _REFUSED.get(type(node), "This is not accepted in a reward function.")
            report.add(message, place)
            continue
        _check_names(node, place, report)
        queue.extend((child, place, depth + 1) for child in ast.iter_child_nodes(node))


def _check_names(node: ast.AST, place: ast.AST, report: Report) -> None:
    for name in _names(node):
        if not name.isascii():
            report.add("Names may have ASCII letters, digits and _ only.", place)
        elif name.startswith("__") and not (
            name == "__init__" and isinstance(node, ast.FunctionDef)
        ):
            report.add(f"The name '{name[:64]}' is not accepted.", place)
    if isinstance(node, ast.comprehension) and node.is_async:
        report.add("async is not accepted.", place)
    if isinstance(node, ast.Constant) and isinstance(node.value, (bytes, complex)):
        report.add("Only numbers, texts, True, False and None are accepted here.", place)


def _names(node: ast.AST) -> list[str]:  # noqa: PLR0911 - one for each sort
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Attribute):
        return [node.attr]
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return [node.name]
    if isinstance(node, (ast.arg, ast.keyword)):
        return [node.arg] if node.arg else []
    if isinstance(node, (ast.Global, ast.Nonlocal)):
        return node.names
    if isinstance(node, ast.alias):
        return [*node.name.split("."), *([node.asname] if node.asname else [])]
    return []
