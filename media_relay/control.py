"""What the control plane and a worker say to each other over their private socket pair.

One message is one packet of a `SOCK_SEQPACKET` socket: a msgpack array, its tag first. Orders go
to the worker, are carried out in order and not answered; notices come back. Sockets travel beside
their order (`SCM_RIGHTS`). Both ends come from one installation, except when that was replaced
under a running node; so a worker's first notice names its `VERSION`, and another one is refused.
"""

from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from media_relay.control_turn import (
    AttachTurn,
    ConfigureTurn,
    EndGuests,
    GuestTraffic,
    LendGuests,
    LimitAccount,
    PutAccounts,
    RelayClosed,
    RelayOpened,
    RelayRefused,
    RemoveAccounts,
    TurnUsage,
    WantRelay,
)
from media_relay.errors import ControlError

VERSION = 5
MAX_MESSAGE_BYTES = 65536
MAX_SOURCES = 64
"IP addresses that may latch at one anchor."
MAX_CLOCK_RATES = 128
MAX_LEGS_A_BLOCK = 64
MAX_REPORTED = 200
"Endpoints in one `Report`."

Port = Annotated[int, Meta(ge=1, le=0xFFFF)]
U16 = Annotated[int, Meta(ge=0, le=0xFFFF)]
U32 = Annotated[int, Meta(ge=0, le=0xFFFFFFFF)]
Count = Annotated[int, Meta(ge=0)]
Counter = Annotated[int, Meta(ge=-1)]
"A sealed leg's counter, 64 bits; -1 for none."
Component = Annotated[int, Meta(ge=1, le=2)]
Key = Annotated[bytes, Meta(min_length=16, max_length=16)]
Host = Annotated[str, Meta(max_length=64)]
Address = tuple[Host, Port]
FullAddress = tuple[Host, Port, U32, U32]
"Host, port, and for IPv6 flow and scope (else 0): an address as it was seen."


class AttachLegPort(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Carry sealed legs on the socket that comes along."""

    ipv6: bool


class OpenAnchor(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Take an anchor, whose RTP and RTCP sockets come along."""

    anchor: U32


class Expect(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """What the phone's SDP says; see `Anchor.expect`."""

    anchor: U32
    rtp: Address | None
    rtcp: Address | None
    sources: Annotated[tuple[Host, ...], Meta(max_length=MAX_SOURCES)]
    mux: bool
    udptl: bool
    relatch: bool
    clock_rates: Annotated[dict[U16, U32], Meta(max_length=MAX_CLOCK_RATES)]


class RestoreLatch(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """What an earlier worker learned about one port of an anchor."""

    anchor: U32
    component: Component
    peer: FullAddress
    locked: bool


class FreeAnchor(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """Close an anchor's sockets and forget it."""

    anchor: U32


class ReserveLegs(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """Count what comes for these ids; nothing passes yet."""

    first: U32
    count: Annotated[int, Meta(ge=1, le=MAX_LEGS_A_BLOCK)]


class InstallLeg(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """Keys and peer of a reserved leg; `confirmed` lets media go to `peer` at once."""

    leg: U32
    peer_leg: U32
    peer: FullAddress
    send_key: Key
    receive_key: Key
    confirmed: bool
    generation: U16
    highest: Counter

    def __repr__(self) -> str:
        return f"InstallLeg(leg={self.leg}, peer={self.peer}, generation={self.generation})"


class FreeLeg(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """Forget a leg."""

    leg: U32


class JoinAnchors(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """Join two anchors, and nobody else with either."""

    one: U32
    other: U32


class JoinLeg(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """Join an anchor and a leg, and nobody else with either."""

    anchor: U32
    leg: U32


class Unjoin(msgspec.Struct, frozen=True, array_like=True, tag=11):
    """End an anchor's join."""

    anchor: U32


class EchoAnchor(msgspec.Struct, frozen=True, array_like=True, tag=12):
    """Let an anchor hear itself, SSRCs changed by `mask`."""

    anchor: U32
    mask: Annotated[int, Meta(ge=1, le=0xFFFFFFFF)]


class JoinLegs(msgspec.Struct, frozen=True, array_like=True, tag=14):
    """Join two legs, and nobody else with either."""

    one: U32
    other: U32


class EchoLeg(msgspec.Struct, frozen=True, array_like=True, tag=15):
    """Let the far end of a leg hear itself, SSRCs changed by `mask`."""

    leg: U32
    mask: Annotated[int, Meta(ge=1, le=0xFFFFFFFF)]


class Ping(msgspec.Struct, frozen=True, array_like=True, tag=13):
    """Answer with the same serial once everything before is done."""

    serial: U32


Order = (
    AttachLegPort
    | OpenAnchor
    | Expect
    | RestoreLatch
    | FreeAnchor
    | ReserveLegs
    | InstallLeg
    | FreeLeg
    | JoinAnchors
    | JoinLeg
    | Unjoin
    | EchoAnchor
    | Ping
    | JoinLegs
    | EchoLeg
    | ConfigureTurn
    | AttachTurn
    | PutAccounts
    | RemoveAccounts
    | RelayOpened
    | RelayRefused
    | LendGuests
    | LimitAccount
    | EndGuests
)


class Ready(msgspec.Struct, frozen=True, array_like=True, tag=64):
    """The first notice of a worker."""

    version: U32
    descriptors: Count
    "How many file descriptors the worker may have open."


class Pong(msgspec.Struct, frozen=True, array_like=True, tag=65):
    """Everything before the `Ping` of this serial is done."""

    serial: U32


class Latched(msgspec.Struct, frozen=True, array_like=True, tag=66):
    """A port's peer or lock changed."""

    anchor: U32
    component: Component
    peer: FullAddress
    locked: bool


class Counters(msgspec.Struct, frozen=True, array_like=True):
    """What one endpoint counted since its worker began; times are on the worker's clock."""

    id: U32
    is_leg: bool
    packets_in: Count
    packets_out: Count
    bytes_in: Count
    bytes_out: Count
    drops: Annotated[tuple[Count, ...], Meta(max_length=16)]
    "By index of `Drop`."
    lost: Count
    jitter: float | None
    longest_gap: float
    last_heard: float | None
    peer: FullAddress | None = None
    "Of legs: where the last authentic datagram came from, `None` before."
    highest: Counter = -1
    "Of legs: the highest counter received."
    is_last: bool = False
    "The endpoint was freed; no more follows."
    told_lost: int | None = None
    "Packets that this side says it never got, by its RTCP."
    round_trip: float | None = None
    "Seconds from here to this side and back, by its RTCP."


class Report(msgspec.Struct, frozen=True, array_like=True, tag=67):
    """Some endpoints whose counters moved; each is looked at once a second."""

    now: float
    endpoints: Annotated[tuple[Counters, ...], Meta(max_length=MAX_REPORTED)]


class Totals(msgspec.Struct, frozen=True, array_like=True, tag=68):
    """What the worker sent in all since it began, and what it could not make sense of."""

    packets: Count
    bytes: Count
    strays: Count
    ignored_orders: Count


Notice = (
    Ready | Pong | Latched | Report | Totals | WantRelay | RelayClosed | TurnUsage | GuestTraffic
)

_Message = TypeVar("_Message")

_encoder = msgspec.msgpack.Encoder()
_orders: msgspec.msgpack.Decoder[Order] = msgspec.msgpack.Decoder(Order)
_notices: msgspec.msgpack.Decoder[Notice] = msgspec.msgpack.Decoder(Notice)


def encode(message: Order | Notice) -> bytes:
    """The bytes of one message."""
    return _encoder.encode(message)


def decode_order(data: bytes) -> Order:
    """Read what a worker was sent.

    Raises:
        ControlError: not an order of this version.
    """
    return _decoded(_orders, data)


def decode_notice(data: bytes) -> Notice:
    """Read what a worker says.

    Raises:
        ControlError: not a notice of this version.
    """
    return _decoded(_notices, data)


def _decoded(decoder: msgspec.msgpack.Decoder[_Message], data: bytes) -> _Message:
    if len(data) > MAX_MESSAGE_BYTES:
        raise ControlError(f"a control message has at most {MAX_MESSAGE_BYTES} bytes")
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ControlError(f"not a control message: {error}") from error
