"""What the bodies of DHT frames say: one dataclass a message, with its `parse` beside its `body`.

Requests are `[method, ...]`; answers are `[method, part, parts, observed, cookie, ...]`, where
`observed` is the asker's packed address and port as the answerer saw it. Later versions may append
fields, which are ignored. The tables stand in `dht/README.md`.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, NamedTuple, TypeAlias

from dht import canonical
from dht.canonical import CanonicalError, Value, read_array, read_blob, read_bytes, read_int
from dht.frame import COOKIE_BYTES, FrameError
from dht.overlay_id import OVERLAY_ID_BYTES, OverlayId
from federation.model.address import AddressError, Endpoint

MAX_CONTACTS = 20
MAX_IPV6_CONTACTS = 16
MAX_PARTS = 3
MAX_RECORDS = 8
MAX_ENVELOPE = 900
MAX_FIELDS = 16
"Fields of a message, those of later versions included."
CACHED_ENDPOINTS = 16_384
"The same addresses come in list after list; about 0.3 kB each."
MAX_TIME_MS = (1 << 48) - 1
SEAL_KEY_BYTES = 32
WANTS_IPV4 = 1
WANTS_IPV6 = 2
RELAYS = 1
"Contact flag: willing to relay for strangers."
CLIENT = 2
"Ping flag: this node is not known to be reachable; keep it in no table, name it to nobody."
MAX_FLAGS = 0xFF
TOKEN_BYTES = 8
STORED, NEWER_HELD, QUEUED = 0, 1, 2
OUTSIDE_REGION, FULL, INVALID, UNCHECKED = 3, 4, 5, 6
"Answer codes to a store; the first three mean that the record is, or soon will be, held."
LAST_CODE = 255
MAX_RANK = (1 << 32) - 1
CANNOT_OPEN, BUSY, MALFORMED, NOT_SERVING = 1, 2, 3, 4
"Refusal codes; the last is a client's."


class ContactEntry(NamedTuple):
    """A node as another names it: an id and address to try, proven by nothing yet."""

    id: OverlayId
    endpoint: Endpoint
    flags: int = 0


class Observed(NamedTuple):
    """What every answer brings: the asker's address as seen, and a cookie for it."""

    endpoint: Endpoint
    cookie: bytes


@dataclass(frozen=True, slots=True)
class Ping:
    """Are you there, and who are you?"""

    METHOD: ClassVar[int] = 1
    record_issued: int
    "When the sender's own address record was issued, ms since 1970; 0 without one."
    flags: int = 0
    token: bytes = b""
    "Asks to be pinged back from another port with this token, or is such a ping."
    is_back: bool = False

    def body(self) -> list[Value]:
        """The fields; those that say nothing are left out."""
        fields: list[Value] = [self.METHOD, self.record_issued]
        if self.token:
            return [*fields, self.flags, self.token, int(self.is_back)]
        return [*fields, self.flags] if self.flags else fields


@dataclass(frozen=True, slots=True)
class FindNode:
    """Which contacts do you have near `target`?"""

    METHOD: ClassVar[int] = 2
    target: bytes
    radius: bytes | None = None
    "With a distance: a sample of the contacts within it, instead of the nearest."
    want: int = WANTS_IPV4 | WANTS_IPV6

    def body(self) -> list[Value]:
        """The fields."""
        return [self.METHOD, self.target, self.radius, self.want]


@dataclass(frozen=True, slots=True)
class Get:
    """Which records do you hold at `position`, and who is nearer to it?"""

    METHOD: ClassVar[int] = 3
    position: bytes
    newer_than: int = 0
    "Only records issued later than this, ms since 1970."
    most: int = MAX_RECORDS
    want: int = WANTS_IPV4 | WANTS_IPV6

    def body(self) -> list[Value]:
        """The fields."""
        return [self.METHOD, self.position, self.newer_than, self.most, self.want]


@dataclass(frozen=True, slots=True)
class Store:
    """Keep this record. Needs a cookie."""

    METHOD: ClassVar[int] = 4
    envelope: bytes

    def body(self) -> list[Value]:
        """The fields."""
        return [self.METHOD, self.envelope]


Request: TypeAlias = Ping | FindNode | Get | Store


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to a ping."""

    METHOD: ClassVar[int] = 1
    record_issued: int
    seal_key: bytes
    "X25519 key of this run of the node; bodies may be sealed to it."
    flags: int
    time_ms: int
    "The answerer's clock."

    def rest(self) -> list[Value]:
        """The fields after those that every answer has."""
        return [self.record_issued, self.seal_key, self.flags, self.time_ms]


@dataclass(frozen=True, slots=True)
class Nodes:
    """The answer to find_node."""

    METHOD: ClassVar[int] = 2
    contacts: tuple[ContactEntry, ...]
    seal_key: bytes | None = None
    "As in a pong, so that who was asked in the clear can be asked under seal next."

    def rest(self) -> list[Value]:
        """The fields after those that every answer has."""
        contacts: list[Value] = [_contact_fields(contact) for contact in self.contacts]
        return [contacts] if self.seal_key is None else [contacts, self.seal_key]


@dataclass(frozen=True, slots=True)
class Records:
    """The answer to get."""

    METHOD: ClassVar[int] = 3
    envelopes: tuple[bytes, ...]
    contacts: tuple[ContactEntry, ...]

    def rest(self) -> list[Value]:
        """The fields after those that every answer has."""
        envelopes: list[Value] = list(self.envelopes)
        return [envelopes, [_contact_fields(contact) for contact in self.contacts]]


@dataclass(frozen=True, slots=True)
class Stored:
    """The answer to store."""

    METHOD: ClassVar[int] = 4
    code: int
    rank: int
    "How many nodes the answerer believes to be nearer to the record than itself."

    def rest(self) -> list[Value]:
        """The fields after those that every answer has."""
        return [self.code, self.rank]


Answer: TypeAlias = Pong | Nodes | Records | Stored


class Part(NamedTuple):
    """One datagram's worth of an answer."""

    part: int
    parts: int
    observed: Observed
    answer: Answer


def parse_request(body: bytes, *, padded_to_minimum: bool) -> Request:
    """Read a request's body; padding is allowed only where it was needed to reach the minimum.

    Raises:
        FrameError: malformed.
    """
    try:
        value, padding = canonical.unpack_padded(body)
        if padding and not padded_to_minimum:
            raise FrameError("padding where none belongs")
        fields = read_array(value, 2, MAX_FIELDS)
        match fields[0], len(fields) - 1:
            case Ping.METHOD, _:
                return _parse_ping(fields[1:])
            case FindNode.METHOD, n if n >= 3:
                radius = None if fields[2] is None else read_bytes(fields[2], OVERLAY_ID_BYTES)
                target = read_bytes(fields[1], OVERLAY_ID_BYTES)
                return FindNode(target, radius, read_int(fields[3], 1, 3))
            case Get.METHOD, n if n >= 4:
                return Get(
                    read_bytes(fields[1], OVERLAY_ID_BYTES),
                    read_int(fields[2], 0, MAX_TIME_MS),
                    read_int(fields[3], 1, MAX_RECORDS),
                    read_int(fields[4], 1, 3),
                )
            case Store.METHOD, _:
                return Store(read_blob(fields[1], MAX_ENVELOPE))
            case _:
                raise FrameError("unknown method, or too few fields")
    except CanonicalError as error:
        raise FrameError(f"malformed request: {error}") from error


def _parse_ping(fields: list[Value]) -> Ping:
    """The fields after the first came later: each may be missing, or nil."""
    flags, token, is_back = (*fields[1:4], None, None, None)[:3]
    return Ping(
        read_int(fields[0], 0, MAX_TIME_MS),
        0 if flags is None else read_int(flags, 0, MAX_FLAGS),
        b"" if token is None else read_bytes(token, TOKEN_BYTES),
        is_back is not None and bool(read_int(is_back, 0, 1)),
    )


def encode_part(part: Part) -> bytes:
    """The body of one answer datagram."""
    head: list[Value] = [
        part.answer.METHOD,
        part.part,
        part.parts,
        pack_endpoint(part.observed.endpoint),
        part.observed.cookie,
    ]
    return canonical.pack(head + part.answer.rest())


def parse_part(body: bytes) -> Part:
    """Read the body of one answer datagram.

    Raises:
        FrameError: malformed.
    """
    try:
        fields = read_array(canonical.unpack(body), 6, MAX_FIELDS)
        parts = read_int(fields[2], 1, MAX_PARTS)
        observed = Observed(unpack_endpoint(fields[3]), read_bytes(fields[4], COOKIE_BYTES))
        part = read_int(fields[1], 0, parts - 1)
        return Part(part, parts, observed, _parse_answer(fields[0], fields[5:]))
    except (CanonicalError, AddressError) as error:
        raise FrameError(f"malformed answer: {error}") from error


def _parse_answer(method: Value, rest: list[Value]) -> Answer:
    match method, len(rest):
        case Pong.METHOD, n if n >= 4:
            return Pong(
                read_int(rest[0], 0, MAX_TIME_MS),
                read_bytes(rest[1], SEAL_KEY_BYTES),
                read_int(rest[2], 0, MAX_FLAGS),
                read_int(rest[3], 0, MAX_TIME_MS),
            )
        case Nodes.METHOD, _:
            key = rest[1] if len(rest) > 1 else None
            seal_key = None if key is None else read_bytes(key, SEAL_KEY_BYTES)
            return Nodes(_parse_contacts(rest[0]), seal_key)
        case Records.METHOD, n if n >= 2:
            envelopes = read_array(rest[0], 0, MAX_RECORDS)
            return Records(
                tuple(read_blob(envelope, MAX_ENVELOPE) for envelope in envelopes),
                _parse_contacts(rest[1]),
            )
        case Stored.METHOD, n if n >= 2:
            return Stored(read_int(rest[0], 0, LAST_CODE), read_int(rest[1], 0, MAX_RANK))
        case _:
            raise FrameError("unknown method, or too few fields")


def challenge_body(cookie: bytes) -> bytes:
    """The body of a challenge: [cookie]."""
    return canonical.pack([cookie])


def parse_challenge(body: bytes) -> bytes:
    """The cookie of a challenge.

    Raises:
        FrameError: malformed.
    """
    try:
        return read_bytes(read_array(canonical.unpack(body), 1, MAX_FIELDS)[0], COOKIE_BYTES)
    except CanonicalError as error:
        raise FrameError(f"malformed challenge: {error}") from error


def refusal_body(code: int) -> bytes:
    """The body of a refusal: [code]."""
    return canonical.pack([code])


def parse_refusal(body: bytes) -> int:
    """The code of a refusal.

    Raises:
        FrameError: malformed.
    """
    try:
        return read_int(read_array(canonical.unpack(body), 1, MAX_FIELDS)[0], 0, LAST_CODE)
    except CanonicalError as error:
        raise FrameError(f"malformed refusal: {error}") from error


@lru_cache(maxsize=CACHED_ENDPOINTS)
def pack_endpoint(endpoint: Endpoint) -> bytes:
    """4 or 16 address bytes and the port, big-endian."""
    return endpoint.packed + endpoint.port.to_bytes(2, "big")


def unpack_endpoint(value: Value) -> Endpoint:
    """Read what `pack_endpoint` wrote.

    Raises:
        CanonicalError: another length.
        AddressError: no usable port, or IPv4 written as IPv6.
    """
    return _endpoint_of(read_bytes(value, 6, 18))


@lru_cache(maxsize=CACHED_ENDPOINTS)
def _endpoint_of(raw: bytes) -> Endpoint:
    endpoint = Endpoint.unpack(raw[:-2], int.from_bytes(raw[-2:], "big"))
    if len(endpoint.packed) != len(raw) - 2:
        raise AddressError("an IPv4 address is written in 4 bytes")
    return endpoint


def _contact_fields(contact: ContactEntry) -> Value:
    return [bytes(contact.id), pack_endpoint(contact.endpoint), contact.flags]


def _parse_contacts(value: Value) -> tuple[ContactEntry, ...]:
    contacts = []
    for item in read_array(value, 0, MAX_CONTACTS):
        fields = read_array(item, 3, 3)
        contacts.append(
            ContactEntry(
                OverlayId(read_bytes(fields[0], OVERLAY_ID_BYTES)),
                unpack_endpoint(fields[1]),
                read_int(fields[2], 0, MAX_FLAGS),
            )
        )
    if sum(contact.endpoint.is_ipv6 for contact in contacts) > MAX_IPV6_CONTACTS:
        raise CanonicalError("too many IPv6 contacts")
    return tuple(contacts)
