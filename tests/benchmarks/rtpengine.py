"""rtpengine as control: started in user space, told of calls over its ng protocol (bencode)."""

import asyncio
import contextlib
import itertools
import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path

from federation.model.address import Endpoint
from tests.support.ports import free_port
from tests.support.programs import Program, running

HOST = "127.0.0.1"
PORTS = (40000, 49999)
_PATIENCE = 5.0
_START = 10.0


def bencode(value: object) -> bytes:
    """A string, list or dictionary in bencode."""
    if isinstance(value, dict):
        items = b"".join(bencode(key) + bencode(value[key]) for key in sorted(value))
        return b"d" + items + b"e"
    if isinstance(value, list):
        return b"l" + b"".join(map(bencode, value)) + b"e"
    data = str(value).encode()
    return b"%d:%b" % (len(data), data)


class Rtpengine:
    """One running rtpengine."""

    def __init__(self, program: Program, control: Endpoint) -> None:
        self.program = program
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.settimeout(_PATIENCE)
        self._socket.connect(control)
        self._cookies = itertools.count()

    def call(self, number: int, phone: Endpoint) -> list[tuple[str, int]]:
        """Set up a call between two phones at `phone`: the ports that they send to."""
        told = {"call-id": f"call{number}", "from-tag": "a", "sdp": _sdp(phone), "ICE": "remove"}
        offered = self._ask({**told, "command": "offer"})
        answered = self._ask({**told, "command": "answer", "to-tag": "b"})
        return [(HOST, answered), (HOST, offered)]

    def answers(self) -> bool:
        """Whether it is up."""
        try:
            return b"pong" in self._send({"command": "ping"})
        except ConnectionRefusedError:
            return False

    def close(self) -> None:
        self._socket.close()

    def _ask(self, command: dict[str, object]) -> int:
        reply = self._send(command)
        port = re.search(rb"m=audio (\d+) ", reply)
        if port is None:
            raise RuntimeError(f"rtpengine says {reply[:200]!r}")
        return int(port[1])

    def _send(self, command: dict[str, object]) -> bytes:
        self._socket.send(b"%d %b" % (next(self._cookies), bencode(command)))
        return self._socket.recv(65536)


def _sdp(phone: Endpoint) -> str:
    return (
        f"v=0\r\no=- 1 1 IN IP4 {phone.host}\r\ns=-\r\nc=IN IP4 {phone.host}\r\nt=0 0\r\n"
        f"m=audio {phone.port} RTP/AVP 0\r\n"
    )


@contextlib.asynccontextmanager
async def rtpengine(folder: Path) -> AsyncIterator[Rtpengine]:
    """Run it with one thread, until the block ends."""
    control = Endpoint(HOST, free_port())
    command = [
        "rtpengine", "--foreground", "--table=-1", f"--interface={HOST}", "--log-stderr",
        f"--listen-ng={control}", "--num-threads=1", "--log-level=4", "--tos=184",
        f"--port-min={PORTS[0]}", f"--port-max={PORTS[1]}", f"--pidfile={folder / 'pid'}",
    ]  # fmt: skip
    async with running(*command) as program:
        engine = Rtpengine(program, control)
        try:
            async with asyncio.timeout(_START):
                while not engine.answers():
                    await asyncio.sleep(0.2)
            yield engine
        finally:
            engine.close()
