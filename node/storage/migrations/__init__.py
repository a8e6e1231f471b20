"""Alembic's environment and revisions; run by `node.storage.migrate`."""
