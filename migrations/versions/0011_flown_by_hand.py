"""An entry of a race is a policy, or a flight by hand."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_OF_POLICIES = (
    ("policy_name", sa.String(length=200)),
    ("policy_version", sa.Integer()),
    ("policy_sha256", sa.String(length=64)),
)


def upgrade() -> None:
    with op.batch_alter_table("race_entries") as table:
        table.add_column(sa.Column("flight", sa.String(length=64), nullable=True))
        for name, kind in _OF_POLICIES:
            table.alter_column(name, existing_type=kind, nullable=True)


def downgrade() -> None:
    op.execute("DELETE FROM race_entries WHERE flight IS NOT NULL")  # they have no policy
    with op.batch_alter_table("race_entries") as table:
        for name, kind in _OF_POLICIES:
            table.alter_column(name, existing_type=kind, nullable=False)
        table.drop_column("flight")
