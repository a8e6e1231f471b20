"""One QUIC connection on the mesh socket, and what its owner hears of it."""

import asyncio
from typing import Protocol

from aioquic.quic import events

from federation.messages import LinkError
from federation.model.address import Endpoint
from federation.model.clocks import Clock, Monotonic
from federation.model.identity import NodeId
from federation.quic.pinned import PinnedConnection

MAX_UNDELIVERED_BYTES = 16 * 2**20
"Bytes that a peer may make us reserve by sending the ends of streams before their beginnings."
QUIC_FAULTS = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)
"""What aioquic may let slip on hostile packets, beside its own errors, which it handles; its
`BufferReadError` is a `ValueError`. The connection that provoked it ends, nothing else does."""


class ConnectionHandler(Protocol):
    """The owner of a connection."""

    def established(self, peer: NodeId) -> None:
        """The handshake is over and the peer has proven this key."""

    def stream_data(self, stream: int, data: bytes, end: bool) -> None:
        """Bytes arrived, in order; `end`: none will follow."""

    def stream_reset(self, stream: int, code: int) -> None:
        """The peer gave up sending on a stream, or told us to."""

    def closed(self, code: int, reason: str) -> None:
        """The connection is over; called once, and nothing is called after it."""


class Connections(Protocol):
    """What a connection asks of the endpoint it belongs to."""

    def send(self, data: bytes, endpoint: Endpoint) -> None:
        """Send a datagram."""

    def mark(self, connection: "Connection") -> None:
        """See to it that `flush` is called soon."""

    def issued(self, cid: bytes, connection: "Connection") -> None:
        """Packets for this id are for this connection."""

    def retired(self, cid: bytes) -> None:
        """Packets for this id are for nobody."""

    def forget(self, connection: "Connection") -> None:
        """The connection is over."""


class Connection:
    """Carries an aioquic connection: packets in, packets out, one timer, events to the handler.

    aioquic's own asyncio protocol is not used: it reads the loop's clock (whole milliseconds under
    uvloop, which makes it two to three times dearer), wants a transport of its own, and walks all
    connections when one ends.
    """

    def __init__(
        self,
        quic: PinnedConnection,
        *,
        owner: Connections,
        clock: Clock,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.quic = quic
        self.handler: ConnectionHandler | None = None
        self._owner = owner
        self._clock = clock
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: float | None = None
        self._delivered = 0
        self._is_over = False

    @property
    def is_over(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._is_over

    @property
    def endpoint(self) -> Endpoint | None:
        """Where the peer's packets come from now."""
        address = self.quic.get_peer_address()
        return None if address is None else Endpoint(address[0], address[1])

    # -- the handler's side ---------------------------------------------------------------

    def write(self, stream: int, data: bytes, *, end: bool = False) -> None:
        """Send on a stream, opening it if it is the next of ours.

        A stream that is over, which the peer can bring about at any time, swallows it.
        """
        if not self._is_over:
            try:
                self.quic.send_stream_data(stream, data, end_stream=end)
            except (ValueError, RuntimeError):
                return
            self._owner.mark(self)

    def reset(self, stream: int, code: int) -> None:
        """Give up a stream in both directions."""
        if self._is_over:
            return
        for give_up in (self.quic.reset_stream, self.quic.stop_stream):
            try:
                give_up(stream, code)
            except ValueError:
                continue
        self._owner.mark(self)

    def close(self, code: LinkError, reason: str = "") -> None:
        """Close the connection now; the handler's `closed` is called before this returns."""
        if not self._is_over:
            self.quic.close(error_code=int(code), reason_phrase=reason)
            self.flush()

    # -- the endpoint's side --------------------------------------------------------------

    def connect(self, endpoint: Endpoint) -> None:
        """Begin the handshake as the client."""
        self.quic.connect((endpoint.host, endpoint.port), now=self._clock.monotonic())
        self._owner.mark(self)

    def receive(self, data: bytes, source: Endpoint) -> None:
        """Take a datagram that names one of this connection's ids."""
        if self._is_over:
            return
        now = self._clock.monotonic()
        try:
            self.quic.receive_datagram(data, (source.host, source.port), now=now)
        except QUIC_FAULTS as fault:
            self._fail(f"{type(fault).__name__} in a packet")
            return
        self._process_events()
        if self.quic.claimed_bytes - self._delivered > MAX_UNDELIVERED_BYTES:
            self.close(LinkError.FLOODING, "streams without beginnings")
        self._owner.mark(self)

    def flush(self) -> None:
        """Send what is due, and see whether the connection is over."""
        if self._is_over:
            return
        now = self._clock.monotonic()
        try:
            for data, (host, port) in self.quic.datagrams_to_send(now=now):
                self._owner.send(data, Endpoint(host, port))
        except QUIC_FAULTS as fault:
            self._fail(f"{type(fault).__name__} while sending")
            return
        termination = self.quic.termination
        if termination is not None:
            self._end(termination)
        else:
            self._arm(now)

    # -- inside ---------------------------------------------------------------------------

    def _process_events(self) -> None:
        while not self._is_over and (event := self.quic.next_event()) is not None:
            match event:
                case events.StreamDataReceived():
                    self._delivered += len(event.data)
                    if self.handler is not None and self.quic.peer is not None:
                        self.handler.stream_data(event.stream_id, event.data, event.end_stream)
                case events.StreamReset() | events.StopSendingReceived():
                    if self.handler is not None:
                        self.handler.stream_reset(event.stream_id, event.error_code)
                case events.HandshakeCompleted():
                    if self.handler is not None and self.quic.peer is not None:
                        self.handler.established(self.quic.peer)
                case events.ConnectionIdIssued():
                    self._owner.issued(event.connection_id, self)
                case events.ConnectionIdRetired():
                    self._owner.retired(event.connection_id)
                case _:
                    pass  # pings, datagrams and the late ConnectionTerminated say nothing new

    def _arm(self, now: Monotonic) -> None:
        at = self.quic.get_timer()
        if at is None:
            return
        if self._timer is not None:
            if self._timer_at is not None and self._timer_at <= at:
                return  # fires early, and arms itself again
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._loop.call_later(max(0.0, at - now), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = self._timer_at = None
        if self._is_over:
            return
        now = self._clock.monotonic()
        at = self.quic.get_timer()
        if at is not None and at <= now + 0.0005:
            # The loop's clock may be a little ahead of ours.
            try:
                self.quic.handle_timer(now=max(at, now))
            except QUIC_FAULTS as fault:
                self._fail(f"{type(fault).__name__} in a timer")
                return
            self._process_events()
        self.flush()

    def _fail(self, reason: str) -> None:
        """After a fault inside aioquic its state is not to be trusted: no farewell is sent."""
        if not self._is_over:
            self._end(events.ConnectionTerminated(int(LinkError.MALFORMED), None, reason))

    def _end(self, termination: events.ConnectionTerminated) -> None:
        self._is_over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._owner.forget(self)
        handler, self.handler = self.handler, None
        if handler is not None:
            handler.closed(int(termination.error_code), termination.reason_phrase)
