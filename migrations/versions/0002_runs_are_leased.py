"""Runs are leased to the process that executes them, and know their settings and their code."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("training_runs") as table:
        table.add_column(sa.Column("lease_holder", sa.String(length=200), nullable=True))
        table.add_column(sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True))
        table.add_column(
            sa.Column("interruptions", sa.Integer(), nullable=False, server_default="0")
        )
        table.add_column(sa.Column("revision", sa.String(length=64), nullable=True))
        table.add_column(sa.Column("sent", sa.JSON(), nullable=True))
        table.add_column(sa.Column("resolved", sa.JSON(), nullable=True))
    # Attempts are counted when they begin, no longer when they are queued.
    runs = sa.table("training_runs", sa.column("status"), sa.column("attempt"))
    queued = runs.c.status == "initializing"
    op.execute(runs.update().where(queued).values(attempt=runs.c.attempt - 1))


def downgrade() -> None:
    runs = sa.table("training_runs", sa.column("status"), sa.column("attempt"))
    models = sa.table("user_drone_models", sa.column("status"))
    for rows in (runs, models):
        op.execute(rows.update().where(rows.c.status == "paused").values(status="cancelled"))
    queued = runs.c.status == "initializing"
    op.execute(runs.update().where(queued).values(attempt=runs.c.attempt + 1))
    with op.batch_alter_table("training_runs") as table:
        for column in ("resolved", "sent", "revision", "interruptions"):
            table.drop_column(column)
        for column in ("lease_until", "lease_holder"):
            table.drop_column(column)
