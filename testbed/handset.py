"""A phone for whoever connects: runs `node.phone.child` at the end of a Unix socket.

`python -m testbed.handset --socket PATH` is what a phone's container runs. The check, which sits
elsewhere and has no network to the phone, drives it over the socket (see `line`); the phone itself
speaks to the world through its own network alone. One conversation at a time.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

from node.phone.wire import READ_SIZE

_END_WITHIN = 3.0
"Seconds a phone has to end once nobody speaks to it."


class Handset:
    """Serves connections, one after the other."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Be a phone until either side ends."""
        pipe = asyncio.subprocess.PIPE
        async with self._turn:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "node.phone.child", str(os.getpid())),
                stdin=pipe,
                stdout=pipe,
                start_new_session=True,
            )
            assert process.stdin is not None
            assert process.stdout is not None
            commands = asyncio.create_task(_copy(reader, process.stdin))
            try:
                await _copy(process.stdout, writer)
            finally:
                commands.cancel()
                await _ended(process)


async def _ended(process: asyncio.subprocess.Process) -> None:
    """See the phone end, and make it."""
    try:
        async with asyncio.timeout(_END_WITHIN):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await source.read(READ_SIZE):
            target.write(data)
            await target.drain()
    target.close()


async def run(socket: Path) -> None:
    """Serve until SIGTERM or SIGINT."""
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    handset = Handset()
    server = await asyncio.start_unix_server(handset.serve, socket)
    await told.wait()
    server.close()


def main() -> None:
    """Read the command line and be a phone."""
    parser = argparse.ArgumentParser(prog="testbed.handset", description="A phone at a socket.")
    parser.add_argument("--socket", type=Path, required=True, help="where to listen")
    socket: Path = parser.parse_args().socket
    socket.parent.mkdir(parents=True, exist_ok=True)
    socket.unlink(missing_ok=True)  # of one that was killed
    try:
        asyncio.run(run(socket))
    finally:
        socket.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
