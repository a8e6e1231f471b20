"""Which key a number or a domain had when it was first used.

Another key for the same name is not believed until the operator accepts it, so nobody can take a
name over by outbidding its owner in a directory. Such keys are remembered as *offers*; only
`accept` and `forget` make them go.
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
MAX_OFFERS = 4
"Refused keys remembered for a name; beyond it the one not seen for longest is dropped."
SEEN_STEP = 60.0
"Seconds by which `last_seen` must have moved to be written."


class PinError(RingmeshError):
    """No such pin, or nothing to accept; the text says what there is."""


class PinKind(enum.StrEnum):
    """What kind of name is pinned."""

    NUMBER = "number"
    "To an account's key."
    DOMAIN = "domain"
    "To a node's key."


@dataclass(frozen=True, slots=True)
class Offer:
    """Another key that was seen for a pinned name, and was refused."""

    key: PublicKey
    first_seen: UnixTime
    last_seen: UnixTime


@dataclass(frozen=True, slots=True)
class Pin:
    """A name, the key it had at first use, and what conflicts with it."""

    kind: PinKind
    name: str
    key: PublicKey | None
    "`None` where several keys came at once, so that none was pinned."
    pinned_at: UnixTime
    last_seen: UnixTime
    "When the key was last found behind the name."
    offers: tuple[Offer, ...] = ()
    "A conflict, until the operator accepts or forgets."


def load_pins(connection: Connection) -> list[Pin]:
    """Every stored pin, oldest first."""
    offers: dict[tuple[PinKind, str], list[Offer]] = {}
    for row in connection.execute(
        select(schema.pin_offers).order_by(schema.pin_offers.c.first_seen)
    ):
        kind = PinKind(row.kind)
        offer = Offer(_key(kind, row.key), UnixTime(row.first_seen), UnixTime(row.last_seen))
        offers.setdefault((kind, row.name), []).append(offer)
    pins = []
    for row in connection.execute(select(schema.pins).order_by(schema.pins.c.pinned_at)):
        kind = PinKind(row.kind)
        seen = UnixTime(row.pinned_at if row.last_seen is None else row.last_seen)
        others = tuple(offers.pop((kind, row.name), ()))
        pins.append(Pin(kind, row.name, _key(kind, row.key), UnixTime(row.pinned_at), seen, others))
    for (kind, name), alone in offers.items():
        latest = max(offer.last_seen for offer in alone)
        pins.append(Pin(kind, name, None, alone[0].first_seen, latest, tuple(alone)))
    return sorted(pins, key=lambda pin: pin.pinned_at)


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
        """The pin of a name, if it has one, or a conflict about it."""
        return self._pins.get((kind, name))

    def check(self, kind: PinKind, name: str, key: PublicKey, *, now: UnixTime) -> bool:
        """Whether `key` may be used for `name`: it is pinned to it, or is pinned now.

        A refused key is remembered as one that `accept` would take.
        """
        pin = self._pins.get((kind, name))
        if pin is None:
            self._put(Pin(kind, name, key, now, now))
            return True
        if pin.key != key:
            self.offer(kind, name, key, now=now)
            return False
        if now - pin.last_seen >= SEEN_STEP:
            self._put(replace(pin, last_seen=now))
        return True

    def offer(self, kind: PinKind, name: str, key: PublicKey, *, now: UnixTime) -> bool:
        """Remember a key that is not believed; True if it was not remembered yet."""
        pin = self._pins.get((kind, name)) or Pin(kind, name, None, now, now)
        if pin.key == key:
            return False
        known = next((offer for offer in pin.offers if offer.key == key), None)
        if known is not None and now - known.last_seen < SEEN_STEP:
            return False
        offer = Offer(key, known.first_seen if known else now, now)
        others = [other for other in pin.offers if other.key != key]
        if len(others) >= MAX_OFFERS:
            stale = min(others, key=lambda other: other.last_seen)
            others.remove(stale)
            self._writer.remove("pin_offers", (kind.value, name, bytes(stale.key)))
        offers = sorted([*others, offer], key=lambda each: each.first_seen)
        self._keep(replace(pin, offers=tuple(offers)))
        row = {
            "kind": kind.value,
            "name": name,
            "key": bytes(key),
            "first_seen": offer.first_seen,
            "last_seen": offer.last_seen,
        }
        self._writer.put("pin_offers", (kind.value, name, bytes(key)), row)
        return known is None

    def accept(
        self, kind: PinKind, name: str, *, now: UnixTime, key: PublicKey | None = None
    ) -> Pin:
        """Pin `name` to the one key that was refused, or to `key`; the conflict is over.

        `key` is one that was refused, or the pinned one, to keep it; for a name that was never
        met it may be any.

        Raises:
            PinError: no other key was seen for the name, several were, or not this one.
        """
        pin = self._pins.get((kind, name))
        keys = [offer.key for offer in pin.offers] if pin else []
        if key is None and len(keys) != 1:
            if not keys:
                raise PinError(
                    f"no other key was seen for {kind} {name}; there is nothing to accept"
                )
            raise PinError(
                f"{len(keys)} keys were seen for {kind} {name}: say which one; they are "
                + ", ".join(each.text for each in keys)
            )
        key = key or keys[0]
        if pin is not None and key not in (pin.key, *keys):
            seen = ", ".join(each.text for each in keys) or "none"
            raise PinError(
                f"that key was not seen for {kind} {name}; other keys that were seen: {seen}"
            )
        kept = pin is not None and pin.key == key
        accepted = Pin(kind, name, key, pin.pinned_at if pin and kept else now, now)
        if pin is not None:
            self._drop_offers(pin)
        self._put(accepted)
        return accepted

    def forget(self, kind: PinKind, name: str) -> Pin:
        """Drop a pin and what conflicts with it; the next use pins anew.

        Raises:
            PinError: the name is not pinned.
        """
        pin = self._pins.pop((kind, name), None)
        if pin is None:
            raise PinError(f"{kind} {name} is not pinned; `ringmesh pin list` shows what is")
        self._drop_offers(pin)
        if pin.key is not None:
            self._writer.remove("pins", (kind.value, name))
        return pin

    def _drop_offers(self, pin: Pin) -> None:
        for offer in pin.offers:
            self._writer.remove("pin_offers", (pin.kind.value, pin.name, bytes(offer.key)))

    def _put(self, pin: Pin) -> None:
        assert pin.key is not None
        self._keep(pin)
        row = {
            "kind": pin.kind.value,
            "name": pin.name,
            "key": bytes(pin.key),
            "pinned_at": pin.pinned_at,
            "last_seen": pin.last_seen,
        }
        self._writer.put("pins", (pin.kind.value, pin.name), row)

    def _keep(self, pin: Pin) -> None:
        self._pins[pin.kind, pin.name] = pin
        if len(self._pins) > self._limit:
            oldest = next(iter(self._pins.values()))
            self.forget(oldest.kind, oldest.name)
