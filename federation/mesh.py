"""The one UDP port of a node: QUIC, DHT datagrams and STUN, told apart by the first byte.

RFC 9443: 0-3 is STUN, 64 and above is QUIC; 8 is ours for the DHT. Sockets are drained through
`add_reader`, `DATAGRAMS_A_TURN` a turn, since asyncio's own datagram transport costs about 30 us a
packet. The two families have a socket each (`IPV6_V6ONLY`), so an address has one form.

A socket bound to all addresses answers each peer from the address that the peer wrote to
(IP_PKTINFO, RFC 3542): a QUIC client drops answers from any other, and hosts with several addresses
(every IPv6 host with privacy addresses) would else answer from whichever the kernel likes best.
"""

import asyncio
import errno
import socket
import struct
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import structlog

from federation.model.address import Endpoint, parse_ip
from federation.model.errors import ConfigError

DATAGRAMS_A_TURN = 64
MAX_DATAGRAM_BYTES = 2_048
BUFFER_BYTES = 2 * 2**20
"Receive and send buffer asked of the kernel for each socket; it may give less."
STUN_LAST_BYTE = 0x03
DHT_BYTE = 0x08
QUIC_FIRST_BYTE = 0x40
MAX_REPLY_ADDRESSES = 4_096
"Peers whose destination address is remembered."
_EPHEMERAL_TRIES = 16
_IP_PKTINFO = 8
"Linux; Python names it from 3.12 on only in some builds."
_ANCILLARY_BYTES = socket.CMSG_SPACE(20)

DatagramCallback = Callable[[bytes, Endpoint], None]


class MeshSocket:
    """Binds the port, sends for everybody, and hands each datagram to the protocol it is of.

    Args:
        hosts: at most one IPv4 and one IPv6 address to bind (`0.0.0.0` and `::` for all).
        port: 0 takes a free one, the same for both families.
    """

    def __init__(self, hosts: Sequence[str], port: int) -> None:
        self._hosts = [parse_ip(host) for host in hosts]
        if not self._hosts or len({ip.version for ip in self._hosts}) != len(self._hosts):
            raise ConfigError(
                f"listen: {', '.join(hosts) or 'nothing'} found; "
                "the mesh port takes one IPv4 address, one IPv6 address, or one of each"
            )
        self._port = port
        self._sockets: dict[bool, socket.socket] = {}
        self._reply_from: OrderedDict[Endpoint, bytes] = OrderedDict()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._log = structlog.get_logger("mesh")
        self.on_quic: DatagramCallback | None = None
        self.on_dht: DatagramCallback | None = None
        self.on_stun: DatagramCallback | None = None
        self.received: Counter[str] = Counter()
        "Datagrams by kind: quic, dht, stun, unknown."
        self.bytes_received = 0
        "UDP payload."
        self.bytes_sent = 0
        self.unsent = 0
        "Datagrams the kernel would not take; they count as lost on the way."

    async def start(self) -> None:
        """Bind and begin to receive.

        Raises:
            ConfigError: the port is in use, or an address is not ours.
        """
        self._loop = asyncio.get_running_loop()
        self._sockets = self._bind()
        for sock in self._sockets.values():
            is_wildcard = Endpoint.of(sock.getsockname()).ip.is_unspecified
            drain = self._drain_wildcard if is_wildcard else self._drain
            self._loop.add_reader(sock.fileno(), drain, sock)

    def close(self) -> None:
        """Stop and close the sockets. Idempotent."""
        sockets, self._sockets = self._sockets, {}
        for sock in sockets.values():
            if self._loop is not None:
                self._loop.remove_reader(sock.fileno())
            sock.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def local_endpoints(self) -> tuple[Endpoint, ...]:
        """What is bound; a wildcard shows as `0.0.0.0` or `::`."""
        return tuple(Endpoint.of(sock.getsockname()) for sock in self._sockets.values())

    def send(self, data: bytes, endpoint: Endpoint) -> None:
        """Send one datagram, or lose it: a full buffer or no route is a loss like any other."""
        sock = self._sockets.get(endpoint.is_ipv6)
        if sock is None:
            self.unsent += 1
            return
        local = self._reply_from.get(endpoint)
        try:
            if local is None:
                sock.sendto(data, (endpoint.host, endpoint.port))
            else:
                sock.sendmsg([data], [_packet_info(local)], 0, (endpoint.host, endpoint.port))
        except OSError:
            self._reply_from.pop(endpoint, None)  # the address may have left this machine
            self.unsent += 1
        else:
            self.bytes_sent += len(data)

    # -- sockets --------------------------------------------------------------------------

    def _bind(self) -> dict[bool, socket.socket]:
        tries = _EPHEMERAL_TRIES if self._port == 0 and len(self._hosts) > 1 else 1
        for left in range(tries - 1, -1, -1):
            try:
                return self._bind_once()
            except OSError as error:
                if error.errno != errno.EADDRINUSE or not left:
                    raise self._explained(error) from error
        raise AssertionError("the last try returns or raises")

    def _bind_once(self) -> dict[bool, socket.socket]:
        sockets: dict[bool, socket.socket] = {}
        port = self._port
        try:
            for ip in self._hosts:
                is_ipv6 = ip.version == 6
                family = socket.AF_INET6 if is_ipv6 else socket.AF_INET
                sock = socket.socket(family, socket.SOCK_DGRAM)
                sockets[is_ipv6] = sock
                sock.setblocking(False)
                if is_ipv6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                if ip.is_unspecified and is_ipv6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
                elif ip.is_unspecified:
                    sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
                for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                    sock.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
                # No SO_REUSEADDR: another program on the port must be noticed.
                sock.bind((str(ip), port))
                port = sock.getsockname()[1]
        except OSError:
            for sock in sockets.values():
                sock.close()
            raise
        return sockets

    def _explained(self, error: OSError) -> ConfigError:
        where = ", ".join(str(Endpoint(str(ip), self._port)) for ip in self._hosts)
        if error.errno == errno.EADDRINUSE:
            return ConfigError(
                f"mesh port: {where} (UDP) is in use by another program; "
                "stop it, or choose other ports with --port-offset"
            )
        return ConfigError(
            f"mesh port: {where} (UDP) cannot be bound ({error.strerror}); "
            "use an address of this machine"
        )

    def _drain(self, sock: socket.socket) -> None:
        for _ in range(DATAGRAMS_A_TURN):
            try:
                data, address = sock.recvfrom(MAX_DATAGRAM_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                # An ICMP answer to something sent earlier; the next datagram is unharmed.
                self._log.debug("receive_failed", error=error.strerror)
                continue
            if data:
                self._dispatch(data, Endpoint.of(address))

    def _drain_wildcard(self, sock: socket.socket) -> None:
        for _ in range(DATAGRAMS_A_TURN):
            try:
                data, ancillary, _, address = sock.recvmsg(MAX_DATAGRAM_BYTES, _ANCILLARY_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                self._log.debug("receive_failed", error=error.strerror)
                continue
            if data:
                source = Endpoint.of(address)
                for level, kind, value in ancillary:
                    self._note_destination(source, level, kind, value)
                self._dispatch(data, source)

    def _note_destination(self, source: Endpoint, level: int, kind: int, value: bytes) -> None:
        """Remember which of our addresses the peer writes to."""
        if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO):
            local = value[4:8]
        elif (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            local = value[:16]
        else:
            return
        if self._reply_from.get(source) != local:
            self._reply_from[source] = local
            if len(self._reply_from) > MAX_REPLY_ADDRESSES:
                self._reply_from.popitem(last=False)

    def _dispatch(self, data: bytes, source: Endpoint) -> None:
        self.bytes_received += len(data)
        first = data[0]
        if first >= QUIC_FIRST_BYTE:
            kind, callback = "quic", self.on_quic
        elif first == DHT_BYTE:
            kind, callback = "dht", self.on_dht
        elif first <= STUN_LAST_BYTE:
            kind, callback = "stun", self.on_stun
        else:
            kind, callback = "unknown", None
        self.received[kind] += 1
        if callback is not None:
            callback(data, source)


def _packet_info(local: bytes) -> tuple[int, int, bytes]:
    """The control message that sends from `local`, leaving the interface to the kernel."""
    if len(local) == 4:
        return socket.IPPROTO_IP, _IP_PKTINFO, struct.pack("=I4s4s", 0, local, bytes(4))
    return socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, struct.pack("=16sI", local, 0)
