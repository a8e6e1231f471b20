"""TURN clients over TCP and TLS: one `Stream` each, driven by the worker's epoll loop.

Nothing here waits. What a client sends is cut into messages; what it does not read in time is
dropped if it is data, and ends the connection if it is too much for answers, too.
"""

import select
import socket
import ssl
from collections.abc import Callable

from media_relay.stun.message import StunError
from media_relay.turn.effects import Client
from media_relay.turn.framing import StreamFramer, padded
from media_relay.turn_routes import ChannelRoute

READ_BYTES = 16384
MAX_DATA_WAITING = 64 * 1024
"Bytes unread by a client beyond which peers' data for it is dropped."
MAX_WAITING = 128 * 1024
"Bytes unread beyond which the connection is closed."
IDLE_SECONDS = 30.0
"A connection without an allocation that sends nothing is closed after this."
STUCK_SECONDS = 30.0
"A connection whose client reads nothing for so long, though there is something, is closed."
MAX_STREAMS = 4096
"Connections of one worker."
MAX_STREAMS_A_SOURCE = 128
"Of them from one IP address."


class StreamClosed(Exception):
    """The connection is over, for whatever reason."""


class Stream:
    """One connection; `routes` are its channels that pass without the core."""

    def __init__(
        self,
        sock: socket.socket,
        client: Client,
        now: float,
        *,
        tls: ssl.SSLContext | None,
        watch: Callable[["Stream", int], None],
    ) -> None:
        self.sock = sock
        self.client = client
        self.routes: dict[int, ChannelRoute] = {}
        self.has_allocation = False
        self.active_at = now
        "When it last sent something."
        self.stuck_since: float | None = None
        self.dropped = 0
        "Datagrams of peers that the client did not read in time."
        self.is_broken = False
        "Written too much to; to be closed at the next look."
        self._watch = watch
        self._framer = StreamFramer()
        self._waiting = bytearray()
        self._now = now
        self._tls: ssl.SSLObject | None = None
        if tls is not None:
            self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            self._tls = tls.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._shaken = tls is None

    def receive(self, now: float) -> list[bytes]:
        """Read what is there, 16 KiB at most, and give the messages that are complete.

        Raises:
            StreamClosed: the other side closed, or sent what cannot be.
        """
        self._now = now
        try:
            data = self.sock.recv(READ_BYTES)
        except BlockingIOError:
            return []
        except OSError as error:
            raise StreamClosed from error
        if not data:
            raise StreamClosed
        self.active_at = now
        try:
            return self._framer.feed(data if self._tls is None else self._opened(self._tls, data))
        except StunError as error:
            raise StreamClosed from error

    def reply(self, data: bytes) -> None:
        """Send a response."""
        self._write(padded(data))

    def data(self, data: bytes | memoryview, _: object = None) -> int:
        """Send what a peer sent, if the client keeps up; an `Outlet`."""
        if len(self._waiting) > MAX_DATA_WAITING:
            self.dropped += 1
            return 0
        self._write(padded(bytes(data)))
        return len(data)

    def flush(self, now: float) -> None:
        """Send what waits, as far as the kernel takes it.

        Raises:
            StreamClosed: the connection is gone.
        """
        self._now = now
        try:
            while self._waiting:
                sent = self.sock.send(self._waiting)
                del self._waiting[:sent]
                self.stuck_since = now
        except BlockingIOError:
            return
        except OSError as error:
            raise StreamClosed from error
        self.stuck_since = None
        self._watch(self, select.EPOLLIN)

    def is_overdue(self, now: float) -> bool:
        """Whether it should be closed: idle without an allocation, stuck, or broken."""
        if self.is_broken:
            return True
        if self.stuck_since is not None and now - self.stuck_since > STUCK_SECONDS:
            return True
        return not self.has_allocation and now - self.active_at > IDLE_SECONDS

    def _write(self, data: bytes) -> None:
        if self._tls is not None:
            try:
                self._tls.write(data)
            except ssl.SSLError:
                self.is_broken = True
                return
            data = self._outgoing.read()
        self._put(data)

    def _put(self, data: bytes) -> None:
        if self.is_broken:
            return
        if not self._waiting:
            try:
                sent = self.sock.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self.is_broken = True
                return
            if sent == len(data):
                return
            data = data[sent:]
            self.stuck_since = self._now
            self._watch(self, select.EPOLLIN | select.EPOLLOUT)
        if len(self._waiting) + len(data) > MAX_WAITING:
            self.is_broken = True
            return
        self._waiting += data

    def _opened(self, tls: ssl.SSLObject, data: bytes) -> bytes:
        """What TLS holds; during the handshake nothing but its answers."""
        self._incoming.write(data)
        parts: list[bytes] = []
        try:
            if not self._shaken:
                tls.do_handshake()
                self._shaken = True
            while True:
                part = tls.read(READ_BYTES)
                if not part:
                    raise StreamClosed
                parts.append(part)
        except ssl.SSLWantReadError:
            pass
        except (ssl.SSLError, OSError) as error:
            raise StreamClosed from error
        finally:
            answer = self._outgoing.read()
            if answer:
                self._put(answer)
        return b"".join(parts)


def server_context(certificate: str, private_key: str) -> ssl.SSLContext:
    """TLS 1.2 and 1.3 with this certificate, without asking clients for theirs.

    Raises:
        OSError: a file cannot be read, or holds something else (`ssl.SSLError`).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, private_key)
    return context
