"""Messages for users who are not there: one row each, until it is delivered or too old."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Protocol, Self, TypeVar

import msgpack
from sqlalchemy import Connection, select

from federation.model.clocks import UnixTime
from node.storage import schema

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptMessage:
    """A MESSAGE (RFC 3428) that waits for a device of its receiver."""

    id: int
    "Rises with each message kept, so it is their order."
    login: str
    "The account here that it is for."
    source: str
    "By whom it is counted: `account`, `node:KEY` or `strangers`."
    display: str
    "The sender's name, as it was known when the message came."
    number: str | None
    uri: str
    "The sender without scheme; empty where it is anonymous."
    verified: bool
    anonymous: bool
    headers: tuple[tuple[str, str], ...]
    "Header fields that go with the body."
    body: bytes
    sent_at: str
    "The Date that is shown (RFC 3261 20.17): the sender's, else when it came."
    kept_at: UnixTime
    expires_at: UnixTime

    @property
    def size(self) -> int:
        """Bytes that it is counted with."""
        return len(self.body) + sum(len(name) + len(value) for name, value in self.headers)

    def row(self) -> dict[str, Any]:
        """The columns of `messages`."""
        row = {name: getattr(self, name) for name in _PLAIN}
        return row | {"headers": msgpack.packb(self.headers, unicode_errors="surrogateescape")}

    @classmethod
    def of_row(cls, row: Mapping[Any, Any]) -> Self:
        """The message a row holds."""
        values = dict(row)
        pairs = msgpack.unpackb(values.pop("headers"), unicode_errors="surrogateescape")
        return cls(headers=tuple((name, value) for name, value in pairs), **values)


_PLAIN = tuple(field.name for field in fields(KeptMessage) if field.name != "headers")


class CommittingWriter(Protocol):
    """The storage thread."""

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Carry out `work` in a transaction, committed on return."""

    def remove(self, table: str, key: tuple[Any, ...]) -> None:
        """Delete a row with the next batch."""


class MessageStore:
    """Writes messages: through before they count as kept, behind when they go."""

    def __init__(self, writer: CommittingWriter) -> None:
        self._writer = writer

    async def add(self, message: KeptMessage) -> None:
        """Keep a message; it is on the disk on return.

        Raises:
            StorageError: it is not.
        """
        row = message.row()

        def insert(connection: Connection) -> None:
            connection.execute(schema.messages.insert(), row)

        await self._writer.run(insert)

    def remove(self, message_id: int) -> None:
        """Forget a message."""
        self._writer.remove("messages", (message_id,))


def load_messages(connection: Connection) -> list[KeptMessage]:
    """Every message that waits, in the order in which they came."""
    table = schema.messages
    rows = connection.execute(select(table).order_by(table.c.id)).mappings()
    return [KeptMessage.of_row(row) for row in rows]
