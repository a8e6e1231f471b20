"""How many connections the web server takes: in all, and how fast from one source."""

import asyncio
import ipaddress
from collections.abc import Callable
from typing import cast

import structlog
from aiohttp import web

from federation.model.clocks import Clock
from node.sip.transports.source_rate import SourceRate
from node.web.rates import Seldom

MAX_CONNECTIONS = 8_192
OPENING_BURST = 256
"Connections that one source (IPv6: one /64) may open at once; loopback is not counted."
OPENINGS_PER_SECOND = 20.0
IDLE_SECONDS = 75.0
"After which a connection without a request is closed."
log = structlog.get_logger("node")


class Doorman:
    """Makes a protocol for each connection, and closes those that are too many."""

    def __init__(self, server: web.Server, clock: Clock) -> None:
        self._server = server
        self._clock = clock
        self._rate = SourceRate(OPENING_BURST, OPENINGS_PER_SECOND)
        self._lines = Seldom(clock)

    def __call__(self) -> asyncio.Protocol:
        """A protocol for a connection that is about to be made."""
        return _Greeting(self._server, self._admits)

    def _admits(self, host: str) -> bool:
        if len(self._server.connections) >= MAX_CONNECTIONS:
            if self._lines.may_say():
                log.warning("web_connections_full", connections=MAX_CONNECTIONS)
            return False
        if _is_loopback(host) or self._rate.allows(host, now=self._clock.monotonic()):
            return True
        if self._lines.may_say():
            log.warning("web_connection_refused", source=host, reason="too many in a short time")
        return False


class _Greeting(asyncio.Protocol):
    """Hands a connection over to the server, or ends it before a byte is read."""

    def __init__(self, server: web.Server, admits: Callable[[str], bool]) -> None:
        self._server = server
        self._admits = admits

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's only behaves like one
        peer = transport.get_extra_info("peername")
        if not self._admits(peer[0] if peer else ""):
            transport.abort()
            return
        handler = self._server()
        transport.set_protocol(handler)
        handler.connection_made(transport)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False
