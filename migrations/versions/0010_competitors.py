"""Ratings and boards are of competitors: an account with a network and how that is flown.

And a race knows how much its copies of policies take, a failed reference time which program failed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_USERS = sa.table(
    "users", sa.column("id", sa.Integer()), sa.column("created_at", sa.DateTime(timezone=True))
)
_POLICIES = sa.table("policies", sa.column("id", sa.String()), sa.column("manifest", sa.JSON()))
_RACES = sa.table(
    "races",
    *(sa.column(name, sa.String()) for name in ("id", "track_sha256", "airframe", "status")),
    sa.column("finished_at", sa.DateTime(timezone=True)),
)
_ENTRIES = sa.table(
    "race_entries",
    *(sa.column(name, sa.String()) for name in ("id", "race_id", "username", "policy_id")),
    *(sa.column(name, sa.String()) for name in ("policy_sha256", "competitor")),
    sa.column("user_id", sa.Integer()),
    sa.column("number", sa.Integer()),
    sa.column("elo", sa.Float(precision=53)),
)


def upgrade() -> None:
    # What the copies take is measured at the next start.
    with op.batch_alter_table("races") as table:
        table.add_column(
            sa.Column("copies_bytes", sa.Integer(), nullable=False, server_default="0")
        )
    op.add_column("reference_times", sa.Column("revision", sa.String(length=64), nullable=True))
    with op.batch_alter_table("race_entries") as table:
        table.add_column(sa.Column("competitor", sa.String(length=64), nullable=True))
    _name_competitors()
    with op.batch_alter_table("race_entries") as table:
        table.alter_column("competitor", existing_type=sa.String(length=64), nullable=False)
    last = _last_flown("policy_sha256", "competitor")
    _key_ratings("policy_sha256", "competitor", last, unknown=_digest)


def downgrade() -> None:
    last = _last_flown("competitor", "policy_sha256")
    _key_ratings("competitor", "policy_sha256", last)
    with op.batch_alter_table("race_entries") as table:
        table.drop_column("competitor")
    with op.batch_alter_table("reference_times") as table:
        table.drop_column("revision")
    with op.batch_alter_table("races") as table:
        table.drop_column("copies_bytes")


def _name_competitors() -> None:
    """From the account and the policy's manifest as far as they are still there."""
    connection = op.get_bind()
    wanted = sa.select(_ENTRIES, _USERS.c.created_at, _POLICIES.c.manifest)
    joined = _ENTRIES.outerjoin(_USERS, _USERS.c.id == _ENTRIES.c.user_id)
    joined = joined.outerjoin(_POLICIES, _POLICIES.c.id == _ENTRIES.c.policy_id)
    for row in connection.execute(wanted.select_from(joined)).mappings().all():
        entry = dict(row)
        change = sa.update(_ENTRIES).where(_ENTRIES.c.id == row["id"])
        connection.execute(change.values(competitor=_competitor(entry)))


def _competitor(entry: Mapping[str, Any]) -> str:
    """As racer.racing.competitors makes it, so that who enters the same again is the same."""
    sha256 = entry["policy_sha256"]
    if entry["created_at"] is None:  # the account is gone
        return _digest(entry["username"], sha256)
    made: datetime = entry["created_at"]
    made = made.replace(tzinfo=UTC) if made.tzinfo is None else made.astimezone(UTC)
    manner = _manner(entry["manifest"] or {})
    return _digest(entry["user_id"], made.isoformat(timespec="microseconds"), sha256, *manner)


def _manner(manifest: Mapping[str, Any]) -> tuple[Any, ...]:
    """Empty when the policy is gone."""
    try:
        limits = manifest["limits"]
        return (
            manifest["action_space"],
            float(manifest["control_hz"]),
            manifest["substeps"],
            manifest.get("seen_obstacles", 0),
            float(limits["velocity_m_s"]),
            float(limits["yaw_rate_rad_s"]),
        )
    except KeyError:
        return ()


def _digest(*known: Any) -> str:
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()


def _last_flown(old: str, new: str) -> dict[tuple[str, str, str], str]:
    """By track, airframe and an entry's column `old`: column `new` of the entry that flew last."""
    wanted = (
        sa.select(_RACES.c.track_sha256, _RACES.c.airframe, _ENTRIES.c[old], _ENTRIES.c[new])
        .join_from(_ENTRIES, _RACES, _RACES.c.id == _ENTRIES.c.race_id)
        .where(_RACES.c.status == "finished", _ENTRIES.c.elo.is_not(None))
        .order_by(_RACES.c.finished_at, _RACES.c.id, _ENTRIES.c.number)
    )
    return {(row[0], row[1], row[2]): row[3] for row in op.get_bind().execute(wanted)}


def _key_ratings(
    old: str, new: str, last: Mapping[tuple[str, str, str], str], *, unknown: Any = None
) -> None:
    """Make the table anew with another key; of two that get the same the one with more games.

    `unknown` makes a key for what no entry tells; without it such a rating is given up.
    """
    connection = op.get_bind()
    kept: dict[tuple[str, str, str], dict[str, Any]] = {}
    ratings = sa.table(
        "ratings",
        *(sa.column(c) for c in ("track_sha256", "airframe", old)),
        sa.column("elo", sa.Float(precision=53)),
        sa.column("games", sa.Integer()),
    )
    for row in connection.execute(sa.select(ratings).order_by(ratings.c.games)).mappings():
        place = row["track_sha256"], row["airframe"]
        key = last.get((*place, row[old])) or (unknown and unknown(row[old]))
        if key:
            told = {"track_sha256": place[0], "airframe": place[1], new: key}
            kept[(*place, key)] = told | {"elo": row["elo"], "games": row["games"]}
    op.drop_table("ratings")
    made = op.create_table(
        "ratings",
        sa.Column("track_sha256", sa.String(length=64), nullable=False),
        sa.Column("airframe", sa.String(length=64), nullable=False),
        sa.Column(new, sa.String(length=64), nullable=False),
        sa.Column("elo", sa.Float(precision=53), nullable=False),
        sa.Column("games", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("track_sha256", "airframe", new, name=op.f("pk_ratings")),
    )
    op.bulk_insert(made, list(kept.values()))
