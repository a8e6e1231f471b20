"""Accepting TCP and TLS connections of TURN clients, and looking after them."""

import contextlib
import errno
import select
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from media_relay.turn.effects import Client
from media_relay.turn_routes import ChannelRoute, pass_on
from media_relay.turn_streams import (
    MAX_STREAMS,
    MAX_STREAMS_A_SOURCE,
    Stream,
    StreamClosed,
    server_context,
)

if TYPE_CHECKING:
    from media_relay.turn_shell import Host

ACCEPT_BURST = 16
LOOK_SECONDS = 1.0
"How often connections are looked over for those that are overdue."
_NO_DESCRIPTOR = frozenset({errno.EMFILE, errno.ENFILE})

FromClient = Callable[[bytes, Client, float], None]
Gone = Callable[[Client, float], None]


class Streams:
    """All connections of one worker."""

    def __init__(self, host: "Host", from_client: FromClient, gone: Gone) -> None:
        self._host = host
        self._from_client = from_client
        self._gone = gone
        self._streams: dict[int, Stream] = {}
        self._sources: Counter[str] = Counter()
        self._tls: ssl.SSLContext | None = None
        self._serial = 0
        self._spare: socket.socket | None = socket.socket(socket.AF_UNIX)
        "A descriptor to give up when there is no other, for closing who waits."
        self.due: float | None = None
        "When `look` is next needed."

    def __len__(self) -> int:
        return len(self._streams)

    def close(self) -> None:
        """Close every connection; the process ends."""
        if self._spare is not None:
            self._spare.close()
        for stream in self._streams.values():
            stream.sock.close()

    def use_certificate(self, certificate: str | None, private_key: str | None) -> None:
        """Serve TLS with these files from now on; with none, or unreadable ones, refuse it."""
        self._tls = None
        if certificate is not None and private_key is not None:
            try:
                self._tls = server_context(certificate, private_key)
            except OSError:
                return

    def listen(self, listener: int, sock: socket.socket, *, is_tls: bool) -> None:
        """Accept connections on a listening socket."""
        sock.setblocking(False)

        def ready(_: int, now: float) -> None:
            self._accept(listener, sock, now, is_tls=is_tls)

        # Several workers watch one socket; only one is woken for a connection.
        self._host.watch(sock, ready, select.EPOLLIN | select.EPOLLEXCLUSIVE)

    def routes(self, client: Client) -> dict[int, ChannelRoute]:
        """The routes of a connection by channel."""
        stream = self._streams.get(client.connection)
        return {} if stream is None else stream.routes

    def reply(self, data: bytes, client: Client) -> None:
        """Send a response."""
        stream = self._streams.get(client.connection)
        if stream is not None:
            stream.reply(data)

    def outlet(self, client: Client) -> Callable[..., int]:
        """What sends peers' data to a client."""
        stream = self._streams.get(client.connection)
        return _nowhere if stream is None else stream.data

    def keep(self, client: Client, *, has_allocation: bool) -> None:
        """Whether a connection may be idle."""
        stream = self._streams.get(client.connection)
        if stream is not None:
            stream.has_allocation = has_allocation

    def look(self, now: float) -> None:
        """Close what is overdue."""
        if self.due is None or now < self.due:
            return
        for stream in list(self._streams.values()):
            if stream.is_overdue(now):
                self._close(stream, now)
        self.due = now + LOOK_SECONDS if self._streams else None

    def _accept(self, listener: int, sock: socket.socket, now: float, *, is_tls: bool) -> None:
        for _ in range(ACCEPT_BURST):
            try:
                connection, address = sock.accept()
            except OSError as error:
                if error.errno in _NO_DESCRIPTOR:
                    self._turn_away(sock)
                    continue
                return
            if (
                len(self._streams) >= MAX_STREAMS
                or self._sources[address[0]] >= MAX_STREAMS_A_SOURCE
                or (is_tls and self._tls is None)
            ):
                connection.close()
                continue
            self._serial += 1
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            stream = Stream(
                connection,
                Client(listener, address, self._serial),
                now,
                tls=self._tls if is_tls else None,
                watch=self._watch,
            )
            self._streams[self._serial] = stream
            self._sources[address[0]] += 1
            self._watch(stream, select.EPOLLIN)
            if self.due is None:
                self.due = now + LOOK_SECONDS

    def _turn_away(self, sock: socket.socket) -> None:
        """Close who waits though no descriptor is left for it; else it would wake us for ever."""
        if self._spare is not None:
            self._spare.close()
            with contextlib.suppress(OSError):
                sock.accept()[0].close()
        try:
            self._spare = socket.socket(socket.AF_UNIX)
        except OSError:
            self._spare = None

    def _watch(self, stream: Stream, mask: int) -> None:
        self._host.watch(stream.sock, lambda seen, now: self._ready(stream, seen, now), mask)

    def _ready(self, stream: Stream, mask: int, now: float) -> None:
        try:
            if mask & select.EPOLLOUT:
                stream.flush(now)
            if mask & ~select.EPOLLOUT:
                for data in stream.receive(now):
                    self._take(stream, data, now)
        except StreamClosed:
            self._close(stream, now)
            return
        if stream.is_broken:
            self._close(stream, now)

    def _take(self, stream: Stream, data: bytes, now: float) -> None:
        route = stream.routes.get(int.from_bytes(data[:2], "big"))
        if route is None:
            self._from_client(data, stream.client, now)
            return
        pass_on(route, data)

    def _close(self, stream: Stream, now: float) -> None:
        client = stream.client
        if self._streams.get(client.connection) is not stream:
            return
        self._gone(client, now)
        del self._streams[client.connection]
        self._sources[client.host] -= 1
        if not self._sources[client.host]:
            del self._sources[client.host]
        self._host.forget(stream.sock)
        stream.sock.close()


def _nowhere(data: bytes, _: object = None) -> int:
    """Where data of a client goes whose connection closed a moment ago."""
    return 0
