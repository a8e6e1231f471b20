"""SIP over WebSocket (RFC 7118), for browsers: a route of the node's web server.

The web server owns the listening sockets and TLS. A connection is one flow; only the other end can
make it, so what belongs to a flow that is gone is reported closed.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from aiohttp import web

from federation.model.address import Endpoint
from federation.model.clocks import Clock
from node.sip.flow import Flow
from node.sip.framing import MAX_MESSAGE_BYTES
from node.sip.transports.noise import NoiseLog
from node.sip.transports.source_rate import SourceRate
from node.sip.transports.web_connection import WebConnection, WebLimits
from node.sip.web_socket import SUBPROTOCOL, Refused, refusal

PATH = "/sip"
"Where the WebSocket is found."


class SipWebSockets:
    """Every WebSocket that carries SIP.

    `on_data(data, flow)` is called for each message; `on_closed(flow)`, never from within `send`,
    once for each connection that was there, and for what is sent on one that is not.
    """

    def __init__(
        self,
        *,
        on_data: Callable[[bytes, Flow], None],
        on_closed: Callable[[Flow], None],
        noise: NoiseLog,
        clock: Clock,
        limits: WebLimits | None = None,
        welcome: Sequence[str] = (),
    ) -> None:
        """`welcome`: origins of pages that did not come from this node and may connect to it."""
        self._on_data = on_data
        self._on_closed = on_closed
        self._noise = noise
        self._clock = clock
        self._limits = limits or WebLimits()
        self._welcome = tuple(origin.lower() for origin in welcome)
        self._rate = SourceRate(self._limits.opening_burst, self._limits.openings_per_second)
        self._connections: dict[int, WebConnection] = {}
        self._per_ip: Counter[str] = Counter()
        self._serial = 0
        self._closing = False

    def routes(self) -> list[web.RouteDef]:
        """What the web server has to serve."""
        return [web.get(PATH, self._open)]

    @property
    def connections(self) -> int:
        """Those open."""
        return len(self._connections)

    def stands(self, flow: Flow) -> bool:
        """Whether the flow's connection is still there."""
        return flow.id in self._connections

    def send(self, data: bytes, flow: Flow) -> None:
        """Send on the flow's connection."""
        connection = self._connections.get(flow.id)
        if connection is not None and connection.flow == flow:
            connection.send(data)
        elif not self._closing:
            asyncio.get_running_loop().call_soon(self._on_closed, flow)

    async def close(self) -> None:
        """Close every connection; idempotent. New ones are refused from here on."""
        self._closing = True
        await asyncio.gather(*(c.close() for c in tuple(self._connections.values())))

    # A connection's life

    async def _open(self, request: web.Request) -> web.StreamResponse:
        """The handshake, and all that follows it."""
        transport = request.transport
        peer = None if transport is None else transport.get_extra_info("peername")
        own = None if transport is None else transport.get_extra_info("sockname")
        if transport is None or not peer or not own:
            return web.Response(status=400, text="no address\n")
        local, remote = Endpoint.of(own), Endpoint.of(peer)
        refused = self._refusal(request, remote.host)
        if refused is not None:
            self._noise.complain(remote.host, f"WebSocket: {refused.reason}")
            return web.Response(
                status=refused.status, headers=dict(refused.headers), text=refused.reason + "\n"
            )
        limits = self._limits
        socket = web.WebSocketResponse(
            protocols=(SUBPROTOCOL,),
            timeout=limits.close_seconds,
            heartbeat=limits.heartbeat_seconds,
            compress=False,
            max_msg_size=MAX_MESSAGE_BYTES + 1,  # the size from which it refuses
        )
        with self._counted(remote.host):
            await socket.prepare(request)
            self._serial += 1
            flow = Flow("WSS" if request.secure else "WS", local, remote, self._serial)
            await self._carry(
                WebConnection(socket, transport.abort, flow, limits, self._clock.monotonic)
            )
        return socket

    def _refusal(self, request: web.Request, host: str) -> Refused | None:
        if self._closing or self._per_ip.total() >= self._limits.connections:
            return Refused(503, "no further connection can be taken")
        if self._per_ip[host] >= self._limits.connections_per_ip:
            return Refused(429, "too many connections")
        if not self._rate.allows(host, now=self._clock.monotonic()):
            return Refused(429, "too many connections a second")
        headers = request.headers
        if headers.get("Upgrade", "").lower() != "websocket":
            return Refused(426, "only a WebSocket is to be had here", (("Upgrade", "websocket"),))
        protocols = headers.getall("Sec-WebSocket-Protocol", [])
        return refusal(protocols, headers.get("Origin"), request.host, self._welcome)

    @contextlib.contextmanager
    def _counted(self, host: str) -> Iterator[None]:
        self._per_ip[host] += 1
        try:
            yield
        finally:
            self._per_ip[host] -= 1
            if not self._per_ip[host]:
                del self._per_ip[host]

    async def _carry(self, connection: WebConnection) -> None:
        """Have it found while it is there."""
        flow = connection.flow
        self._connections[flow.id] = connection
        try:
            await connection.serve(self._on_data)
        finally:
            del self._connections[flow.id]
            if connection.complaint:
                self._noise.complain(flow.remote.host, f"WebSocket: {connection.complaint}")
            if not self._closing:
                self._on_closed(flow)
