"""Jobs know whose turn they take, evaluations copy their track, and runs continue policies."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_INDEXES = {
    f"ix_jobs_owner_id_{column}": ["owner_id", column] for column in ("status", "started_at")
}
_JOBS = sa.table("jobs", sa.column("id"), sa.column("owner_id"))


def upgrade() -> None:
    with op.batch_alter_table("jobs") as table:
        table.add_column(sa.Column("owner_id", sa.Integer(), nullable=False, server_default="0"))
        for name, columns in _INDEXES.items():
            table.create_index(name, columns)
    for name in ("evaluations", "races"):
        _take_owners_from(name)
    with op.batch_alter_table("evaluations") as table:
        table.add_column(sa.Column("track_name", sa.String(length=140), nullable=True))
        table.add_column(sa.Column("track", sa.Text(), nullable=True))
        table.add_column(sa.Column("track_sha256", sa.String(length=64), nullable=True))
    with op.batch_alter_table("training_runs") as table:
        table.add_column(sa.Column("parent_policy_id", sa.String(length=36), nullable=True))


def _take_owners_from(name: str) -> None:
    theirs = sa.table(name, sa.column("job_id"), sa.column("user_id"))
    owner = sa.select(theirs.c.user_id).where(theirs.c.job_id == _JOBS.c.id).scalar_subquery()
    known = sa.select(theirs.c.job_id).where(theirs.c.user_id.is_not(None))
    known = known.where(theirs.c.job_id.is_not(None))
    op.execute(sa.update(_JOBS).where(_JOBS.c.id.in_(known)).values(owner_id=owner))


def downgrade() -> None:
    with op.batch_alter_table("training_runs") as table:
        table.drop_column("parent_policy_id")
    with op.batch_alter_table("evaluations") as table:
        for name in ("track_name", "track", "track_sha256"):
            table.drop_column(name)
    with op.batch_alter_table("jobs") as table:
        for name in _INDEXES:
            table.drop_index(name)
        table.drop_column("owner_id")
