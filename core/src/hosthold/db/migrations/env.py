"""How alembic runs a history: on the connection, and with the version table, that `hosthold.db.migrate` gives."""

from alembic import context
from hosthold.db.models import SiteRow

context.configure(
    connection=context.config.attributes["connection"],
    version_table=context.config.attributes["version_table"],
    target_metadata=SiteRow.metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
context.run_migrations()
