"""What TURN needs of the sockets of relay ports beyond sending and receiving; Linux."""

import errno
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from federation.model.address import Endpoint
from media_relay.latch import SocketAddress
from media_relay.turn_routes import ChannelRoute, RelayPort

_IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER = 10, 23
_PMTUDISC_DONT, _PMTUDISC_DO = 0, 2
_IP_RECVERR, _IPV6_RECVERR = 11, 25
"Linux; the socket module of Python 3.11 does not name these."
_ERROR = struct.Struct("=IBBBBII")
"struct sock_extended_err: errno, origin, type, code, pad, info, data."
_ORIGIN_ICMP, _ORIGIN_ICMP6 = 2, 3
MAX_STRAYS = 4096
"Datagrams thrown away before a socket is given up."
MAX_COMPLAINTS = 16
"ICMP errors read in one turn."


@dataclass(slots=True)
class RelaySocket:
    """A relay port with its socket, and the one connected to its first channel's peer."""

    port: RelayPort
    sock: socket.socket
    twin: socket.socket | None = None
    twin_route: ChannelRoute | None = None

    @property
    def sockets(self) -> list[socket.socket]:
        """All of them."""
        return [self.sock] if self.twin is None else [self.sock, self.twin]


def prepare_relay(sock: socket.socket) -> None:
    """Ask for ICMP errors, and let datagrams be fragmented (RFC 8656 section 14)."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
        sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_DONT)


def send_unbroken(sock: socket.socket, data: bytes, peer: SocketAddress) -> int:
    """Send a datagram that must not be fragmented (DONT-FRAGMENT).

    Raises:
        OSError: too long for the path, among other reasons.
    """
    ipv6 = sock.family == socket.AF_INET6
    level = socket.IPPROTO_IPV6 if ipv6 else socket.IPPROTO_IP
    option = _IPV6_MTU_DISCOVER if ipv6 else _IP_MTU_DISCOVER
    sock.setsockopt(level, option, _PMTUDISC_DO)
    try:
        return sock.sendto(data, peer)
    finally:
        sock.setsockopt(level, option, _PMTUDISC_DONT)


def connected_twin(sock: socket.socket, peer: SocketAddress) -> socket.socket:
    """A second socket on the port of `sock`, connected to `peer`.

    The port was bound without SO_REUSEADDR, which is how use by others is noticed; the flag is set
    now, on both, and both are ours.

    Raises:
        OSError: no descriptor is left, or no way leads to the peer.
    """
    twin = socket.socket(sock.family, socket.SOCK_DGRAM)
    try:
        twin.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        twin.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        prepare_relay(twin)
        if sock.family == socket.AF_INET6:
            twin.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            option = socket.IPPROTO_IPV6, socket.IPV6_TCLASS
        else:
            option = socket.IPPROTO_IP, socket.IP_TOS
        twin.setsockopt(*option, sock.getsockopt(*option))
        twin.bind(sock.getsockname())
        twin.connect(peer)
        _discard_strays(twin)
    except OSError:
        twin.close()
        raise
    return twin


def _discard_strays(twin: socket.socket) -> None:
    """Throw away what came before the socket was connected: anybody may have sent it."""
    for _ in range(MAX_STRAYS):
        try:
            twin.recv(1)
        except BlockingIOError:
            return
    raise OSError(errno.EBUSY, "too much came before the socket was connected")


def read_icmp(sock: socket.socket) -> Iterator[tuple[Endpoint, int, int, int]]:
    """Take the errors that wait: the peer they are about, ICMP type, code, and MTU if told."""
    for _ in range(MAX_COMPLAINTS):
        try:
            _, ancillary, _, peer = sock.recvmsg(0, 512, socket.MSG_ERRQUEUE)
        except OSError:
            return
        for level, _, data in ancillary:
            if level not in (socket.IPPROTO_IP, socket.IPPROTO_IPV6) or len(data) < _ERROR.size:
                continue
            _, origin, kind, code, _, info, _ = _ERROR.unpack_from(data)
            if origin in (_ORIGIN_ICMP, _ORIGIN_ICMP6) and peer:
                yield Endpoint(peer[0], peer[1]), kind, code, info
