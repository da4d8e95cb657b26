"""Rows typical of any revision of the schema, made from what the database itself says it holds.

A migration that comes later is covered without a change here, unless its rows obey a rule that the
schema does not tell; such rules stand in `RULES`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

Row = dict[str, Any]
Rows = dict[str, list[Row]]

MADE = datetime(2026, 3, 1, 12, 0, 0, 120000, tzinfo=UTC)
STATUSES = {"user_drone_models": "initializing", "jobs": "queued"}
# Columns of a full row (every column has a value) and of a bare one (NULL wherever that may be)
# that are not as the schema alone would have them.
RULES: dict[str, tuple[Row, Row]] = {
    "race_entries": ({"flight": None}, {"flight": "2026-03-01T120000Z"}),  # a policy's, or by hand
}


def add_rows(connection: sa.Connection, number: int, *, full: bool) -> None:
    """One row in each table that there is, all of one account.

    `number` sets them apart: 1 for the first ones of a database, then 2 and so on.
    """
    found = sa.MetaData()
    found.reflect(connection)
    for table in found.sorted_tables:
        if table.name != "alembic_version":
            connection.execute(table.insert().values(_row(table, number, full=full)))


def _row(table: sa.Table, number: int, *, full: bool) -> Row:
    values = {
        column.name: _value(table, column, number)
        for column in table.columns
        if (full or not column.nullable) and not _counted(column)
    }
    rule = RULES.get(table.name, ({}, {}))[0 if full else 1]
    return values | {name: value for name, value in rule.items() if name in table.columns}


def _counted(column: sa.Column[Any]) -> bool:
    """Whether the database gives it: an id, from 1."""
    return column.name == "id" and isinstance(column.type, sa.Integer)


def _value(table: sa.Table, column: sa.Column[Any], number: int) -> Any:
    if column.foreign_keys:
        return _key(next(iter(column.foreign_keys)).column, number)
    if column.name == "role":
        return "admin"
    if column.name == "status" and isinstance(column.type, sa.String):
        return STATUSES.get(table.name, "finished")
    if column.name == "id":
        return _key(column, number)
    made: Callable[[], Any] = {
        sa.String: lambda: f"{column.name}-{number}"[-(column.type.length or 99) :],
        sa.Integer: lambda: number,
        sa.Float: lambda: number + 0.25,
        sa.Boolean: lambda: True,
        sa.DateTime: lambda: MADE + timedelta(days=number),
        sa.LargeBinary: lambda: b"\x00\xff" * number,
        sa.JSON: lambda: {"naïve \U0001f681": [number, 0.1, None]},
    }[_kind(column.type)]
    return made()


def _kind(of: sa.types.TypeEngine[Any]) -> type[sa.types.TypeEngine[Any]]:
    kinds = (sa.JSON, sa.LargeBinary, sa.Boolean, sa.DateTime, sa.Float, sa.Integer, sa.String)
    return next(kind for kind in kinds if isinstance(of, kind))


def _key(column: sa.Column[Any], number: int) -> Any:
    if isinstance(column.type, sa.Integer):
        return number
    return f"{number:08d}-0000-4000-8000-{sum(column.table.name.encode()):012d}"


def all_rows(connection: sa.Connection) -> Rows:
    """Everything that the database holds, table by table, in the order of the keys."""
    found = sa.MetaData()
    found.reflect(connection)
    return {
        table.name: [
            {name: _in_utc(value) for name, value in row.items()}
            for row in connection.execute(
                sa.select(table).order_by(*table.primary_key.columns)
            ).mappings()
        ]
        for table in found.sorted_tables
        if table.name != "alembic_version"
    }


def _in_utc(value: Any) -> Any:
    if not isinstance(value, datetime):
        return value
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def shared(before: Rows, after: Rows) -> tuple[Rows, Rows]:
    """Both as far as the other has such tables and columns."""
    return _cut(before, after), _cut(after, before)


def _cut(rows: Rows, other: Rows) -> Rows:
    return {
        table: [
            {name: value for name, value in row.items() if name in _columns(other[table], row)}
            for row in found
        ]
        for table, found in rows.items()
        if table in other
    }


def _columns(rows: list[Row], own: Row) -> set[str]:
    return set(rows[0]) if rows else set(own)
