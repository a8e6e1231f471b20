"""One link: a QUIC connection and the session rules over it, with the timer between them."""

import asyncio
from collections.abc import Iterable
from typing import Protocol, assert_never

from federation.messages import (
    Bye,
    Cancel,
    Frame,
    Hello,
    LinkError,
    Request,
    Response,
    StreamError,
)
from federation.model.address import Endpoint
from federation.model.clocks import Clock, Monotonic
from federation.model.identity import NodeId
from federation.quic.connection import Connection
from federation.session import LinkSession
from federation.session_effects import (
    Close,
    Leaving,
    Received,
    ResetStream,
    SessionEffect,
    StreamEnded,
    Up,
    Write,
)

MAX_BACKLOG_BYTES = 16 * 2**20
"Bytes written that the peer does not take; a peer that stops reading loses the link."
BACKLOG_CHECK_BYTES = 2**20
"The backlog is counted each time this much has been written."
MAX_SURPLUS_STREAMS = 1_024
"Streams that hold memory without an exchange, seen twice in a row."


class LinkEvents(Protocol):
    """Whoever owns a link."""

    def link_established(self, link: "Link") -> None:
        """The peer has proven its key."""

    def link_up(self, link: "Link") -> None:
        """Both hellos are through."""

    def link_received(
        self, link: "Link", stream: int, frame: Request | Response | Cancel | Bye
    ) -> None:
        """A frame of an exchange."""

    def link_stream_ended(self, link: "Link", stream: int, error: StreamError) -> None:
        """The peer has no more to say on a stream."""

    def link_leaving(self, link: "Link", reason: str) -> None:
        """The peer said goodbye."""

    def link_closed(self, link: "Link", reason: str) -> None:
        """The link is gone. Called once, last."""


class Link:
    """Carries out what its `LinkSession` decides. Bring an owner in with `events`."""

    def __init__(
        self,
        connection: Connection,
        *,
        serial: int,
        is_dialler: bool,
        hello: Hello,
        events: LinkEvents,
        clock: Clock,
    ) -> None:
        self.serial = serial
        self.is_dialler = is_dialler
        self.events = events
        self.peer: NodeId | None = None
        self.hello: Hello | None = None
        self.up_at: Monotonic | None = None
        self.is_leaving = False
        self._connection = connection
        self._clock = clock
        self._session = LinkSession(is_dialler=is_dialler, hello=hello, now=clock.monotonic())
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: Monotonic | None = None
        self._unchecked_bytes = 0
        self._had_surplus = False
        self._last_endpoint: Endpoint | None = None
        connection.handler = self
        self._rearm()

    @property
    def is_up(self) -> bool:
        """Whether exchanges may be begun."""
        return self._session.is_up and not self._connection.is_over

    @property
    def exchange_count(self) -> int:
        """Exchanges under way."""
        return self._session.exchange_count

    @property
    def rtt(self) -> float | None:
        """Seconds the latest ping took."""
        return self._session.rtt

    @property
    def endpoint(self) -> Endpoint | None:
        """Where the peer's packets come from."""
        return self._connection.endpoint or self._last_endpoint

    @property
    def connection(self) -> Connection:
        """The connection beneath."""
        return self._connection

    # -- our side -------------------------------------------------------------------------

    def begin(self) -> None:
        """Say hello first: this connection was chosen among those dialled."""
        self._carry_out(self._session.begin(now=self._clock.monotonic()))

    def open_stream(self, frames: tuple[Frame, ...], *, end: bool) -> int:
        """Open a stream with these frames and return its id.

        Raises:
            CodecError: a frame cannot be encoded.
        """
        now = self._clock.monotonic()
        stream, effects = self._session.open_stream(frames, end=end, now=now)
        self._carry_out(effects)
        return stream

    def send(self, stream: int, frame: Frame | None = None, *, end: bool = False) -> None:
        """Send a frame on an open stream, or end our side of it, or both.

        Raises:
            CodecError: the frame cannot be encoded.
        """
        now = self._clock.monotonic()
        self._carry_out(self._session.send(stream, frame, end=end, now=now))

    def reset(self, stream: int, error: StreamError) -> None:
        """Give up a stream."""
        self._carry_out(self._session.reset(stream, error))

    def probe(self) -> None:
        """See soon whether the peer still answers."""
        self._carry_out(self._session.probe(now=self._clock.monotonic()))

    def goodbye(self, reason: str) -> None:
        """Tell the peer that this node is going away."""
        self._carry_out(self._session.goodbye(reason))

    def close(self, error: LinkError, reason: str = "") -> None:
        """Close the link; `link_closed` is called before this returns, unless it was before."""
        self._connection.close(error, reason)

    # -- the connection's side ------------------------------------------------------------

    def established(self, peer: NodeId) -> None:
        """The handshake is over."""
        self.peer = peer
        self.events.link_established(self)

    def stream_data(self, stream: int, data: bytes, end: bool) -> None:
        """Bytes of a stream arrived."""
        now = self._clock.monotonic()
        self._carry_out(self._session.stream_data(stream, data, end, now=now))

    def stream_reset(self, stream: int, code: int) -> None:
        """The peer gave up a stream."""
        self._carry_out(self._session.stream_reset(stream, code))

    def closed(self, code: int, reason: str) -> None:
        """The connection is over."""
        self._last_endpoint = self._connection.endpoint
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._session.over()
        self.events.link_closed(self, reason or f"code {code}")

    # -- inside ---------------------------------------------------------------------------

    def _carry_out(self, effects: Iterable[SessionEffect]) -> None:
        for effect in effects:
            match effect:
                case Write(stream, data, end):
                    self._connection.write(stream, data, end=end)
                    self._unchecked_bytes += len(data)
                case ResetStream(stream, error):
                    self._connection.reset(stream, int(error))
                case Up(hello):
                    self.hello = hello
                    self.up_at = self._clock.monotonic()
                    self.events.link_up(self)
                case Received(stream, frame):
                    self.events.link_received(self, stream, frame)
                case StreamEnded(stream, error):
                    self.events.link_stream_ended(self, stream, error)
                case Leaving(reason):
                    self.is_leaving = True
                    self.events.link_leaving(self, reason)
                case Close(link_error, reason):
                    self._connection.close(link_error, reason)
                case _:
                    assert_never(effect)
        if self._unchecked_bytes > BACKLOG_CHECK_BYTES:
            self._unchecked_bytes = 0
            if self._connection.quic.backlog() > MAX_BACKLOG_BYTES:
                self.close(LinkError.FLOODING, "does not read")
        self._rearm()

    def _rearm(self) -> None:
        at = None if self._connection.is_over else self._session.next_timer()
        if at is None:
            return
        if self._timer is not None:
            if self._timer_at is not None and self._timer_at <= at:
                return  # fires early, and arms itself again
            self._timer.cancel()
        self._timer_at = at
        delay = max(0.0, at - self._clock.monotonic())
        self._timer = self._loop.call_later(delay, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = self._timer_at = None
        has_surplus = self._connection.quic.stream_count > (
            self._session.exchange_count + MAX_SURPLUS_STREAMS
        )
        if has_surplus and self._had_surplus:
            self.close(LinkError.FLOODING, "streams without an exchange")
            return
        self._had_surplus = has_surplus
        self._carry_out(self._session.handle_timer(now=self._clock.monotonic()))
