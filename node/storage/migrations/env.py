"""Alembic's entry: runs the revisions in the transaction that the caller has open."""

from alembic import context

from node.storage.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
context.run_migrations()
