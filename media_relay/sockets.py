"""Binding media sockets, in the process that keeps them while workers come and go."""

import errno
import socket
from collections.abc import Sequence

from federation.model.address import parse_ip
from federation.model.clocks import Monotonic
from media_relay.errors import NoCapacity
from media_relay.ports import PortPool

LEG_BUFFER_BYTES = 4 * 1024 * 1024
"Receive buffer of a leg port: some seconds of 500 calls, so that a restarting worker loses none."
EXPEDITED_FORWARDING = 0xB8
"DSCP 46 in the traffic class octet: telephony (RFC 4594 section 4.1)."
_TAKEN = frozenset({errno.EADDRINUSE, errno.EACCES})


def bind_media_socket(host: str, port: int) -> socket.socket:
    """Bind a UDP socket for media; without SO_REUSEADDR, so that a port in use is noticed.

    Raises:
        OSError: the port is in use, the address is not ours, or no descriptor is left.
    """
    family = socket.AF_INET6 if parse_ip(host).version == 6 else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, EXPEDITED_FORWARDING)
        else:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, EXPEDITED_FORWARDING)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock


def bind_from(
    ports: PortPool, host: str, count: int, *, now: Monotonic
) -> tuple[int, list[socket.socket]]:
    """Take a pair of ports of which the first `count` can be bound on `host`.

    Ports that somebody else holds go to the back of the queue. Returns the even port, to be given
    back after the sockets are closed, and the sockets.

    Raises:
        NoCapacity: no port is left, or the system refuses for another reason.
    """
    while (port := ports.take(now=now)) is not None:
        bound: list[socket.socket] = []
        try:
            for index in range(count):
                bound.append(bind_media_socket(host, port + index))  # noqa: PERF401  (kept on error)
        except OSError as error:
            for sock in bound:
                sock.close()
            ports.give_back(port, now=now)
            if error.errno not in _TAKEN:
                raise NoCapacity(f"no media port on {host}: {error.strerror}") from error
            continue
        return port, bound
    raise NoCapacity(f"no media port is left on {host}")


def bind_on_each(
    ports: PortPool, hosts: Sequence[str], *, now: Monotonic
) -> tuple[int, dict[str, socket.socket | str]]:
    """Take a pair of ports whose even one can be bound on every one of `hosts` that can be used.

    Other nodes are told one port for all families, so the number is the same everywhere. Returns
    the even port, to be given back after the sockets are closed, and for each host its socket, or
    why the system refuses it.

    Raises:
        NoCapacity: no port is left, or no host can be used.
    """
    while (port := ports.take(now=now)) is not None:
        bound: dict[str, socket.socket | str] = {}
        taken = False
        for host in hosts:
            try:
                bound[host] = bind_media_socket(host, port)
            except OSError as error:
                taken = error.errno in _TAKEN
                bound[host] = f"no media port on {host}: {error.strerror}"
                if taken:
                    break
        opened = [sock for sock in bound.values() if not isinstance(sock, str)]
        if opened and not taken:
            return port, bound
        for sock in opened:
            sock.close()
        ports.give_back(port, now=now)
        if not taken:
            raise NoCapacity("; ".join(map(str, bound.values())))
    raise NoCapacity(f"no media port is left on {' and '.join(hosts)}")


def enlarge_receive_buffer(sock: socket.socket) -> int:
    """Ask for `LEG_BUFFER_BYTES`, by force if permitted; the bytes that were granted."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, LEG_BUFFER_BYTES)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, LEG_BUFFER_BYTES)
    # The kernel doubles what was asked, for its own bookkeeping.
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2


_SO_RCVBUFFORCE = 33
"Linux; not named by the socket module."
