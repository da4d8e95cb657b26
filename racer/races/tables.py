"""Results as a table: a line an entry, a column a gate of each lap."""

from __future__ import annotations

import csv
import io
from typing import Any

from models import Race, RaceEntry

_COLUMNS = (
    *("rank", "username", "flown", "policy", "version", "status", "cause", "score_s"),
    *("course_time_s", "best_lap_s", "best_three_s", "gates_passed", "distance_m"),
    *("elo", "elo_change"),
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what spreadsheets run


def results_csv(race: Race, ranking: list[RaceEntry]) -> str:
    """The text; an empty field where there is nothing to say, splits in s."""
    rows = [_line(entry) for entry in ranking]
    longest = max((entry.result or {} for entry in ranking), key=lambda r: len(_splits(r)))
    gates = [_column(split) for split in _splits(longest)]
    text = io.StringIO()
    table = csv.DictWriter(text, [*_COLUMNS, *gates], restval="", lineterminator="\r\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()


def _line(entry: RaceEntry) -> dict[str, Any]:
    result = entry.result or {}
    told = {name: result[name] for name in _COLUMNS if result.get(name) is not None}
    splits = {_column(split): split["split_s"] for split in _splits(result)}
    own = {
        "rank": entry.rank,
        "username": _text(entry.username),
        "flown": entry.flown,
        "policy": _text(entry.policy_name or ""),
        "version": entry.policy_version,
        "elo": None if entry.elo is None else round(entry.elo, 1),
        "elo_change": None if entry.elo_change is None else round(entry.elo_change, 1),
    }
    return told | own | splits


def _splits(result: dict[str, Any]) -> list[dict[str, Any]]:
    splits: list[dict[str, Any]] = result.get("splits", [])
    return splits


def _column(split: dict[str, Any]) -> str:
    return f"lap {split['lap']} gate {split['gate']}"


def _text(name: str) -> str:
    """A name is anybody's, and must not be a formula where the table is opened."""
    return f"'{name}" if name.startswith(_FORMULA) else name
