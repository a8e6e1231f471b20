"""How many connections the web server takes: in all, and how fast from one source."""

import asyncio
import ipaddress
from collections import Counter
from collections.abc import Callable
from typing import cast

import structlog
from aiohttp import web

from federation.model.clocks import Clock, Monotonic
from node.sip.transports.source_rate import SourceRate
from node.web.rates import Seldom, source_at

MAX_CONNECTIONS = 8_192
CROWDED = 4_096
"With so many connections, no source may have more than its share."
SHARE = 1_024
"Connections of one source (IPv6: one /64) while there is a crowd; loopback is not counted."
COUNTED_SECONDS = 1.0
"How long a count of a crowd is believed."
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
        self._crowd: Counter[str] = Counter()
        self._counted_at = Monotonic(float("-inf"))

    def __call__(self) -> asyncio.Protocol:
        """A protocol for a connection that is about to be made."""
        return _Greeting(self._server, self._admits)

    def _admits(self, host: str) -> bool:
        connections, now = len(self._server.connections), self._clock.monotonic()
        if connections >= MAX_CONNECTIONS:
            if self._lines.may_say():
                log.warning("web_connections_full", connections=MAX_CONNECTIONS)
            return False
        if _is_loopback(host):
            return True
        if not self._rate.allows(host, now=now):
            reason = "too many in a short time"
        elif connections >= CROWDED and self._held_by(host, now=now) >= SHARE:
            reason = "it has too many"
        else:
            return True
        if self._lines.may_say():
            log.warning("web_connection_refused", source=host, reason=reason)
        return False

    def _held_by(self, host: str, *, now: Monotonic) -> int:
        """Connections that the source of `host` has, as of the last count."""
        if now - self._counted_at >= COUNTED_SECONDS:
            self._counted_at = now
            transports = (handler.transport for handler in self._server.connections)
            self._crowd = Counter(source_at(_peer_of(each)) for each in transports if each)
        return self._crowd[source_at(host)]


class _Greeting(asyncio.Protocol):
    """Hands a connection over to the server, or ends it before a byte is read."""

    def __init__(self, server: web.Server, admits: Callable[[str], bool]) -> None:
        self._server = server
        self._admits = admits

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's only behaves like one
        if not self._admits(_peer_of(transport)):
            transport.abort()
            return
        handler = self._server()
        transport.set_protocol(handler)
        handler.connection_made(transport)


def _peer_of(transport: asyncio.BaseTransport) -> str:
    """The address of the other end; empty where it is gone already."""
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if peer else ""


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False
