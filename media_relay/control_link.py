"""The control plane's end of a worker's control socket: orders out, notices in, nothing awaited."""

import asyncio
import errno
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence

from media_relay.control import MAX_MESSAGE_BYTES, Notice, Order, decode_notice, encode
from media_relay.errors import ControlError

CONTROL_BUFFER_BYTES = 1024 * 1024
MAX_QUEUED_ORDERS = 100_000
"A worker further behind than this is given up; its successor gets the present state instead."
RETRY_SECONDS = 0.005
"How long orders wait when the kernel has too many descriptors in flight."
NOTICE_BURST = 64
"Notices read in one turn of the event loop."
_FULL = frozenset({errno.EAGAIN, errno.ETOOMANYREFS, errno.ENOBUFS})


class ControlLink:
    """Sends orders in order, at once while the worker keeps up, queued while it does not."""

    def __init__(
        self,
        *,
        on_notice: Callable[[Notice], None],
        on_broken: Callable[[str], None],
    ) -> None:
        self._on_notice = on_notice
        self._on_broken = on_broken
        self._loop = asyncio.get_running_loop()
        self._queue: deque[tuple[bytes, list[int]]] = deque()
        "Encoded orders, and copies of the descriptors that go with them."
        self._retry: asyncio.TimerHandle | None = None
        self._closed = False
        self._socket, self.worker_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self._socket, self.worker_end):
            end.setblocking(False)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, CONTROL_BUFFER_BYTES)
        self._loop.add_reader(self._socket.fileno(), self.drain)

    def send(self, order: Order, sockets: Sequence[socket.socket] = ()) -> None:
        """Send an order with its sockets, which may be closed as soon as this returns."""
        if self._closed:
            return
        data = encode(order)
        descriptors = [sock.fileno() for sock in sockets]
        if not self._queue and self._sent(data, descriptors):
            return
        if len(self._queue) >= MAX_QUEUED_ORDERS:
            self._on_broken("it no longer takes orders")
            return
        self._queue.append((data, [os.dup(descriptor) for descriptor in descriptors]))
        self._write_later()

    def drain(self) -> None:
        """Take the notices that wait."""
        for _ in range(NOTICE_BURST):
            if self._closed:
                return
            try:
                data = self._socket.recv(MAX_MESSAGE_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                # The worker is gone; its exit is noticed apart, and must not spin this reader.
                self._loop.remove_reader(self._socket.fileno())
                return
            try:
                notice = decode_notice(data)
            except ControlError as error:
                self._on_broken(str(error))
                return
            self._on_notice(notice)

    def close(self) -> None:
        """Close the socket, on which the worker ends, and drop what was queued."""
        if self._closed:
            return
        self._closed = True
        if self._retry is not None:
            self._retry.cancel()
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        self.worker_end.close()
        for _, descriptors in self._queue:
            _close_all(descriptors)
        self._queue.clear()

    def _sent(self, data: bytes, descriptors: list[int]) -> bool:
        """Whether the kernel took an order, or never will since the worker is gone."""
        try:
            if descriptors:
                socket.send_fds(self._socket, [data], descriptors)
            else:
                self._socket.send(data)
        except OSError as error:
            return error.errno not in _FULL
        return True

    def _write_later(self) -> None:
        # Not by readiness: a socket is writable while descriptors in flight are what is too many.
        if self._retry is None:
            self._retry = self._loop.call_later(RETRY_SECONDS, self._write)

    def _write(self) -> None:
        self._retry = None
        while self._queue:
            data, descriptors = self._queue[0]
            if not self._sent(data, descriptors):
                self._write_later()
                return
            self._queue.popleft()
            _close_all(descriptors)


def _close_all(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
