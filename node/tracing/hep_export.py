"""Sends what passes the edge to a capture server (shell).

It takes batches from the tap and sends them a few at a time, so that the calls of the node never
wait for it; what it cannot keep up with is dropped and counted.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Sequence

import structlog

from federation.model.address import Endpoint
from federation.model.clocks import Clock
from federation.model.identity import NodeId
from node.sip.flow import Flow
from node.tracing.hep import TCP, UDP, Agent, encode
from node.tracing.masking import masked_bytes
from node.tracing.tap import FRAME, SENT, Noted, call_id_of

MAX_WAITING = 4_096
"Messages that wait to be sent; beyond, the oldest are dropped."
BURST = 16
"Sent in one turn of the loop."
PAUSE = 0.005
"Seconds between two bursts: at most about 3,000 messages a second."
LOOKUP_INTERVAL = 300.0
"Seconds after which the server's name is looked up again."
RETRY_INTERVAL = 15.0
"The same while it is not known."
MAX_CORRELATION = 512

Places = Callable[[NodeId], tuple[Endpoint, Endpoint] | None]
"Our end and the other end of a link; `None` where there is none."
log = structlog.get_logger("hep")


class HepExport:
    """One capture server, from `run` until that is cancelled."""

    def __init__(
        self, server: tuple[str, int], agent: Agent, *, places: Places, clock: Clock
    ) -> None:
        self._server = server
        self._agent = agent
        self._places = places
        self._clock = clock
        self._waiting: deque[Noted] = deque()
        self._wake = asyncio.Event()
        self._socket: socket.socket | None = None
        self.sent = 0
        self.dropped = 0
        "Messages: too many, or refused by the system."

    def take(self, batch: Sequence[Noted]) -> None:
        """Have a batch sent; a reader of the tap."""
        self._waiting.extend(noted for noted in batch if not noted[2].startswith(FRAME))
        excess = len(self._waiting) - MAX_WAITING
        for _ in range(excess):
            self._waiting.popleft()
        self.dropped += max(0, excess)
        self._wake.set()

    async def run(self) -> None:
        """Send; ends when cancelled."""
        finding = asyncio.ensure_future(self._follow_server())
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._waiting:
                    self._burst()
                    await asyncio.sleep(PAUSE)
        finally:
            finding.cancel()
            await asyncio.gather(finding, return_exceptions=True)
            if self._socket is not None:
                self._socket.close()

    def _burst(self) -> None:
        offset = self._clock.unix() - self._clock.monotonic()
        for _ in range(min(BURST, len(self._waiting))):
            packet = self._packet(self._waiting.popleft(), offset)
            if packet is None or self._socket is None:
                self.dropped += 1
                continue
            try:
                self._socket.send(packet)
            except OSError:  # a full buffer, or nobody at that port
                self.dropped += 1
            else:
                self.sent += 1

    def _packet(self, noted: Noted, offset: float) -> bytes | None:
        at, way, data, place = noted
        if isinstance(place, Flow):
            ends: tuple[Endpoint, Endpoint] | None = (place.local, place.remote)
            protocol = UDP if place.transport == "UDP" else TCP
        else:
            ends, protocol = self._places(place), UDP
        if ends is None or ends[0].is_ipv6 is not ends[1].is_ipv6:
            return None
        source, destination = ends if way == SENT else (ends[1], ends[0])
        return encode(
            masked_bytes(data),
            source=source,
            destination=destination,
            ip_protocol=protocol,
            at=at + offset,
            correlation_id=call_id_of(data)[:MAX_CORRELATION],
            agent=self._agent,
        )

    # Where the server is

    async def _follow_server(self) -> None:
        known: tuple[object, ...] | None = None
        while True:
            found = await self._find()
            if found is not None and found[1] != known:
                self._connect(*found)
                known = found[1]
            await asyncio.sleep(RETRY_INTERVAL if self._socket is None else LOOKUP_INTERVAL)

    async def _find(self) -> tuple[int, tuple[object, ...]] | None:
        host, port = self._server
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        except OSError as error:
            log.warning("hep_server_unknown", server=host, reason=error.strerror)
            return None
        return found[0][0], found[0][4]

    def _connect(self, family: int, address: tuple[object, ...]) -> None:
        """Send there from now on; whether anybody listens shows by itself."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        sock = socket.socket(family, socket.SOCK_DGRAM)
        sock.setblocking(False)
        try:
            sock.connect(address)
        except OSError as error:
            sock.close()
            log.warning("hep_server_unreachable", server=str(address[0]), reason=error.strerror)
            return
        self._socket = sock
        log.info("hep_export", server=str(address[0]), port=self._server[1], id=self._agent.id)
