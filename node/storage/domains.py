"""The domains that a command added. Each change is committed before its answer."""

from sqlalchemy import Connection, delete, insert, select

from federation.model.clocks import UnixTime
from node.storage import schema


def load_domains(connection: Connection) -> list[str]:
    """Their names, in the order in which they were added."""
    rows = connection.execute(
        select(schema.domains.c.name).order_by(schema.domains.c.added_at, schema.domains.c.name)
    )
    return [row.name for row in rows]


def insert_domain(connection: Connection, name: str, *, now: UnixTime) -> None:
    """Add one that is not there."""
    connection.execute(insert(schema.domains), {"name": name, "added_at": now})


def delete_domain(connection: Connection, name: str) -> None:
    """Remove one; harmless if it is not there."""
    connection.execute(delete(schema.domains).where(schema.domains.c.name == name))
