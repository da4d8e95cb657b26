"""Races of submitted policies, their entries, ratings and reference times."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _races()
    _entries()
    op.create_table(
        "ratings",
        sa.Column("track_sha256", sa.String(length=64), nullable=False),
        sa.Column("airframe", sa.String(length=64), nullable=False),
        sa.Column("policy_sha256", sa.String(length=64), nullable=False),
        sa.Column("elo", sa.Float(precision=53), nullable=False),
        sa.Column("games", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint(
            "track_sha256", "airframe", "policy_sha256", name=op.f("pk_ratings")
        ),
    )
    op.create_table(
        "reference_times",
        sa.Column("track_sha256", sa.String(length=64), nullable=False),
        sa.Column("airframe", sa.String(length=64), nullable=False),
        sa.Column("flying", sa.Boolean(), nullable=False),
        sa.Column("laps", sa.Integer(), nullable=False),
        sa.Column("time_s", sa.Float(precision=53), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("job_id", sa.String(length=36), nullable=True),
        _reference("reference_times", "job_id", "jobs"),
        sa.PrimaryKeyConstraint(
            "track_sha256", "airframe", "flying", "laps", name=op.f("pk_reference_times")
        ),
        sa.UniqueConstraint("job_id", name=op.f("uq_reference_times_job_id")),
    )


def _races() -> None:
    op.create_table(
        "races",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=True),
        sa.Column("username", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("format", sa.String(length=16), nullable=False),
        sa.Column("track_name", sa.String(length=140), nullable=False),
        sa.Column("track", sa.Text(), nullable=False),
        sa.Column("track_sha256", sa.String(length=64), nullable=False),
        sa.Column("laps", sa.Integer(), nullable=False),
        sa.Column("airframe", sa.String(length=64), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("max_entrants", sa.Integer(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("heats", sa.JSON(), nullable=True),
        sa.Column("job_id", sa.String(length=36), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        _reference("races", "user_id", "users"),
        _reference("races", "job_id", "jobs"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_races")),
        sa.UniqueConstraint("job_id", name=op.f("uq_races_job_id")),
    )
    for column in ("user_id", "track_sha256", "status", "created_at"):
        op.create_index(op.f(f"ix_races_{column}"), "races", [column])


def _entries() -> None:
    op.create_table(
        "race_entries",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("race_id", sa.String(length=36), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=True),
        sa.Column("policy_id", sa.String(length=36), nullable=True),
        sa.Column("username", sa.String(length=64), nullable=False),
        sa.Column("policy_name", sa.String(length=200), nullable=False),
        sa.Column("policy_version", sa.Integer(), nullable=False),
        sa.Column("policy_sha256", sa.String(length=64), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=True),
        sa.Column("score_s", sa.Float(precision=53), nullable=True),
        sa.Column("elo", sa.Float(precision=53), nullable=True),
        sa.Column("elo_change", sa.Float(precision=53), nullable=True),
        sa.Column("result", sa.JSON(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        _reference("race_entries", "race_id", "races", ondelete="CASCADE"),
        _reference("race_entries", "user_id", "users"),
        _reference("race_entries", "policy_id", "policies"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_race_entries")),
        sa.UniqueConstraint("race_id", "number", name=op.f("uq_race_entries_race_id_number")),
        sa.UniqueConstraint("race_id", "policy_id", name=op.f("uq_race_entries_race_id_policy_id")),
    )
    for column in ("user_id", "policy_id", "policy_sha256"):
        op.create_index(op.f(f"ix_race_entries_{column}"), "race_entries", [column])


def _reference(
    table: str, column: str, other: str, *, ondelete: str = "SET NULL"
) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column],
        [f"{other}.id"],
        name=op.f(f"fk_{table}_{column}_{other}"),
        ondelete=ondelete,
    )


def downgrade() -> None:
    for table in ("reference_times", "ratings", "race_entries", "races"):
        op.drop_table(table)
