"""The rules of docs/architecture.md about the top-level modules and about slices.

import-linter (see pyproject.toml) holds the rules inside `racer`; it does not read plain modules.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.support import REPOSITORY

SPINE = ("database", "models", "schemas", "crud", "auth")
SLICES = (
    "tracks",
    "policies",
    "accounts",
    "control",
    "flights",
    "training",
    "cameras",
    "console",
    "evaluations",
    "races",
    "upkeep",
)
ENTRY_OF_THE_CONTROLLER = ("drone_controller", "debug_connection", "minimal_test")
SPINE_MAY_IMPORT = {"racer.settings", "racer.errors"}
CONTROLLER_MAY_IMPORT = ("racer.flight", "racer.settings", "racer.process", "racer.errors")


# Where what flies may read the clock that anybody may set: to say when something was, never to
# decide anything. A jump of it neither moves a vehicle nor loses a command.
READS_THE_WALL_CLOCK = {
    "racer/flight/ros_node.py",  # stamps of messages
    "racer/flight/recorder.py",  # the recording's epoch
    "racer/autopilot/reports.py",  # SYSTEM_TIME
}
WALL_CLOCKS = {"time.time", "time.time_ns", "now", "utcnow", "today", "get_clock"}


def imported(path: Path) -> set[str]:
    """Every module that a file imports, at its top or inside a function."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            submodules = {f"{node.module}.{alias.name}" for alias in node.names}
            known = {name for name in submodules if _is_module(name)}
            names |= known or {node.module}
    return names


def _is_module(name: str) -> bool:
    path = REPOSITORY.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").exists()


@pytest.mark.parametrize("module", SPINE)
def test_the_spine_imports_only_settings_and_errors_of_racer(module: str) -> None:
    ours = {name for name in imported(REPOSITORY / f"{module}.py") if name.startswith("racer")}
    assert ours <= SPINE_MAY_IMPORT


@pytest.mark.parametrize("module", ENTRY_OF_THE_CONTROLLER)
def test_the_controller_imports_engines_only(module: str) -> None:
    names = imported(REPOSITORY / f"{module}.py")
    assert not names & {*SPINE, "main", "fastapi", "sqlalchemy"}
    ours = {name for name in names if name.startswith("racer")}
    assert all(name.startswith(CONTROLLER_MAY_IMPORT) for name in ours), ours


@pytest.mark.parametrize("slice_name", SLICES)
def test_a_slice_reaches_another_only_through_its_service(slice_name: str) -> None:
    others = tuple(f"racer.{other}." for other in SLICES if other != slice_name)
    for path in (REPOSITORY / "racer" / slice_name).rglob("*.py"):
        reached = {name for name in imported(path) if name.startswith(others)}
        wrong = {name for name in reached if name.split(".")[2] != "service"}
        assert not wrong, f"{path.relative_to(REPOSITORY)} imports {sorted(wrong)}"


def test_no_package_shadows_a_given_module() -> None:
    assert not [name for name in SPINE if (REPOSITORY / "racer" / name).exists()]


def test_what_flies_decides_by_clocks_that_nobody_sets() -> None:
    readers: set[str] = set()
    for engine in ("flight", "control", "autopilot"):
        for path in (REPOSITORY / "racer" / engine).rglob("*.py"):
            calls = [
                n.func for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)
            ]
            used = {ast.unparse(call) for call in calls}
            used |= {call.attr for call in calls if isinstance(call, ast.Attribute)}
            if used & WALL_CLOCKS:
                readers.add(str(path.relative_to(REPOSITORY)))
    assert readers == READS_THE_WALL_CLOCK
