"""What nodes say to each other over a link: one frozen dataclass for each frame.

A frame travels as a length-prefixed msgpack array (`codec.py`); the README has the wire tables.
The limits here hold on both sides: `codec.encode` refuses to make what `codec.decode` refuses.
"""

import enum
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

TXN_BYTES = 16
"Length of a transaction's name, chosen at random by the node that sends the request."
LEG_SECRET_BYTES = 32
MAX_SIP_BYTES = 65_536
MAX_STATEMENT_BYTES = 8_192
MAX_LEGS = 32
"m= lines of one SDP that a frame can describe."
MAX_LEG_COUNT = 64
MAX_DOMAINS = 64
MAX_FEATURES = 32
MAX_TEXT_BYTES = 512
"UTF-8 bytes of any other text field (Call-ID, tag, reason, domain, feature)."
NO_TXN = bytes(TXN_BYTES)
"The name that the answer to a `Bye` carries."
PROTOCOL_VERSION = 1


class LegAddress(NamedTuple):
    """Where sealed media is to be sent."""

    ip: str | None
    "An IP address; `None` means the one this link's packets come from."
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LegOffer:
    """What an SDP offer brings for one m= line: a block of leg ids for answers to choose from."""

    address: LegAddress
    first_id: int
    count: int
    secret: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LegAnswer:
    """What an SDP answer brings for one m= line: which leg of the offered block, and its own."""

    address: LegAddress
    own_id: int
    index: int
    secret: bytes


Leg = LegOffer | LegAnswer | None
Legs = tuple[Leg, ...]
"One entry for each m= line, in order; `None`: rejected, or the line keeps the leg it has."


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """The first frame of each side on the control stream."""

    version: int = PROTOCOL_VERSION
    features: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    "Domains that the sender answers for, lower case; whether it may is proven elsewhere."
    software: str = ""
    "For people: name and version of the program."


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A SIP request. It opens a stream, and the stream is its transaction."""

    txn: bytes
    sip: bytes
    legs: Legs = ()
    statement: bytes | None = None
    "A signed caller statement (`statement.py`); on requests outside dialogs only."
    last_seq: int = 0
    "Set on a resend: repeat every response after this one."

    @property
    def method(self) -> str:
        """The SIP method; the codec has checked that there is one."""
        return self.sip[: self.sip.index(b" ")].decode("ascii")

    def resent_after(self, last_seq: int) -> Self:
        """The same request, asking for the responses after `last_seq`."""
        return replace(self, last_seq=last_seq)


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A SIP response, on the request's stream or, for a further 2xx, on one of its own."""

    txn: bytes
    seq: int
    "1, 2, 3, ... within its transaction."
    sip: bytes
    legs: Legs = ()

    @property
    def status(self) -> int:
        """The SIP status code; the codec has checked that there is one."""
        return int(self.sip[8:11])

    @property
    def is_final(self) -> bool:
        """Whether this response ends its transaction."""
        return self.status >= 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """RFC 3261 CANCEL as a frame: follows its request on the same stream."""

    txn: bytes
    reason: str = ""
    "Value of the Reason header (RFC 3326), or empty."


@dataclass(frozen=True, slots=True, kw_only=True)
class Bye:
    """Ends a dialog from the middle. Has a stream of its own and is answered by a `Response`."""

    call_id: str
    sender_tag: str
    "The tag of the party on the sending node's side."
    receiver_tag: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Ping:
    """Asks for a `Pong` with the same number."""

    number: int


@dataclass(frozen=True, slots=True)
class Pong:
    """Answers a `Ping`."""

    number: int


@dataclass(frozen=True, slots=True)
class Goodbye:
    """The sender is going away: what is open may end, nothing new is to be sent."""

    reason: str = ""


Frame = Hello | Request | Response | Cancel | Bye | Ping | Pong | Goodbye


class StreamError(enum.IntEnum):
    """Why one stream was reset (QUIC application error code of RESET_STREAM and STOP_SENDING)."""

    NONE = 0
    REFUSED = 1
    "No room for another transaction."
    MALFORMED = 2
    TOO_SLOW = 3
    "The first frame did not arrive in time."
    GONE = 4
    "The transaction asked after is not, or no longer, known."


class LinkError(enum.IntEnum):
    """Why a link was closed (QUIC application error code of CONNECTION_CLOSE)."""

    NONE = 0
    IDLE = 1
    DUPLICATE = 2
    "The other link of this pair is kept."
    REPLACED = 3
    "A newer link of this pair took over."
    MALFORMED = 4
    FLOODING = 5
    "More bytes, streams or frames than a peer may have open."
    SILENT = 6
    "A ping stayed unanswered, or the hello did not come."
    SHUTDOWN = 7
    "The node is going away."
    FULL = 8
    "No room for another link."
