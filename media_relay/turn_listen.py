"""Binding the ports that TURN clients talk to."""

import errno
import socket
from dataclasses import dataclass

import structlog

from federation.model.address import Endpoint, parse_ip
from media_relay.control_turn import TCP, TLS, UDP
from media_relay.errors import NoCapacity
from media_relay.sockets import enlarge_receive_buffer
from media_relay.turn_config import TurnSettings

BACKLOG = 256
"Connections that wait to be accepted."
log = structlog.get_logger("relay")

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

    An address that the machine does not have is left out.

    Raises:
        NoCapacity: a port is in use, or none can be bound; the text names it, nothing stays bound.
    """
    bound: list[Listener] = []
    refused = ""
    for host in dict.fromkeys((*settings.hosts, *settings.second)):
        wanted = [(UDP, settings.port), (TCP, settings.port)]
        if settings.second_port is not None and host in settings.discovery_hosts:
            wanted.append((UDP, settings.second_port))
        if settings.tls_port is not None:
            wanted.append((TLS, settings.tls_port))
        for transport, port in wanted:
            try:
                if transport == UDP:
                    bound.append(_bind_udp(host, port, workers))
                else:
                    bound.append(_bind_tcp(host, port, transport))
            except OSError as error:
                name = _NAMES[transport].upper()
                refused = f"TURN cannot have {name} {host} port {port}: {error.strerror}"
                if error.errno == errno.EADDRNOTAVAIL:
                    # An address that the machine has lost, or not quite got yet.
                    log.info("turn_address_refused", host=host, reason=error.strerror)
                    break
                for listener in bound:
                    listener.close()
                raise NoCapacity(refused) from error
    if not bound:
        raise NoCapacity(refused or "TURN has no address to listen on")
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
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    return Listener(UDP, Endpoint.of(sockets[0].getsockname()), sockets)


def _bind_tcp(host: str, port: int, transport: int) -> Listener:
    sock = _socket(host, socket.SOCK_STREAM)
    try:
        # Lets a port be bound over connections that linger, not over another listener.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return Listener(transport, Endpoint.of(sock.getsockname()), [sock])


def _socket(host: str, kind: socket.SocketKind) -> socket.socket:
    family = socket.AF_INET6 if parse_ip(host).version == 6 else socket.AF_INET
    sock = socket.socket(family, kind)
    sock.setblocking(False)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return sock
