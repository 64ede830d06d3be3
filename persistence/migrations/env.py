"""Alembic's environment: runs the versions on the connection that `persistence.migrate` hands over."""

from alembic import context
from sqlalchemy import Connection

from persistence.schema import metadata

connection: Connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    # SQLite cannot alter much in place: later versions copy the table
    render_as_batch=True,
)
context.run_migrations()
