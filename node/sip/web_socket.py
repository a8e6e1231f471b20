"""SIP over WebSocket (RFC 7118): whom the door opens to, and what one frame means.

Each message is one WebSocket message, text or binary, with its length known; Content-Length may be
missing. Line ends alone are the keepalive of RFC 5626 3.5.1, which clients may send here too
(RFC 7118 6).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from federation.model.clocks import Monotonic
from node.sip.framing import PONG, START

SUBPROTOCOL = "sip"
"The WebSocket subprotocol; without it a handshake is refused (RFC 7118 4.1)."
MAX_FRAMES_AT_ONCE = 100
"Messages of one connection that are taken at once."
FRAMES_PER_SECOND = 50.0
"And from then on."
MAX_ORIGIN = 255
"Characters of an Origin that is looked at."

NOT_SIP = 1003
"Close code: the message is of no kind that is taken here (RFC 6455 7.4.1)."
TOO_FAST = 1008
"Close code: our policy, which bounds the rate, was violated."


@dataclass(frozen=True, slots=True)
class Refused:
    """There will be no WebSocket: the answer to the handshake."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Message:
    """A SIP message, as far as the first byte tells."""

    data: bytes


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """Line ends; `answer` is what goes back, empty for nothing."""

    answer: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """The connection has to be closed with this code."""

    code: int
    reason: str


FrameEvent = Message | KeepAlive | Ended


def refusal(
    protocols: Sequence[str], origin: str | None, host: str, welcome: Sequence[str] = ()
) -> Refused | None:
    """Why a handshake is refused; `None`: it is not.

    Browsers name the page's origin (RFC 6455 10.2), other programs need not. A page may connect to
    the host that it came from, and those in `welcome` to any: others would have their visitors try
    passwords here.
    """
    offered = {name.strip().lower() for value in protocols for name in value.split(",")}
    if SUBPROTOCOL not in offered:
        return Refused(400, "this is SIP over WebSocket: ask for the subprotocol sip (RFC 7118)")
    if origin is None or origin.lower() in welcome or _place_of(origin) == host.lower():
        return None
    text = f"pages of {origin[:MAX_ORIGIN]} may not connect here; sip.web_origins names who may"
    return Refused(403, text)


def _place_of(origin: str) -> str | None:
    """Host and port of an origin, as a Host header has them; `None` for `null` and the like."""
    try:
        parts = urlsplit(origin[:MAX_ORIGIN])
        return parts.netloc.lower() if parts.scheme in ("http", "https") else None
    except ValueError:
        return None


class FrameReader:
    """One direction of one connection; what comes after `Ended` is not looked at any more."""

    __slots__ = ("_at", "_ended", "_left")

    def __init__(self, *, now: Monotonic) -> None:
        self._left = float(MAX_FRAMES_AT_ONCE)
        self._at = now
        self._ended = False

    def receive(self, payload: bytes, *, now: Monotonic) -> FrameEvent:
        """Take one WebSocket message."""
        self._left += (now - self._at) * FRAMES_PER_SECOND
        self._left, self._at = min(self._left, float(MAX_FRAMES_AT_ONCE)) - 1.0, now
        if self._left < 0.0 or self._ended:
            self._ended = True
            return Ended(TOO_FAST, "too many messages a second")
        data = payload.lstrip(b"\r\n")
        if not data:
            return KeepAlive(PONG if payload == b"\r\n\r\n" else b"")
        if data[0] not in START:
            self._ended = True
            return Ended(NOT_SIP, "not a SIP message")
        return Message(data)
