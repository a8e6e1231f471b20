"""Unix sockets at paths of any length.

A socket's address holds 107 bytes. A longer path is reached through its folder's descriptor
(`/proc/self/fd/N/name`), so a deep state folder needs no second place for its socket.
"""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

MAX_ADDRESS_BYTES = 107
_BACKLOG = 64


def listen_at(path: Path) -> socket.socket:
    """A listening stream socket at `path`, for its owner alone; a stale one there is replaced.

    Raises:
        OSError: the folder is missing or not writable.
    """
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _short(path) as address:
            mask = os.umask(0o177)
            try:
                listener.bind(address)
            finally:
                os.umask(mask)
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def connect_to(path: Path, timeout: float) -> socket.socket:
    """A connected stream socket; `timeout` (seconds) holds for its later calls too.

    Raises:
        OSError: nobody listens there.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout)
    try:
        with _short(path) as address:
            connection.connect(address)
    except OSError:
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """An address for `path` that fits, valid while the block lasts."""
    if len(os.fsencode(path)) <= MAX_ADDRESS_BYTES:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
