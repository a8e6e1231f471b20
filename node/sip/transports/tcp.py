"""SIP over TCP: connections accepted and made, their framing, and what bounds them.

A connection is one flow with a serial of its own. Whatever it does, it cannot hold more than its
limits say: bytes of an unfinished message, bytes it does not read, time between bytes, silence,
connections from one address.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from federation.model.address import Endpoint
from federation.model.clocks import Clock, Monotonic
from node.sip.flow import Flow, TransportName
from node.sip.transports.connection import TcpConnection, TcpLimits
from node.sip.transports.local_address import WILDCARDS, RouteProbe
from node.sip.transports.noise import NoiseLog
from node.sip.transports.turns import Turns

_BACKLOG = 512
_SWEEP_INTERVAL = 1.0
MAX_FAILURES = 256
"Peers of whom it is remembered why they could not be reached; with more, all are forgotten."

_Peer = tuple[Endpoint, str]
"Whom a connection leads to: its far end, and what that end's certificate proves (TLS only)."


class SipTcp:
    """A listening socket and every connection accepted by it or made from it.

    `on_data(data, flow)` is called for each whole message; `on_closed(flow)`, never from within
    `send`, once for each connection that was there, and for each that could not be made (with the
    flow's id 0).
    """

    transport: TransportName = "TCP"

    def __init__(
        self,
        listen: Endpoint,
        *,
        on_data: Callable[[bytes, Flow], None],
        on_closed: Callable[[Flow], None],
        probe: RouteProbe,
        noise: NoiseLog,
        turns: Turns,
        clock: Clock,
        limits: TcpLimits | None = None,
    ) -> None:
        """Bind the listening socket.

        Raises:
            OSError: the address is not ours, in use, or of a family this machine lacks.
        """
        self.noise = noise
        self.turns = turns
        self._clock = clock
        self._on_data = on_data
        self.limits = limits or TcpLimits()
        self._on_closed = on_closed
        self._probe = probe
        self._serial = 0
        self._connections: dict[int, TcpConnection] = {}
        self._latest: dict[_Peer, int] = {}
        self._per_ip: Counter[str] = Counter()
        self._dialling: dict[_Peer, _Dialling] = {}
        self._failures: dict[_Peer, str] = {}
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._closing = False
        self._socket = _listening(listen)
        self.local = Endpoint.of(self._socket.getsockname())
        "The address bound, with the port the system chose if 0 was asked for."

    async def start(self) -> None:
        """Begin to accept."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: self._connection(accepted=True), sock=self._socket, backlog=_BACKLOG
        )

    def _connection(self, *, accepted: bool, name: str = "") -> TcpConnection:
        """A connection that is about to be there."""
        return TcpConnection(self, accepted=accepted, name=name)

    def discard(self) -> None:
        """Give up a listener that was never started."""
        self._socket.close()

    async def close(self) -> None:
        """Close everything: what is written is given a turn of the loop to leave."""
        self._closing = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        tasks = [dialling.task for dialling in self._dialling.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for connection in tuple(self._connections.values()):
            connection.close()
        if self._server is not None:
            self._server.close()
            self._server = None
        self._socket.close()
        await asyncio.sleep(0)
        for connection in tuple(self._connections.values()):
            connection.abort()
        await asyncio.sleep(0)

    @property
    def connections(self) -> int:
        """Open connections, both directions."""
        return len(self._connections)

    def local_ip_facing(self, host: str) -> str:
        """The address of ours that `host` should use to reach this listener."""
        if self.local.host in WILDCARDS:
            return self._probe.local_ip_facing(host)
        return self.local.host

    def flow_to(self, remote: Endpoint, name: str = "") -> Flow:
        """The newest open connection to `remote`, or the wish for one (id 0).

        `name` is what the other end's certificate must prove; connections that proved another
        name, or none, are left alone.
        """
        serial = self._latest.get((remote, name))
        connection = None if serial is None else self._connections.get(serial)
        if connection is not None and connection.flow is not None:
            return connection.flow
        local = Endpoint(self.local_ip_facing(remote.host), self.local.port)
        return Flow(self.transport, local, remote, name=name)

    def send(self, data: bytes, flow: Flow) -> None:
        """Send on the flow's connection; for id 0 on any to that peer, made if there is none."""
        serial = flow.id or self._latest.get((flow.remote, flow.name), 0)
        connection = self._connections.get(serial)
        there = connection.flow if connection is not None else None
        if connection is not None and flow.id == 0 and not connection.is_open:
            connection = None
        if connection is not None and there is not None and there.remote == flow.remote:
            connection.send(data)
        elif flow.id != 0 or not self._may_dial(flow):
            self._report(flow)
        else:
            self._dial(data, flow)

    def stands(self, flow: Flow) -> bool:
        """Whether the connection of a flow with an id is still there."""
        connection = self._connections.get(flow.id)
        return connection is not None and connection.is_open

    def abandon(self, flow: Flow) -> None:
        """Give up the connection to that peer if it is still being made, as if it had failed."""
        dialling = self._dialling.pop((flow.remote, flow.name), None)
        if dialling is not None:
            dialling.task.cancel()
            self._note_failure(flow, "given up")
            self._report(flow)

    def _may_dial(self, flow: Flow) -> bool:
        """Whether a connection of ours to that peer is wanted at all."""
        return True

    def _dial(self, data: bytes, flow: Flow) -> None:
        dialling = self._dialling.get((flow.remote, flow.name))
        if dialling is None:
            if self._closing or len(self._dialling) + self.connections >= self.limits.connections:
                self._report(flow)
                return
            task = asyncio.get_running_loop().create_task(self._connect(flow))
            dialling = self._dialling[flow.remote, flow.name] = _Dialling(task, [])
        if len(dialling.queue) >= self.limits.queued_messages:
            self._report(flow)
        else:
            dialling.queue.append(data)

    async def _connect(self, flow: Flow) -> None:
        """Make the connection, then send what has queued up meanwhile."""
        peer = flow.remote, flow.name
        try:
            async with asyncio.timeout(self.limits.connect_seconds):
                connection = await self._reach(flow)
        except (OSError, TimeoutError, ValueError, OverflowError) as error:
            self._take_dialling(peer)
            self._failed(flow, error)
            self._on_closed(flow)
            return
        except asyncio.CancelledError:
            self._take_dialling(peer)
            raise
        dialling = self._take_dialling(peer)
        if connection.flow is None:
            self._on_closed(flow)
        elif dialling is not None:
            for data in dialling.queue:
                connection.send(data)

    def _take_dialling(self, peer: _Peer) -> "_Dialling | None":
        """What waits for the connection that this task makes; `None` if that was given up.

        Another one to the same peer may be under way by then, and is left alone.
        """
        dialling = self._dialling.get(peer)
        if dialling is None or dialling.task is not asyncio.current_task():
            return None
        return self._dialling.pop(peer)

    async def _reach(self, flow: Flow) -> TcpConnection:
        """A connection that messages may be sent on.

        Raises:
            OSError, ValueError, OverflowError: there is none to be had.
        """
        local = None if self.local.host in WILDCARDS else (self.local.host, 0)
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: self._connection(accepted=False, name=flow.name),
            flow.remote.host,
            flow.remote.port,
            local_addr=local,
        )
        return connection

    def _failed(self, flow: Flow, error: Exception) -> None:
        """Remember and tell why a connection of ours could not be made."""
        reason = _words(error, self.limits.connect_seconds)
        self._note_failure(flow, reason)
        self.noise.complain(flow.remote.host, f"{flow.transport} connection failed: {reason}")

    def _note_failure(self, flow: Flow, reason: str) -> None:
        if len(self._failures) >= MAX_FAILURES:
            self._failures.clear()
        self._failures[flow.remote, flow.name] = reason

    def why_failed(self, flow: Flow) -> str:
        """Why the last connection to that peer could not be made; empty: none failed of late."""
        return self._failures.get((flow.remote, flow.name), "")

    def _report(self, flow: Flow) -> None:
        if not self._closing:
            asyncio.get_running_loop().call_soon(self._on_closed, flow)

    # What connections tell and ask (`ConnectionOwner`)

    def now(self) -> Monotonic:
        """The time."""
        return self._clock.monotonic()

    def on_data(self, data: bytes, flow: Flow) -> None:
        """Pass a whole message on."""
        self._on_data(data, flow)

    def take_up(self, connection: TcpConnection, remote: Endpoint, local_ip: str) -> Flow | None:
        """Register a new connection; `None` if there are too many of them."""
        if self._closing or len(self._connections) >= self.limits.connections:
            return None
        if connection.accepted:
            if self._per_ip[remote.host] >= self.limits.connections_per_ip:
                self.noise.complain(remote.host, "too many connections")
                return None
            self._per_ip[remote.host] += 1
        self._serial += 1
        local = Endpoint(local_ip, self.local.port)
        flow = Flow(self.transport, local, remote, self._serial, connection.name)
        self._connections[self._serial] = connection
        if self._sweeper is None:
            self._sweep_later()
        return flow

    def usable(self, flow: Flow) -> None:
        """Messages to that peer may go over this connection."""
        self._latest[flow.remote, flow.name] = flow.id
        self._failures.pop((flow.remote, flow.name), None)

    def lost(self, connection: TcpConnection, flow: Flow) -> None:
        """Forget a closed connection."""
        self._connections.pop(flow.id, None)
        if self._latest.get((flow.remote, flow.name)) == flow.id:
            del self._latest[flow.remote, flow.name]
        if connection.accepted:
            self._per_ip[flow.remote.host] -= 1
            if not self._per_ip[flow.remote.host]:
                del self._per_ip[flow.remote.host]
        if not self._closing and connection.is_usable:
            self._on_closed(flow)

    def _sweep_later(self) -> None:
        self._sweeper = asyncio.get_running_loop().call_later(_SWEEP_INTERVAL, self._sweep)

    def _sweep(self) -> None:
        """Look once a second for connections whose time has run out, while there are any."""
        self._sweeper = None
        now = self.now()
        for connection in tuple(self._connections.values()):
            connection.sweep(now)
        if self._connections and not self._closing:
            self._sweep_later()


@dataclass(slots=True)
class _Dialling:
    """An outgoing connection on its way."""

    task: asyncio.Task[None]
    queue: list[bytes]


def _words(error: Exception, seconds: float) -> str:
    """What went wrong, for people."""
    if isinstance(error, TimeoutError):
        return f"no answer in {seconds:g} s"
    strerror = getattr(error, "strerror", None)
    return str(strerror or error or type(error).__name__)


def _listening(listen: Endpoint) -> socket.socket:
    """A listening socket. Over TCP, SO_REUSEADDR only lets it follow its own dead connections."""
    family = socket.AF_INET6 if listen.is_ipv6 else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if listen.is_ipv6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(listen)
        sock.listen(_BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock
