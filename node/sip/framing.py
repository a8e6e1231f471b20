"""Cutting a byte stream into SIP messages (RFC 3261 sections 7.5 and 18.3).

On a stream every message needs a Content-Length; between messages line ends are skipped, and two
in a row are a ping that wants one back (RFC 5626 section 3.5.1). The framer reads nothing of a
header block but the length, and every byte a bounded number of times however it arrives.
"""

import re
from dataclasses import dataclass

from federation.model.clocks import Monotonic

MAX_HEAD_BYTES = 32_768
"Start line and header fields of one message; more ends the connection with 513."
MAX_MESSAGE_BYTES = 65_535
"A whole message, as much as UDP can carry; more ends the connection with 513."
MAX_GAP = 10.0
"Seconds a begun message may stand still."
MAX_MESSAGE_TIME = 30.0
"Seconds a message may take from its first byte to its last."
PONG = b"\r\n"

_LENGTHS = re.compile(
    rb"\r\n(?:content-length|l)[ \t]*:([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)", re.IGNORECASE
)
_PINGS = re.compile(rb"(?:\r\n\r\n)+")
START = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-.!%*_+`'~")
"A start line begins with a token: a method or `SIP`."


@dataclass(frozen=True, slots=True)
class Framed:
    """One whole message."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Ping:
    """The other end asks, once or more in a row, whether we live: send `PONG`."""


@dataclass(frozen=True, slots=True)
class FramingFailed:
    """The stream cannot be followed any further: answer if `head` is a request, then close."""

    status: int
    "What to answer: 400 or 513; 408 for a message that stood still."
    reason: str
    head: bytes
    "The header block with its empty line if it is complete, else empty."


FramingEvent = Framed | Ping | FramingFailed


class StreamFramer:
    """One direction of one connection. After `FramingFailed` everything further is ignored."""

    __slots__ = (
        "_buffer", "_failed", "_fed", "_had_message", "_head", "_needed", "_scanned", "_started",
    )  # fmt: skip

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._scanned = 0
        self._head = 0
        self._needed = 0  # bytes of the message whose head is complete; 0: it is not
        self._started: Monotonic | None = None
        self._fed: Monotonic | None = None
        self._failed = False
        self._had_message = False  # since the times of a begun message were looked at

    def receive(self, data: bytes, *, now: Monotonic) -> list[FramingEvent]:
        """Take the next bytes of the stream; say what they complete."""
        self.feed(data, now=now)
        return list(iter(self.next, None))

    def feed(self, data: bytes, *, now: Monotonic) -> None:
        """Take the next bytes of the stream; ask `next` until it says `None`."""
        if not self._failed:
            self._buffer += data
            self._fed = now

    def next(self) -> FramingEvent | None:
        """What comes next of that which was fed; `None` if nothing more is complete."""
        if self._failed:
            return None
        event = self._next()
        if isinstance(event, Framed):
            self._had_message = True
        elif isinstance(event, FramingFailed):
            self.stop()
        elif event is None:
            if not self._waits_for_more():
                self._started = None
            elif self._started is None or self._had_message:
                self._started = self._fed
            self._had_message = False
        return event

    def stop(self) -> None:
        """Forget what was fed and ignore what follows."""
        self._failed, self._started = True, None
        self._buffer.clear()

    def next_timer(self) -> Monotonic | None:
        """When a message that stays unfinished has taken too long; `None` between messages."""
        if self._started is None or self._fed is None:
            return None
        return Monotonic(min(self._fed + MAX_GAP, self._started + MAX_MESSAGE_TIME))

    def handle_timer(self, *, now: Monotonic) -> list[FramingEvent]:
        """Give up on a message that has taken too long by `now`."""
        deadline = self.next_timer()
        if deadline is None or now < deadline:
            return []
        head = bytes(self._buffer[: self._head])
        self.stop()
        return [FramingFailed(408, "Message Stood Still", head)]

    def restart(self, now: Monotonic) -> None:
        """Count the times of a begun message from `now`: nothing was read meanwhile."""
        if self._started is not None:
            self._started = self._fed = now

    def _waits_for_more(self) -> bool:
        return bool(self._buffer) and self._buffer[0] in START

    def _next(self) -> FramingEvent | None:
        buffer = self._buffer
        if self._needed == 0:
            event = self._between()
            if event is not None or not buffer or buffer[0] not in START:
                return event
            failed = self._read_head()
            if failed is not None:
                return failed
        if self._needed == 0 or len(buffer) < self._needed:
            return None
        data = bytes(buffer[: self._needed])
        del buffer[: self._needed]
        self._scanned = self._head = self._needed = 0
        return Framed(data)

    def _between(self) -> FramingEvent | None:
        """Skip line ends before a message."""
        buffer = self._buffer
        while buffer and buffer[0] not in START:
            if (pings := _PINGS.match(buffer)) is not None:
                del buffer[: pings.end()]
                return Ping()
            if b"\r\n\r\n".startswith(buffer):
                return None
            if not buffer.startswith(b"\r\n"):
                return FramingFailed(400, "Not SIP", b"")
            if buffer[2] == 13 and len(buffer) == 3:
                return None
            del buffer[:2]
        return None

    def _read_head(self) -> FramingFailed | None:
        """Find the end of the header block and the length of the message."""
        buffer = self._buffer
        end = buffer.find(b"\r\n\r\n", max(0, self._scanned - 3))
        self._scanned = len(buffer)
        if end + 4 > MAX_HEAD_BYTES or (end < 0 and len(buffer) >= MAX_HEAD_BYTES):
            return FramingFailed(513, "Message Too Large", b"")
        if end < 0:
            return None
        self._head = end + 4
        head = bytes(buffer[: self._head])
        lengths = {value.strip() for value in _LENGTHS.findall(head)}
        if len(lengths) != 1:
            reason = "Content-Length Required" if not lengths else "Two Content-Lengths"
            return FramingFailed(400, reason, head)
        (length,) = lengths
        if not length.isdigit() or len(length) > 10:
            return FramingFailed(400, "Bad Content-Length", head)
        self._needed = self._head + int(length)
        if self._needed > MAX_MESSAGE_BYTES:
            return FramingFailed(513, "Message Too Large", head)
        return None
