"""What this node has published, so that a later run can withdraw what went while it was stopped.

A row of `meta` for each name, `published:<kind>:<owner, hex, of numbers>:<label>`, holds msgpack
[secret seed of the account's key, or nil, when it was withdrawn, or nil]. A withdrawn name is kept
as long as any record of it may live somewhere; the key signs its tombstone.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Self

import msgpack
import structlog
from sqlalchemy import Connection, select

from federation.model.clocks import UnixTime
from federation.model.identity import AccountKey
from node.storage.schema import meta
from node.storage.writer import Writer

log = structlog.get_logger("storage")

PREFIX = "published:"


@dataclass(frozen=True, slots=True)
class Published:
    """One name in the directory."""

    kind: int
    label: str
    account: AccountKey | None = None
    "Signs for a number; other kinds have none."
    withdrawn_at: UnixTime | None = None

    @property
    def row_name(self) -> str:
        """What its row is called."""
        owner = "" if self.account is None else bytes(self.account.id).hex()
        return f"{PREFIX}{self.kind}:{owner}:{self.label}"

    def encode(self) -> bytes:
        """The row's value."""
        seed = None if self.account is None else self.account.seed
        return bytes(msgpack.packb([seed, self.withdrawn_at]))

    @classmethod
    def decode(cls, name: str, value: bytes) -> Self:
        """Read a row.

        Raises:
            ValueError: it is none.
        """
        kind, _, label = name.removeprefix(PREFIX).split(":", 2)
        seed, withdrawn_at = msgpack.unpackb(value)
        account = None if seed is None else AccountKey(seed)
        return cls(int(kind), label, account, withdrawn_at)


def load_published(connection: Connection) -> dict[str, Published]:
    """Everything remembered, by row name; a row that cannot be read is left out."""
    found = {}
    rows = connection.execute(select(meta).where(meta.c.name.startswith(PREFIX)))
    for row in rows:
        try:
            found[row.name] = Published.decode(row.name, row.value)
        except (ValueError, TypeError) as error:
            log.warning("published_row_skipped", name=row.name, reason=str(error))
    return found


class PublishedNames:
    """The names, in memory and written behind."""

    def __init__(self, known: Mapping[str, Published], writer: Writer) -> None:
        self._known = dict(known)
        self._writer = writer

    def __iter__(self) -> Iterator[Published]:
        return iter(tuple(self._known.values()))

    def has(self, name: Published) -> bool:
        """Whether it is published now."""
        known = self._known.get(name.row_name)
        return known is not None and known.withdrawn_at is None

    def add(self, name: Published) -> None:
        """It is published now."""
        self._put(replace(name, withdrawn_at=None))

    def withdraw(self, name: Published, *, now: UnixTime) -> None:
        """It is published no more; harmless for one that was withdrawn before."""
        known = self._known.get(name.row_name)
        if known is not None and known.withdrawn_at is None:
            self._put(replace(known, withdrawn_at=now))

    def forget(self, name: Published) -> None:
        """No record of it can be left anywhere."""
        if self._known.pop(name.row_name, None) is not None:
            self._writer.remove("meta", (name.row_name,))

    def _put(self, name: Published) -> None:
        if self._known.get(name.row_name) != name:
            self._known[name.row_name] = name
            row = {"name": name.row_name, "value": name.encode()}
            self._writer.put("meta", (name.row_name,), row)
