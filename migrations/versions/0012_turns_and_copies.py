"""Evaluations keep a copy of the track that they were asked for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("evaluations") as table:
        table.add_column(sa.Column("track_name", sa.String(length=140), nullable=True))
        table.add_column(sa.Column("track", sa.Text(), nullable=True))
        table.add_column(sa.Column("track_sha256", sa.String(length=64), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("evaluations") as table:
        for name in ("track_name", "track", "track_sha256"):
            table.drop_column(name)
