"""SIP over UDP: one socket for each address listened on, read to its end at each look.

What was read waits here: the system's buffer holds some hundred datagrams by default, which come in
the time of a short pause, and how long a datagram has waited says whether this node keeps up.

Bound to a wildcard address the socket also asks to which of our addresses each datagram was sent
(RFC 3542, IP_PKTINFO), and answers from that very address: the peer's NAT expects nothing else.
"""

import asyncio
import contextlib
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from federation.model.address import Endpoint
from node.sip.flow import Flow
from node.sip.overload import BEGIN, Backlog
from node.sip.transports.local_address import WILDCARDS, RouteProbe
from node.sip.transports.moderation import PAUSE, Moderation
from node.sip.transports.noise import NoiseLog
from node.sip.transports.stun import answer_binding, is_stun

DRAIN: Final = 64
"Datagrams done before others get their turn."
LOOK: Final = 0.02
"Seconds of work before others get their turn."
WAITING: Final = 2 * 1024 * 1024
"Bytes read and not done yet; beyond that the system's buffer fills."
OVERHEAD: Final = 512
"Bytes that a datagram takes beside its own."
RECEIVE_BUFFER: Final = 4 * 1024 * 1024
"Bytes asked of the system for what waits to be read; it may give less."
MAX_DATAGRAM: Final = 65_535
HELD: Final = 16
"Datagrams held back, at a look, before they are sent all the same."
MAX_FLOWS: Final = 8_192
"Flow objects remembered; with more all are forgotten, at the price of making them anew."

_IP_PKTINFO: Final = 8
_ANCILLARY: Final = 64
_PKTINFO4: Final = struct.Struct("=I4s4s")
_PKTINFO6: Final = struct.Struct("=16sI")
_ON_LINUX: Final = sys.platform == "linux"
_KEEPALIVE: Final = b"\r\n\0 \t"
"A datagram of these alone keeps a NAT binding open and means nothing (RFC 5626 section 3.5.1)."
_START: Final = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-.!%*_+`'~"
)

_Ancillary = list[tuple[int, int, bytes]]
_Datagram = tuple[float, bytes, tuple[Any, ...], bytes]
"When it was read, what it says, where it came from, and to which of our addresses."


class SipUdp:
    """One UDP socket that speaks SIP, and STUN Binding beside it.

    `on_data(data, flow)` is called for each datagram that may be SIP; `on_failed(flow)`, never
    from within `send`, for one that could not be sent.
    """

    def __init__(
        self,
        listen: Endpoint,
        *,
        on_data: Callable[[bytes, Flow], None],
        on_failed: Callable[[Flow], None],
        probe: RouteProbe,
        noise: NoiseLog,
        backlog: Backlog,
        room: int = WAITING,
    ) -> None:
        """Bind the socket; at most about `room` bytes wait here to be done.

        Raises:
            OSError: the address is not ours, in use, or of a family this machine lacks.
        """
        self._on_data = on_data
        self._on_failed = on_failed
        self._probe = probe
        self._noise = noise
        self._backlog = backlog
        self._waiting: deque[_Datagram] = deque()
        "What was read and is not done yet."
        self._waiting_bytes = 0
        self._room = room
        self._flows: dict[tuple[Any, bytes], Flow] = {}
        self._sources: dict[str, _Ancillary] = {}
        self._failures: set[Flow] = set()
        self._held: list[tuple[bytes, Flow]] | None = None
        "What is to be sent at the end of a look; `None` outside of one."
        self._loop: Any = None
        "The running loop, once started. Other loops answer otherwise than asyncio's says it does."
        self._moderation = Moderation(time.monotonic())
        self._pause: asyncio.TimerHandle | None = None
        self._is_ipv6 = listen.is_ipv6
        self._asks_address = _ON_LINUX and listen.host in WILDCARDS
        self._socket = _bound(listen, asks_address=self._asks_address)
        self.local = Endpoint.of(self._socket.getsockname())
        "The address bound, with the port the system chose if 0 was asked for."

    def start(self) -> None:
        """Begin to read; call within a running loop."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket.fileno(), self._look)

    def close(self) -> None:
        """Close the socket; idempotent."""
        if self._loop is not None:
            self._loop.remove_reader(self._socket.fileno())
            self._loop = None
        if self._pause is not None:
            self._pause.cancel()
        self._socket.close()

    def local_ip_facing(self, host: str) -> str:
        """The address of ours that `host` should use for this socket."""
        if self.local.host in WILDCARDS:
            return self._probe.local_ip_facing(host)
        return self.local.host

    def flow_to(self, remote: Endpoint) -> Flow:
        """The flow to a peer that has not necessarily sent anything."""
        return Flow("UDP", Endpoint(self.local_ip_facing(remote.host), self.local.port), remote)

    def send(self, data: bytes, flow: Flow) -> None:
        """Send one datagram. If the system's buffer is full it is lost, as UDP may lose it.

        At a look at the socket datagrams leave together at the end: the kernel wakes whoever
        they are for once, where each alone would cost a wake-up, four times what sending takes.
        """
        held = self._held
        if held is None:
            self._send(data, flow)
            return
        held.append((data, flow))
        if len(held) >= HELD:
            self._held = []
            self._send_all(held or [])

    def _send_all(self, held: list[tuple[bytes, Flow]]) -> None:
        for data, flow in held:
            self._send(data, flow)

    def _send(self, data: bytes, flow: Flow) -> None:
        try:
            self._put(data, flow)
        except (BlockingIOError, InterruptedError):
            pass
        except (OSError, ValueError, OverflowError):
            self._report(flow)

    def _put(self, data: bytes, flow: Flow) -> None:
        target = flow.remote if "%" not in flow.remote.host else _zoned(flow.remote)
        if self._asks_address:
            source = self._source(flow.local.host)
            if source:
                try:
                    self._socket.sendmsg((data,), source, 0, target)
                except BlockingIOError:
                    raise
                except OSError:
                    self._sources.pop(flow.local.host, None)  # that address may be gone
                else:
                    return
        self._socket.sendto(data, target)

    def _source(self, host: str) -> _Ancillary:
        """The ancillary data that makes a datagram leave from `host`."""
        source = self._sources.get(host)
        if source is None:
            if len(self._sources) >= MAX_FLOWS:
                self._sources.clear()
            source = self._sources[host] = _ancillary(host, is_ipv6=self._is_ipv6)
        return source

    def _report(self, flow: Flow) -> None:
        """Tell of failures in the next turn of the loop, once each."""
        if self._loop is not None:
            if not self._failures:
                self._loop.call_soon(self._tell_failures)
            self._failures.add(flow)

    def _tell_failures(self) -> None:
        failures, self._failures = self._failures, set()
        for flow in failures:
            self._on_failed(flow)

    def _look(self) -> None:
        """Something arrived, or the socket was left alone for long enough."""
        is_busy = False
        try:
            is_busy = self._take()
        finally:  # whatever one message did, the next ones are done
            self._go_on(is_busy=is_busy)

    def _go_on(self, *, is_busy: bool) -> None:
        """Look again at once, others having had their turn; after `PAUSE`; or at an arrival."""
        if self._loop is None:
            return
        if self._waiting or is_busy:
            if self._pause is None:
                self._loop.remove_reader(self._socket.fileno())
            self._pause = self._loop.call_later(0.0 if self._waiting else PAUSE, self._look)
        elif self._pause is not None:
            self._pause = None
            self._loop.add_reader(self._socket.fileno(), self._look)

    def _take(self) -> bool:
        """Do at most `DRAIN` datagrams and send what they cause; whether the socket is busy."""
        self._held = []
        try:
            return self._take_each()
        finally:
            held, self._held = self._held, None
            self._send_all(held or [])

    def _take_each(self) -> bool:
        now = time.monotonic()
        is_busy = self._moderation.note(self._read(now), now)
        waiting = self._waiting
        for _ in range(min(DRAIN, len(waiting))):
            _, data, source, target = waiting.popleft()
            self._waiting_bytes -= len(data) + OVERHEAD
            if data and data[0] in _START:
                self._on_data(data, self._flow_from(source, target))
            else:
                self._receive_other(data, source, target)
            if self._loop is None:
                return False
            if time.monotonic() - now > LOOK:
                break
        if waiting:
            is_full = self._waiting_bytes >= self._room
            self._backlog.left(BEGIN if is_full else time.monotonic() - waiting[0][0])
        else:
            self._backlog.done()
        return is_busy

    def _read(self, now: float) -> int:
        """Read what has come, as far as there is room for it; how many."""
        count = errors = 0
        while self._waiting_bytes < self._room and errors < DRAIN:
            try:
                if self._asks_address:
                    data, ancillary, _, source = self._socket.recvmsg(MAX_DATAGRAM, _ANCILLARY)
                    target = ancillary[0][2] if ancillary else b""
                else:
                    data, source = self._socket.recvfrom(MAX_DATAGRAM)
                    target = b""
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                errors += 1
                continue  # an ICMP error about an earlier datagram
            self._waiting.append((now, data, source, target))
            self._waiting_bytes += len(data) + OVERHEAD
            count += 1
        return count + errors

    def _receive_other(self, data: bytes, source: tuple[Any, ...], target: bytes) -> None:
        """Line ends before a message, keepalives, STUN; the rest is noise."""
        rest = data.lstrip(_KEEPALIVE)
        if not rest:
            return
        if is_stun(data):
            flow = self._flow_from(source, target)
            answer = answer_binding(data, flow.remote)
            if answer is not None:
                self.send(answer, flow)
        elif data[0] in b"\r\n" and rest[0] in _START:
            self._on_data(rest, self._flow_from(source, target))
        else:
            self._noise.complain(Endpoint.of(source).host, "neither SIP nor STUN")

    def _flow_from(self, source: tuple[Any, ...], target: bytes) -> Flow:
        known = self._flows.get((source, target))
        if known is not None:
            return known
        if len(self._flows) >= MAX_FLOWS:
            self._flows.clear()
        remote = _remote(source)
        host = _told_address(target, is_ipv6=self._is_ipv6) or self.local_ip_facing(remote.host)
        flow = Flow("UDP", Endpoint(host, self.local.port), remote)
        self._flows[source, target] = flow
        return flow


def _bound(listen: Endpoint, *, asks_address: bool) -> socket.socket:
    """A socket bound without SO_REUSEADDR, so that another program's use of the port shows."""
    family = socket.AF_INET6 if listen.is_ipv6 else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        if listen.is_ipv6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if asks_address and listen.is_ipv6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        elif asks_address:
            sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        sock.bind(listen)
    except OSError:
        sock.close()
        raise
    return sock


def _remote(source: tuple[Any, ...]) -> Endpoint:
    """The sender; a link-local IPv6 address keeps its zone, without which nothing reaches it."""
    endpoint = Endpoint.of(source)
    if len(source) == 4 and source[3] and "%" not in endpoint.host:
        with contextlib.suppress(OSError):  # the interface may be gone by now
            return Endpoint(f"{endpoint.host}%{socket.if_indextoname(source[3])}", endpoint.port)
    return endpoint


def _zoned(remote: Endpoint) -> tuple[str, int, int, int]:
    """The socket address of an IPv6 endpoint with a zone (RFC 4007 section 11).

    Raises:
        OSError: there is no such interface.
    """
    host, _, zone = remote.host.partition("%")
    return host, remote.port, 0, socket.if_nametoindex(zone)


def _told_address(packed: bytes, *, is_ipv6: bool) -> str | None:
    """The unicast address of ours in received ancillary data, if there is one."""
    if is_ipv6 and len(packed) == _PKTINFO6.size:
        address, _ = _PKTINFO6.unpack(packed)
        return None if address[0] == 0xFF else socket.inet_ntop(socket.AF_INET6, address)
    if not is_ipv6 and len(packed) == _PKTINFO4.size:
        _, address, _ = _PKTINFO4.unpack(packed)
        return socket.inet_ntop(socket.AF_INET, address)
    return None


def _ancillary(host: str, *, is_ipv6: bool) -> _Ancillary:
    """Ancillary data that sets the source address; none if `host` is no address of that family."""
    try:
        if is_ipv6:
            packed = socket.inet_pton(socket.AF_INET6, host)
            return [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, _PKTINFO6.pack(packed, 0))]
        packed = socket.inet_pton(socket.AF_INET, host)
        return [(socket.IPPROTO_IP, _IP_PKTINFO, _PKTINFO4.pack(0, packed, b"\0\0\0\0"))]
    except OSError:
        return []
