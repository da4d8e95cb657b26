"""A run may begin with the weights of another one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_KEY = "fk_training_runs_parent_run_id_training_runs"


def upgrade() -> None:
    with op.batch_alter_table("training_runs") as table:
        table.add_column(sa.Column("parent_run_id", sa.String(length=36), nullable=True))
        table.create_foreign_key(
            _KEY, "training_runs", ["parent_run_id"], ["id"], ondelete="SET NULL"
        )
        table.create_index("ix_training_runs_parent_run_id", ["parent_run_id"])


def downgrade() -> None:
    with op.batch_alter_table("training_runs") as table:
        table.drop_index("ix_training_runs_parent_run_id")
        table.drop_constraint(_KEY, type_="foreignkey")
        table.drop_column("parent_run_id")
