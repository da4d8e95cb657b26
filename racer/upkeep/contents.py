"""What a backup holds, and how rows are written in it.

A gzipped tar: first `backup.json`, then `tables/<name>.jsonl`, a JSON array of values a row, then
`data/…`, the files of DATA_DIR. Rows are written without a database's dialect, so what was kept in
SQLite can be restored into PostgreSQL and back.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import JSON, Column, DateTime, null

HEAD = "backup.json"
TABLES = "tables"
DATA = "data"
FOLDERS = ("runs", "policies", "races", "jobs", "flights")  # the rest is made anew, or is secret
FORMAT = 1


class Head(BaseModel):
    """The first file of a backup."""

    model_config = ConfigDict(extra="forbid")

    format: int
    revision: str  # of the database
    made_at: str
    tables: dict[str, list[str]]  # their columns, in the order of the values


def to_line(values: Sequence[Any]) -> bytes:
    """A row of Python values."""
    return json.dumps([_told(value) for value in values], separators=(",", ":")).encode() + b"\n"


def _told(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return value.value if isinstance(value, Enum) else value


def from_line(line: bytes, columns: Sequence[Column[Any]], *, keeps_zones: bool) -> dict[str, Any]:
    """The row for a table as the database describes it. Raises ValueError for a damaged one."""
    values = json.loads(line)
    if not isinstance(values, list) or len(values) != len(columns):
        raise ValueError(f"a row of {len(columns)} values is expected")
    row = zip(columns, values, strict=True)
    return {column.name: _read(column, value, keeps_zones=keeps_zones) for column, value in row}


def _read(column: Column[Any], value: Any, *, keeps_zones: bool) -> Any:
    if value is None:
        return null() if isinstance(column.type, JSON) else None
    if isinstance(column.type, DateTime):
        moment = datetime.fromisoformat(value)
        return moment if keeps_zones else moment.replace(tzinfo=None)
    return value
