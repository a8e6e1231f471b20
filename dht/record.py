"""Signed records: what the DHT holds. They carry their own proof, so any peer may hand them over.

An envelope is [body, signature]; the signature is over the context "rec1" and the body's bytes. The
body is the array version, kind, owner, label, publisher, issued, ttl, flags, payload, delegation.
The key follows from kind, owner and label, so nobody but the owner can write there. Only number
claims leave the owner out of it: the number leads to the claims, and each claim's owner key must
derive to the number.
"""

import enum
import hashlib
import re
import unicodedata
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, NamedTuple, Self, TypeAlias

from dht import canonical
from dht.canonical import (
    CanonicalError,
    Value,
    read_array,
    read_blob,
    read_bytes,
    read_int,
    read_text,
)
from dht.messages import MAX_ENVELOPE, MAX_TIME_MS
from dht.prefixes import PrefixPayload
from federation.delegation import MAX_DELEGATION_BYTES, Delegation, DelegationError
from federation.model.address import AddressError, Endpoint
from federation.model.errors import PeerError, SignatureError
from federation.model.identity import (
    KEY_BYTES,
    SIGNATURE_BYTES,
    AccountId,
    NodeId,
    PublicKey,
    SigningKey,
)
from federation.model.network import Network
from federation.model.number import Number

VERSION = 1
MAX_LABEL_BYTES = 128
ADDRESS_TTL = 7_200
"Longest life of an address record, seconds; also the life of its tombstone."
ROUTE_TTL = 86_400
MAX_DELEGATION_S = 86_400
"The longest a delegation may hold: how long a lost node can still speak for an account."
MAX_ENDPOINTS = 8
MAX_ROUTES = 8
MAX_PRIORITY = 65_535
REGIONS = 2
"Each key has this many places in the overlay."
TOMBSTONE_FLAG = 1
_FIELDS = 10
_LOGIN = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_DOMAIN_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class RecordError(PeerError):
    """Not a record, or not signed by who may publish it."""


class Kind(enum.IntEnum):
    """What a record says."""

    ADDRESS = 1
    "Where a node is reached. Owner: the node key; label: empty."
    USER = 2
    "Where an account of a node is reached. Owner: the node key; label: its login."
    DOMAIN = 3
    "Which nodes answer for a domain. Owner: the node key its proof names; label: the domain."
    PREFIXES = 4
    "Which numbers a trunk offers to reach. Owner: the node key; label: the trunk's login."
    NUMBER = 5
    "Who has a number. Owner: the account key; label: the 15 digits; delegated to a node key."

    @property
    def longest_ttl(self) -> int:
        """Seconds."""
        return ADDRESS_TTL if self is Kind.ADDRESS else ROUTE_TTL


class Accepts(enum.IntFlag):
    """What stands behind a route."""

    USER = 1
    TRUNK = 2
    EXTENSIONS = 4
    "`*ext` after the number or login is understood."


class RelayOffer(NamedTuple):
    """What a willing relay offers."""

    families: int
    "Bit 0: IPv4, bit 1: IPv6."
    kbits_free: int
    sessions_free: int


@dataclass(frozen=True, slots=True)
class AddressPayload:
    """Where a node is reached: `[[[family, packed ip, port], ...], relay or nil]`."""

    endpoints: tuple[Endpoint, ...]
    relay: RelayOffer | None = None

    def value(self) -> Value:
        """The canonical form."""
        endpoints: list[Value] = [_endpoint_value(endpoint) for endpoint in self.endpoints]
        relay: Value = None if self.relay is None else list[Value](self.relay)
        return [endpoints, relay]

    @classmethod
    def read(cls, value: Value) -> Self:
        """Read the canonical form.

        Raises:
            CanonicalError, AddressError: it is not.
        """
        fields = read_array(value, 2, 2)
        endpoints = tuple(map(_read_endpoint, read_array(fields[0], 1, MAX_ENDPOINTS)))
        relay = None
        if fields[1] is not None:
            families, kbits, sessions = read_array(fields[1], 3, 3)
            relay = RelayOffer(
                read_int(families, 1, 3),
                read_int(kbits, 0, (1 << 32) - 1),
                read_int(sessions, 0, (1 << 32) - 1),
            )
        return cls(endpoints, relay)


class Route(NamedTuple):
    """One node that takes calls."""

    node: NodeId
    priority: int = 0
    "Lower is asked first."
    weight: int = 0
    hint: Endpoint | None = None
    "An address to try at once; the node's address record is the authority."


@dataclass(frozen=True, slots=True)
class RoutePayload:
    """Which nodes take the calls: `[accepts, [[node key, priority, weight, hint or nil], ...]]`."""

    accepts: Accepts
    routes: tuple[Route, ...]

    def value(self) -> Value:
        """The canonical form."""
        routes: list[Value] = [
            [
                bytes(route.node),
                route.priority,
                route.weight,
                None if route.hint is None else _endpoint_value(route.hint),
            ]
            for route in self.routes
        ]
        return [int(self.accepts), routes]

    @classmethod
    def read(cls, value: Value) -> Self:
        """Read the canonical form.

        Raises:
            CanonicalError, AddressError, KeyFormatError: it is not.
        """
        fields = read_array(value, 2, 2)
        routes = []
        for item in read_array(fields[1], 1, MAX_ROUTES):
            node, priority, weight, hint = read_array(item, 4, 4)
            routes.append(
                Route(
                    NodeId(read_bytes(node, KEY_BYTES)),
                    read_int(priority, 0, MAX_PRIORITY),
                    read_int(weight, 0, MAX_PRIORITY),
                    None if hint is None else _read_endpoint(hint),
                )
            )
        return cls(Accepts(read_int(fields[0], 0, 7)), tuple(routes))


Payload: TypeAlias = AddressPayload | RoutePayload | PrefixPayload


def record_key(kind: Kind, owner: PublicKey | None, label: str, network: Network) -> bytes:
    """The 32-byte key of a record; `owner` counts for nothing in a number's key."""
    who = bytes(KEY_BYTES) if kind is Kind.NUMBER or owner is None else bytes(owner)
    return hashlib.sha256(network.context("key1") + bytes((kind,)) + who + label.encode()).digest()


def positions(key: bytes) -> tuple[bytes, ...]:
    """The places in the overlay where a key's records are kept."""
    return tuple(hashlib.sha256(key + bytes((region,))).digest() for region in range(REGIONS))


@dataclass(frozen=True, kw_only=True)
class Record:
    """A record whose signatures hold. Whether it is current needs a clock: see `acceptance`."""

    kind: Kind
    owner: PublicKey
    label: str
    publisher: PublicKey
    issued: int
    "Milliseconds since 1970: sequence number and time in one."
    ttl: int
    "Seconds."
    payload: Payload | None
    "None in a tombstone."
    delegation: Delegation | None = None
    key: bytes = b""
    envelope: bytes = b""
    "The bytes as published."
    FIELDS: ClassVar[int] = _FIELDS

    @property
    def is_tombstone(self) -> bool:
        """Whether this says that the publisher's record is gone."""
        return self.payload is None

    @cached_property
    def hash(self) -> bytes:
        """SHA-256 of the envelope."""
        return hashlib.sha256(self.envelope).digest()

    @property
    def rank(self) -> tuple[int, bool, bytes]:
        """Of two records in one slot the greater rank stays."""
        return (self.issued, self.is_tombstone, self.hash)

    @property
    def slot(self) -> tuple[bytes, bytes]:
        """Key, and owner with publisher: one record is kept for each."""
        return (self.key, bytes(self.owner) + bytes(self.publisher))

    @property
    def expires(self) -> float:
        """Seconds since 1970; the delegation's end if that is sooner."""
        end = self.issued / 1000 + self.ttl
        return end if self.delegation is None else min(end, self.delegation.not_after)

    @property
    def address(self) -> AddressPayload | None:
        """The payload of an address record."""
        return self.payload if isinstance(self.payload, AddressPayload) else None

    @property
    def route(self) -> RoutePayload | None:
        """The payload of a route or claim."""
        return self.payload if isinstance(self.payload, RoutePayload) else None

    @property
    def prefixes(self) -> PrefixPayload | None:
        """The payload of a trunk's offers."""
        return self.payload if isinstance(self.payload, PrefixPayload) else None

    def signed(self, key: SigningKey, network: Network) -> "Record":
        """This record with its key and its envelope, signed by the publisher's key.

        Raises:
            RecordError: the envelope would be too long.
        """
        body = canonical.pack(
            [
                VERSION,
                int(self.kind),
                bytes(self.owner),
                self.label,
                bytes(self.publisher),
                self.issued,
                self.ttl,
                TOMBSTONE_FLAG if self.payload is None else 0,
                None if self.payload is None else self.payload.value(),
                None if self.delegation is None else self.delegation.encode(),
            ]
        )
        envelope = canonical.pack([body, key.sign(network.context("rec1") + body)])
        if len(envelope) > MAX_ENVELOPE:
            raise RecordError(f"a record has at most {MAX_ENVELOPE} bytes, not {len(envelope)}")
        location = record_key(self.kind, self.owner, self.label, network)
        return replace(self, envelope=envelope, key=location)

    @classmethod
    def decode(cls, envelope: bytes, network: Network) -> "Record":
        """Read an envelope and check every field and signature in it.

        Raises:
            RecordError: it is not a record, or not signed by who may publish it.
        """
        if len(envelope) > MAX_ENVELOPE:
            raise RecordError(f"a record has at most {MAX_ENVELOPE} bytes")
        try:
            outer = read_array(canonical.unpack(envelope), 2, 2)
            body, signature = outer[0], read_bytes(outer[1], SIGNATURE_BYTES)
            if not isinstance(body, bytes):
                raise RecordError("a record's body is bytes")
            record = _read_body(body, envelope, network)
            record.publisher.verify(signature, network.context("rec1") + body)
        except SignatureError as error:
            raise RecordError("the publisher did not sign this record") from error
        except (CanonicalError, AddressError, DelegationError) as error:
            raise RecordError(f"malformed record: {error}") from error
        except PeerError as error:
            raise RecordError(f"unusable record: {error}") from error
        return record


def _read_body(body: bytes, envelope: bytes, network: Network) -> Record:
    fields = read_array(canonical.unpack(body), _FIELDS, _FIELDS)
    read_int(fields[0], VERSION, VERSION)
    try:
        kind = Kind(read_int(fields[1], 1, 255))
    except ValueError as error:
        raise RecordError("a kind that is not known") from error
    owner = PublicKey(read_bytes(fields[2], KEY_BYTES))
    label = read_text(fields[3], MAX_LABEL_BYTES)
    check_label(kind, label)
    publisher = PublicKey(read_bytes(fields[4], KEY_BYTES))
    ttl = read_int(fields[6], 1, kind.longest_ttl)
    payload: Payload | None = None
    if read_int(fields[7], 0, TOMBSTONE_FLAG):
        if fields[8] is not None or ttl != kind.longest_ttl:
            raise RecordError("a tombstone has no payload and lives as long as its kind may")
    elif kind is Kind.ADDRESS:
        payload = AddressPayload.read(fields[8])
    elif kind is Kind.PREFIXES:
        payload = PrefixPayload.read(fields[8])
    else:
        payload = RoutePayload.read(fields[8])
    issued = read_int(fields[5], 0, MAX_TIME_MS)
    delegation = None
    if fields[9] is not None:
        encoded = read_blob(fields[9], MAX_DELEGATION_BYTES)
        delegation = Delegation.decode(encoded, account=AccountId(owner), network=network)
    _check_publisher(kind, owner, publisher, issued, delegation)
    return Record(
        kind=kind,
        owner=owner,
        label=label,
        publisher=publisher,
        issued=issued,
        ttl=ttl,
        payload=payload,
        delegation=delegation,
        key=record_key(kind, owner, label, network),
        envelope=envelope,
    )


def _check_publisher(
    kind: Kind,
    owner: PublicKey,
    publisher: PublicKey,
    issued: int,
    delegation: Delegation | None,
) -> None:
    """The owner publishes, or (number claims only) a node that the owner delegated to.

    The delegation's label is not compared: an account key has one number, its own.
    """
    if publisher == owner:
        if delegation is not None:
            raise RecordError("an owner needs no delegation")
        return
    if kind is not Kind.NUMBER or delegation is None:
        raise RecordError("published by somebody else than the owner")
    if delegation.publisher != publisher:
        raise RecordError("the delegation is for another node")
    if delegation.not_after - delegation.not_before > MAX_DELEGATION_S:
        raise RecordError(f"a delegation holds for at most {MAX_DELEGATION_S} s")
    if not delegation.not_before <= issued // 1000 <= delegation.not_after:
        raise RecordError("issued outside the time of its delegation")


def check_label(kind: Kind, label: str) -> None:
    """Refuse a label that this kind cannot have.

    Raises:
        RecordError: it cannot.
    """
    if len(label.encode()) > MAX_LABEL_BYTES or unicodedata.normalize("NFC", label) != label:
        raise RecordError(f"a label has at most {MAX_LABEL_BYTES} bytes of normal form C")
    match kind:
        case Kind.ADDRESS:
            fits = label == ""
        case Kind.USER | Kind.PREFIXES:
            fits = _LOGIN.fullmatch(label) is not None
        case Kind.DOMAIN:
            parts = label.split(".")
            fits = len(parts) > 1 and all(_DOMAIN_LABEL.fullmatch(part) for part in parts)
        case Kind.NUMBER:
            fits = Number.fits(label)
    if not fits:
        raise RecordError(f"{label!r} is no label of a {kind.name.lower()} record")


def _endpoint_value(endpoint: Endpoint) -> Value:
    return [6 if endpoint.is_ipv6 else 4, endpoint.packed, endpoint.port]


def _read_endpoint(value: Value) -> Endpoint:
    family, packed, port = read_array(value, 3, 3)
    size = 4 if read_int(family, 4, 6) == 4 else 16
    endpoint = Endpoint.unpack(read_bytes(packed, size), read_int(port, 1, 65_535))
    if endpoint.is_ipv6 != (family == 6):
        raise AddressError("an IPv4 address is written as family 4")
    return endpoint
