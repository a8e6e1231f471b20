"""Which key a number or a domain had when it was first used.

Another key for the same name is not believed until the operator accepts it, so nobody can take a
name over by outbidding its owner in a directory.
"""

import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from sqlalchemy import Connection, select

from federation.model.clocks import UnixTime
from federation.model.errors import RingmeshError
from federation.model.identity import AccountId, NodeId, PublicKey
from node.storage import schema
from node.storage.writer import Writer

MAX_PINS = 100_000
"Names pinned at a time; only what own accounts dial is pinned. Beyond it the oldest is dropped."


class PinError(RingmeshError):
    """No such pin, or nothing to accept; the text says what there is."""


class PinKind(enum.StrEnum):
    """What kind of name is pinned."""

    NUMBER = "number"
    "To an account's key."
    DOMAIN = "domain"
    "To a node's key."


@dataclass(frozen=True, slots=True)
class Pin:
    """A name and the key it had at first use."""

    kind: PinKind
    name: str
    key: PublicKey
    pinned_at: UnixTime
    offered: PublicKey | None = None
    "Another key that was seen for the name since, and was refused."


def load_pins(connection: Connection) -> list[Pin]:
    """Every stored pin, oldest first."""
    rows = connection.execute(select(schema.pins).order_by(schema.pins.c.pinned_at))
    return [
        Pin(
            kind := PinKind(row.kind),
            row.name,
            _key(kind, row.key),
            UnixTime(row.pinned_at),
            None if row.offered is None else _key(kind, row.offered),
        )
        for row in rows
    ]


def _key(kind: PinKind, raw: bytes) -> PublicKey:
    return AccountId(raw) if kind is PinKind.NUMBER else NodeId(raw)


class PinBook:
    """All pins in memory; changes go to the writer."""

    def __init__(self, pins: Iterable[Pin], writer: Writer, *, limit: int = MAX_PINS) -> None:
        self._pins = {(pin.kind, pin.name): pin for pin in pins}
        self._writer = writer
        self._limit = limit

    def __iter__(self) -> Iterator[Pin]:
        return iter(tuple(self._pins.values()))

    def get(self, kind: PinKind, name: str) -> Pin | None:
        """The pin of a name, if it has one."""
        return self._pins.get((kind, name))

    def check(self, kind: PinKind, name: str, key: PublicKey, *, now: UnixTime) -> bool:
        """Whether `key` may be used for `name`: it is pinned to it, or is pinned now.

        A refused key is remembered as the one that `accept` would take.
        """
        pin = self._pins.get((kind, name))
        if pin is None:
            self._put(Pin(kind, name, key, now))
            if len(self._pins) > self._limit:
                oldest = next(iter(self._pins.values()))
                self.forget(oldest.kind, oldest.name)
            return True
        if pin.key == key:
            return True
        if pin.offered != key:
            self._put(replace(pin, offered=key))
        return False

    def accept(
        self, kind: PinKind, name: str, *, now: UnixTime, key: PublicKey | None = None
    ) -> Pin:
        """Pin `name` to the key that was refused last, or to `key`.

        Raises:
            PinError: no other key was seen for the name.
        """
        pin = self._pins.get((kind, name))
        key = key or (pin.offered if pin else None)
        if key is None:
            raise PinError(f"no other key was seen for {kind} {name}; there is nothing to accept")
        accepted = Pin(kind, name, key, now)
        self._put(accepted)
        return accepted

    def forget(self, kind: PinKind, name: str) -> Pin:
        """Drop a pin; the next use pins anew.

        Raises:
            PinError: the name is not pinned.
        """
        pin = self._pins.pop((kind, name), None)
        if pin is None:
            raise PinError(f"{kind} {name} is not pinned; `pin list` shows what is")
        self._writer.remove("pins", (kind.value, name))
        return pin

    def _put(self, pin: Pin) -> None:
        self._pins[pin.kind, pin.name] = pin
        row = {
            "kind": pin.kind.value,
            "name": pin.name,
            "key": bytes(pin.key),
            "pinned_at": pin.pinned_at,
            "offered": None if pin.offered is None else bytes(pin.offered),
        }
        self._writer.put("pins", (pin.kind.value, pin.name), row)
