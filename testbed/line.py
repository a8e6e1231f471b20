"""The line to a handset: copies standard input to its socket, and what comes back to the output.

`node.phone.Phone` runs it in place of a child of its own.
"""

import os
import selectors
import socket
import sys
import time

CONNECT_WITHIN = 20.0
"Seconds until the handset must be there."
_READ_SIZE = 1 << 16


def connect(path: str) -> socket.socket:
    """The connected socket; a handset that is not there yet is waited for."""
    deadline = time.monotonic() + CONNECT_WITHIN
    while True:
        line = socket.socket(socket.AF_UNIX)
        try:
            line.connect(path)
        except OSError as error:
            line.close()
            if time.monotonic() > deadline:
                sys.exit(f"no handset at {path}: {error.strerror}")
            time.sleep(0.1)
        else:
            return line


def carry(line: socket.socket) -> None:
    """Copy both ways until the handset ends."""
    with selectors.DefaultSelector() as selector:
        selector.register(line, selectors.EVENT_READ)
        selector.register(0, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is line:
                    data = line.recv(_READ_SIZE)
                    if not data:
                        return
                    while data:
                        data = data[os.write(1, data) :]
                elif data := os.read(0, _READ_SIZE):
                    line.sendall(data)
                else:
                    selector.unregister(0)
                    line.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    carry(connect(sys.argv[1]))
