"""One TCP connection that carries SIP: framing, keepalive, and its bounds."""

import asyncio
import contextlib
import socket
import time
from dataclasses import dataclass
from typing import Protocol, cast

from federation.model.address import Endpoint
from federation.model.clocks import Monotonic
from node.sip.flow import Flow
from node.sip.framing import PONG, Framed, FramingFailed, Ping, StreamFramer
from node.sip.message import Request, Response, SipParseError, parse_message
from node.sip.transports.noise import NoiseLog
from node.sip.transports.turns import Turns

_KEEPALIVE_IDLE = 60
"Seconds of silence after which the system probes whether the other end still lives."
_KEEPALIVE_PROBES = (("TCP_KEEPIDLE", _KEEPALIVE_IDLE), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))


@dataclass(frozen=True, slots=True)
class TcpLimits:
    """What connections may cost."""

    connections: int = 8_192
    "Open at once, in both directions; a further one is closed unheard."
    connections_per_ip: int = 256
    "Accepted from one address, enough for an office behind one NAT."
    unread_bytes: int = 512 * 1024
    "Written but not yet taken by the other end; with more the connection is aborted."
    unread_seconds: float = 30.0
    "How long the other end may take nothing while something waits for it."
    handshake_seconds: float = 10.0
    "TLS: from accepting a connection to the end of its handshake."
    handshake_burst: int = 256
    "TLS: connections accepted from one address at once, as after a restart; IPv6 by /64."
    handshakes_per_second: float = 20.0
    "TLS: and from then on; each costs about a millisecond."
    first_message_seconds: float = 30.0
    "From accepting a connection to its first whole message."
    idle_seconds: float = 3_900.0
    "Without any byte; longer than the longest registration over TCP (3,600 s)."
    connect_seconds: float = 5.0
    "For an outgoing connection to be there, TLS handshake included."
    queued_messages: int = 64
    "Waiting for an outgoing connection; a further one is dropped, and the flow reported closed."


class ConnectionOwner(Protocol):
    """What a connection asks of whoever made it."""

    limits: TcpLimits
    noise: NoiseLog
    turns: Turns

    def now(self) -> Monotonic:
        """The time."""

    def on_data(self, data: bytes, flow: Flow) -> None:
        """Take a whole message."""

    def take_up(self, connection: "TcpConnection", remote: Endpoint, local_ip: str) -> Flow | None:
        """Register a new connection; `None` if it cannot stay."""

    def usable(self, flow: Flow) -> None:
        """Messages may be sent on this connection from now on."""

    def lost(self, connection: "TcpConnection", flow: Flow) -> None:
        """Forget a closed connection."""


class TcpConnection(asyncio.Protocol):
    """One connection. Its owner is the `SipTcp` that made it."""

    def __init__(self, owner: ConnectionOwner, *, accepted: bool, name: str = "") -> None:
        self._owner = owner
        self._framer = StreamFramer()
        self._is_waiting = False
        "What came waits for its turn; meanwhile nothing is read."
        self._ends = False
        "To be closed once nothing waits."
        self._came_at = 0.0
        "When what waits was received, by the clock of `Turns`."
        self._transport: asyncio.Transport | None = None
        self._stalled_since: Monotonic | None = None
        self._since = self._heard = owner.now()
        self._is_quiet = True
        self.accepted = accepted
        self.name = name
        "What the other end's certificate must prove; see `Flow.name`."
        self.is_usable = False
        "Messages may be sent; set once."
        self.flow: Flow | None = None
        "Set while connected, and until all that came is passed on."

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take up the connection, unless there are too many."""
        transport = cast(asyncio.Transport, transport)  # uvloop's does not derive from it
        self._transport = transport
        sock = transport.get_extra_info("socket")
        peer = transport.get_extra_info("peername")
        if sock is None or peer is None:
            transport.abort()
            return
        _tune(sock)
        remote = Endpoint.of(peer)
        self.flow = self._owner.take_up(self, remote, Endpoint.of(sock.getsockname()).host)
        if self.flow is None:
            transport.abort()
            return
        transport.set_write_buffer_limits(high=0)
        self._connected(self.flow)

    def _connected(self, flow: Flow) -> None:
        """The connection is there and may stay."""
        self.is_usable = True
        self._owner.usable(flow)

    def data_received(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        self._take(data)

    def _take(self, data: bytes) -> None:
        """Frame what came and pass whole messages on."""
        if self.flow is None:
            return
        self._came_at = self._owner.turns.note()
        self._heard = self._owner.now()
        self._framer.feed(data, now=self._heard)
        self._pass_on()

    def _pass_on(self) -> None:
        """Pass on what came, as far as this turn of the loop has time for it."""
        flow, until = self.flow, self._owner.turns.until()
        if flow is None:
            return
        self._is_waiting, pinged = True, False
        while time.monotonic() < until:
            event = self._framer.next()
            if event is None:
                self._is_waiting = False
                break
            if isinstance(event, Framed):
                self._is_quiet = False
                self._hand_over(event.data, flow)
            elif isinstance(event, Ping):
                pinged = True
            else:
                self._give_up(event)
        if pinged:
            self.send(PONG)
        if self._is_waiting:
            if self._transport is not None and not self._transport.is_closing():
                self._transport.pause_reading()
            self._owner.turns.wait(self._go_on, self._came_at)

    def _hand_over(self, data: bytes, flow: Flow) -> None:
        """Whatever one message does, the next ones follow."""
        try:
            self._owner.on_data(data, flow)
        except Exception as error:  # noqa: BLE001 - told, as the loop tells of those over UDP
            context = {"message": "a message over a stream", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)

    def _go_on(self) -> None:
        """Its turn has come again."""
        self._pass_on()
        if self._is_waiting:
            return
        if self._transport is None:
            self._tell_lost()
        elif self._ends:
            self.close()
        elif not self._transport.is_closing():
            self._heard = self._owner.now()
            self._framer.restart(self._heard)
            self._transport.resume_reading()

    def _close_after_all(self) -> None:
        """Close once what came is passed on."""
        self._ends = True
        if not self._is_waiting:
            self.close()

    def eof_received(self) -> bool | None:
        """The other end will send no more: close, after what is still to be written."""
        return False

    def pause_writing(self) -> None:
        """Something waits for the other end to read."""
        self._stalled_since = self._owner.now()

    def resume_writing(self) -> None:
        """Everything was taken."""
        self._stalled_since = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the owner, after what waits is passed on."""
        self._transport = None
        if not self._is_waiting:
            self._tell_lost()

    def _tell_lost(self) -> None:
        flow, self.flow = self.flow, None
        if flow is not None:
            self._owner.lost(self, flow)

    def send(self, data: bytes) -> None:
        """Send a message."""
        self._write(data)

    def _write(self, data: bytes) -> None:
        """Write, or abort a connection that does not read."""
        transport = self._transport
        if transport is None or self._is_closing:
            return
        transport.write(data)
        if transport.get_write_buffer_size() > self._owner.limits.unread_bytes:
            self._owner.noise.complain(self._host, "does not read what it is sent")
            self.abort()

    def close(self) -> None:
        """Close after everything is written."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once; what waits for its turn is dropped."""
        self._framer.stop()
        if self._transport is not None:
            self._transport.abort()
        else:
            self._tell_lost()

    def sweep(self, now: Monotonic) -> None:
        """Close the connection if one of its times has run out."""
        limits = self._owner.limits
        stalled = self._stalled_since
        if stalled is not None and now - stalled > limits.unread_seconds:
            self._owner.noise.complain(self._host, "does not read what it is sent")
            self.abort()
            return
        if self._is_waiting:
            return  # it is we who are slow: nothing is read meanwhile
        for event in self._framer.handle_timer(now=now):
            assert isinstance(event, FramingFailed)
            self._give_up(event)
        never_spoke = self._is_quiet and self.accepted
        too_quiet = never_spoke and now - self._since > limits.first_message_seconds
        if too_quiet or now - self._heard > limits.idle_seconds:
            self.close()

    @property
    def is_open(self) -> bool:
        """Whether something can still be sent."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def _is_closing(self) -> bool:
        return not self.is_open

    @property
    def _host(self) -> str:
        return self.flow.remote.host if self.flow is not None else "unknown"

    def _give_up(self, failed: FramingFailed) -> None:
        """Say what was wrong if a request was recognisable, then close."""
        self._owner.noise.complain(self._host, failed.reason)
        refusal = _refusal(failed)
        if refusal is not None:
            self.send(refusal)
        self.close()


def _tune(sock: socket.socket) -> None:
    """Send at once, and notice a peer that has vanished."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE_PROBES:
            if hasattr(socket, name):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _refusal(failed: FramingFailed) -> bytes | None:
    """The answer to a request that could not be framed, if it can be made out (RFC 3261 18.3)."""
    if not failed.head or failed.status == 408:
        return None
    try:
        request: Request | Response | None = parse_message(failed.head)
    except SipParseError as error:
        request = error.partial
    if not isinstance(request, Request) or request.method == "ACK":
        return None
    if any(request.get(name) is None for name in ("Via", "From", "To", "Call-ID", "CSeq")):
        return None
    return Response.answering(request, failed.status, failed.reason).encode()
