"""A UDP port of its own to send from, next to the mesh port: nothing is received on it.

Peers that ask whether they can be reached are sent a ping from here: what only lets answers from
the mesh port in, drops it.
"""

import contextlib
import socket
from collections.abc import Sequence

from federation.model.address import Endpoint, parse_ip

BUFFER_BYTES = 4_096
"What arrives fills this and is then dropped by the kernel, unread."


class SecondPort:
    """One free port of each family; a family that has none sends nothing."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self._sockets: dict[bool, socket.socket] = {}
        for host in hosts:
            is_ipv6 = parse_ip(host).version == 6
            sock = socket.socket(socket.AF_INET6 if is_ipv6 else socket.AF_INET, socket.SOCK_DGRAM)
            try:
                sock.setblocking(False)
                if is_ipv6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
                sock.bind((host, 0))
            except OSError:
                sock.close()
            else:
                self._sockets[is_ipv6] = sock

    def send(self, data: bytes, endpoint: Endpoint) -> None:
        """Send one datagram, or lose it."""
        sock = self._sockets.get(endpoint.is_ipv6)
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.sendto(data, (endpoint.host, endpoint.port))

    def close(self) -> None:
        """Give the ports back. Idempotent."""
        sockets, self._sockets = self._sockets, {}
        for sock in sockets.values():
            sock.close()
