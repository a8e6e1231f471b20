"""Single values of the node, by name."""

from sqlalchemy import Connection, select

from federation.model.clocks import Entropy
from node.storage.batches import write_batch
from node.storage.schema import meta


def read_meta(connection: Connection, name: str) -> bytes | None:
    """The value kept under `name`, or `None`."""
    value: bytes | None = connection.execute(
        select(meta.c.value).where(meta.c.name == name)
    ).scalar()
    return value


def write_meta(connection: Connection, name: str, value: bytes | None) -> None:
    """Keep `value` under `name`; `None` forgets it."""
    row = None if value is None else {"name": name, "value": value}
    write_batch(connection, {("meta", (name,)): row})


def kept_secret(connection: Connection, name: str, size: int, entropy: Entropy) -> bytes:
    """The secret of `size` bytes kept under `name`; made and kept where there is none."""
    secret = read_meta(connection, name)
    if secret is None or len(secret) != size:
        secret = entropy.token(size)
        write_meta(connection, name, secret)
    return secret
