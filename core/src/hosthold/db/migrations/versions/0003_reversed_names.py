"""Names by their labels in reverse, so that those below a name are found without looking at all."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    kind = sa.String(length=254).with_variant(sa.String(length=254, collation="C"), "postgresql")
    with op.batch_alter_table("domain_name", schema=None) as batch_op:
        batch_op.add_column(sa.Column("reversed", kind, nullable=False, server_default=""))
    names = sa.table("domain_name", sa.column("name"), sa.column("reversed"))
    connection = op.get_bind()
    values = [
        {"key": name, "value": "".join(f"{label}." for label in reversed(name.split(".")))}
        for name in connection.scalars(sa.select(names.c.name))
    ]
    if values:
        change = sa.update(names).where(names.c.name == sa.bindparam("key")).values(reversed=sa.bindparam("value"))
        connection.execute(change, values)
    with op.batch_alter_table("domain_name", schema=None) as batch_op:
        batch_op.alter_column("reversed", existing_type=kind, server_default=None)
        batch_op.create_index(batch_op.f("ix_domain_name_reversed"), ["reversed"], unique=False)
