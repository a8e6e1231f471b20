"""What the operator sees and does about pins, with the node running or stopped."""

from datetime import UTC, datetime

from federation.domain_proof import DomainError, normal_domain
from federation.model.clocks import Clock, UnixTime
from federation.model.identity import (
    KEY_NAME_SUFFIX,
    AccountId,
    KeyFormatError,
    NodeId,
    PublicKey,
)
from federation.model.number import Number, derive_number
from node.control import JsonObject, RefusedError
from node.storage.pins import Pin, PinBook, PinError, PinKind

MAX_NAME = 320
"Characters of a name that can be asked for."


class PinDesk:
    """Lists, accepts and forgets. Every method may raise `RefusedError` with a sentence."""

    def __init__(self, book: PinBook, clock: Clock) -> None:
        self._book = book
        self._clock = clock

    def all(self) -> list[JsonObject]:
        """Every pin; conflicts first, then the one seen last."""
        pins = sorted(self._book, key=lambda pin: (not pin.offers, -pin.last_seen))
        return [pin_as_json(pin) for pin in pins]

    def accept(self, name: str, key: str | None = None) -> JsonObject:
        """Pin a name to the key that was refused for it, or to `key` after `check_claim`."""
        kind, plain = read_name(name)
        chosen = None if key is None else _read_key(kind, key)
        try:
            pin = self._book.accept(kind, plain, now=self._clock.unix(), key=chosen)
        except PinError as error:
            raise RefusedError(str(error)) from error
        return pin_as_json(pin)

    def check_claim(self, name: str, key: str | None) -> None:
        """Refuse a key that is not the one of a number never met here.

        May take a quarter of a second of a core, so call it in a thread.
        """
        kind, plain = read_name(name)
        if key is None or kind is PinKind.DOMAIN or self._book.get(kind, plain) is not None:
            return
        if derive_number(AccountId(_read_key(kind, key))) != plain:
            raise RefusedError(f"{plain} is not the number of that key; nothing was pinned")

    def forget(self, name: str) -> JsonObject:
        """Drop a pin and its conflict: the next call pins anew. Returns what was there."""
        kind, plain = read_name(name)
        try:
            return pin_as_json(self._book.forget(kind, plain))
        except PinError as error:
            raise RefusedError(str(error), 404) from error


def read_name(text: str) -> tuple[PinKind, str]:
    """The number or domain that a person typed.

    Raises:
        RefusedError: it is neither.
    """
    digits = "".join(text.split()).replace("-", "")
    if Number.fits(digits):
        return PinKind.NUMBER, digits
    plain = text.strip()
    try:
        if len(plain) > MAX_NAME or "@" in plain:
            raise DomainError(plain)
        domain = normal_domain(plain)
    except DomainError as error:
        shown = text if len(text) <= MAX_NAME else f"{text[:40]}…"
        raise RefusedError(
            f"{shown!r} cannot be pinned: give a number of 15 digits, or a domain without a user, "
            "like example.org",
            400,
        ) from error
    if domain.endswith(KEY_NAME_SUFFIX):
        raise RefusedError(f"{domain} proves itself by its key and is never pinned", 400)
    return PinKind.DOMAIN, domain


def pin_as_json(pin: Pin) -> JsonObject:
    """A pin as the API gives it."""
    return {
        "kind": pin.kind.value,
        "name": pin.name,
        "key": None if pin.key is None else pin.key.text,
        "since": moment(pin.pinned_at),
        "last_seen": moment(pin.last_seen),
        "conflict": [
            {
                "key": offer.key.text,
                "since": moment(offer.first_seen),
                "last_seen": moment(offer.last_seen),
            }
            for offer in pin.offers
        ],
    }


def moment(at: UnixTime | float) -> str:
    """An instant in UTC, as ISO 8601 has it, to the second."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _read_key(kind: PinKind, text: str) -> PublicKey:
    try:
        key = text.strip().lower()
        return AccountId.from_text(key) if kind is PinKind.NUMBER else NodeId.from_text(key)
    except KeyFormatError as error:
        raise RefusedError(
            f"{text[:80]!r} is not a key: copy all 52 characters from ringmesh pin list", 400
        ) from error
