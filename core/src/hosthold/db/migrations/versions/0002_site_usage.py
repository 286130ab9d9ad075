"""What sites hold on disk."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "site_usage",
        sa.Column("site_id", sa.String(length=32), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("inodes", sa.BigInteger(), nullable=False),
        sa.Column("is_enforced", sa.Boolean(), nullable=False),
        sa.Column("measured_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], name=op.f("fk_site_usage_site_id_site")),
        sa.PrimaryKeyConstraint("site_id", name=op.f("pk_site_usage")),
    )
