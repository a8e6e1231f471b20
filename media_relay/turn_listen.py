"""Binding the ports that TURN clients talk to."""

import socket
from dataclasses import dataclass

from federation.model.address import Endpoint, parse_ip
from media_relay.control_turn import TCP, TLS, UDP
from media_relay.errors import NoCapacity
from media_relay.sockets import enlarge_receive_buffer
from media_relay.turn_config import TurnSettings

BACKLOG = 256
"Connections that wait to be accepted."
_NAMES = {UDP: "udp", TCP: "tcp", TLS: "tls"}


@dataclass(slots=True)
class Listener:
    """One transport address; a socket for each worker, or one for all."""

    transport: int
    endpoint: Endpoint
    sockets: list[socket.socket]

    @property
    def name(self) -> str:
        """`udp`, `tcp` or `tls`."""
        return _NAMES[self.transport]

    def socket_of(self, worker: int) -> socket.socket:
        """The socket a worker serves."""
        return self.sockets[worker % len(self.sockets)]

    def close(self) -> None:
        """Close all."""
        for sock in self.sockets:
            sock.close()


def bind_listeners(settings: TurnSettings, workers: int) -> list[Listener]:
    """Bind all that `settings` ask for.

    Raises:
        NoCapacity: one cannot be bound; the text names it, and nothing stays bound.
    """
    bound: list[Listener] = []
    try:
        for host in settings.hosts:
            udp = _bind_udp(host, settings.port, workers)
            bound.append(udp)
            # Port 0, for tests: the system chose one, and TCP is to have the same.
            bound.append(_bind_tcp(host, udp.endpoint.port, TCP))
            if settings.tls_port is not None:
                bound.append(_bind_tcp(host, settings.tls_port, TLS))
    except NoCapacity:
        for listener in bound:
            listener.close()
        raise
    return bound


def _bind_udp(host: str, port: int, workers: int) -> Listener:
    """A socket for each worker on one port, among which the kernel divides clients.

    The first is bound without SO_REUSEPORT, so that use by others is noticed; then the flag is
    set, and sockets of ours join.
    """
    sockets: list[socket.socket] = []
    try:
        for _ in range(workers):
            sock = _socket(host, socket.SOCK_DGRAM)
            sockets.append(sock)
            if len(sockets) > 1:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind((host, port))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            enlarge_receive_buffer(sock)
            port = Endpoint.of(sock.getsockname()).port
    except OSError as error:
        for sock in sockets:
            sock.close()
        raise NoCapacity(f"TURN cannot have UDP {host} port {port}: {error.strerror}") from error
    return Listener(UDP, Endpoint.of(sockets[0].getsockname()), sockets)


def _bind_tcp(host: str, port: int, transport: int) -> Listener:
    sock = _socket(host, socket.SOCK_STREAM)
    try:
        # Lets a port be bound over connections that linger, not over another listener.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise NoCapacity(f"TURN cannot have TCP {host} port {port}: {error.strerror}") from error
    return Listener(transport, Endpoint.of(sock.getsockname()), [sock])


def _socket(host: str, kind: socket.SocketKind) -> socket.socket:
    family = socket.AF_INET6 if parse_ip(host).version == 6 else socket.AF_INET
    sock = socket.socket(family, kind)
    sock.setblocking(False)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return sock
