"""Relay ports of one node: bound here, counted, given to workers, kept under reservation."""

import socket
from collections import deque
from dataclasses import dataclass

from federation.model.clocks import Entropy, Monotonic
from media_relay.errors import NoCapacity
from media_relay.ports import PortPool
from media_relay.sockets import bind_from, bind_media_socket
from media_relay.turn.quotas import Quotas

RESERVATION_SECONDS = 30.0
"How long the port beside an even one is kept (RFC 8656 section 7.2)."
TOKEN_BYTES = 8


@dataclass(slots=True)
class HeldPort:
    """A relay port and who has it."""

    port: int
    login: str
    source: str


@dataclass(slots=True)
class Reservation:
    """A bound port that waits for its client."""

    held: HeldPort
    sock: socket.socket
    expires: Monotonic


class RelayPorts:
    """Hands out sockets on ports of the media range, two to a pair, within the quotas."""

    def __init__(self, pool: PortPool, quotas: Quotas, entropy: Entropy) -> None:
        self.quotas = quotas
        self._pool = pool
        self._entropy = entropy
        self._spare: deque[int] = deque()
        "Odd ports whose even neighbour a relay has; used before another pair is taken."
        self._pairs: dict[int, set[int]] = {}
        "Ports in use by the even port of their pair."
        self._reserved: dict[bytes, Reservation] = {}

    def open(
        self,
        login: str,
        source: str,
        host: str,
        *,
        even: bool,
        reserve: bool,
        now: Monotonic,
    ) -> tuple[HeldPort, socket.socket, bytes | None] | None:
        """Bind a port on `host`; with `reserve` also its odd neighbour, kept under a token.

        `None` where a quota would be exceeded.

        Raises:
            NoCapacity: no port is left.
        """
        self.expire(now)
        count = 2 if reserve else 1
        if not self.quotas.take(login, source, count):
            return None
        try:
            port, sockets = self._bind(host, even=even or reserve, count=count, now=now)
        except NoCapacity:
            for _ in range(count):
                self.quotas.give_back(login, source)
            raise
        held = HeldPort(port, login, source)
        if not reserve:
            return held, sockets[0], None
        token = self._entropy.token(TOKEN_BYTES)
        neighbour = HeldPort(port + 1, login, source)
        expires = Monotonic(now + RESERVATION_SECONDS)
        self._reserved[token] = Reservation(neighbour, sockets[1], expires)
        return held, sockets[0], token

    def claim(
        self, token: bytes, login: str, *, now: Monotonic
    ) -> tuple[HeldPort, socket.socket] | None:
        """The port kept under a token, once, for the account that had it reserved."""
        self.expire(now)
        reservation = self._reserved.get(token)
        if reservation is None or reservation.held.login != login:
            return None
        del self._reserved[token]
        return reservation.held, reservation.sock

    def close(self, held: HeldPort, *, now: Monotonic) -> None:
        """A port is free again; its pair rests once the other one is, too."""
        self.quotas.give_back(held.login, held.source)
        even = held.port & ~1
        used = self._pairs[even]
        used.discard(held.port)
        if not used:
            del self._pairs[even]
            if even + 1 in self._spare:
                self._spare.remove(even + 1)
            self._pool.give_back(even, now=now)

    def expire(self, now: Monotonic) -> None:
        """Close reserved ports that nobody came for."""
        for token, reservation in list(self._reserved.items()):
            if reservation.expires <= now:
                del self._reserved[token]
                reservation.sock.close()
                self.close(reservation.held, now=now)

    def close_reserved(self, now: Monotonic) -> None:
        """Close every reserved port."""
        for reservation in self._reserved.values():
            reservation.sock.close()
            self.close(reservation.held, now=now)
        self._reserved.clear()

    @property
    def next_timer(self) -> Monotonic | None:
        """When a reservation expires next."""
        return min((kept.expires for kept in self._reserved.values()), default=None)

    def _bind(
        self, host: str, *, even: bool, count: int, now: Monotonic
    ) -> tuple[int, list[socket.socket]]:
        while self._spare and not even:
            port = self._spare.popleft()
            try:
                sock = bind_media_socket(host, port)
            except OSError:
                continue
            self._use(port)
            return port, [sock]
        port, sockets = bind_from(self._pool, host, count, now=now)
        self._pairs[port] = set()
        for used in range(port, port + count):
            self._use(used)
        if count == 1:
            self._spare.append(port + 1)
        return port, sockets

    def _use(self, port: int) -> None:
        self._pairs[port & ~1].add(port)
        self._pool.mark(port)
