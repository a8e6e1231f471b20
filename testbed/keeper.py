"""Keeps a node: runs it, and kills it or starts it again when told to by a socket.

`python -m testbed.keeper --socket PATH -- ringmesh up ...` is what a node's container runs, so that
a crash can be played without the container, its network and its state going away. A line `kill`
ends the node at once, `start` starts it again; each is answered by `done`. A node that ends by
itself ends the keeper, with its exit code.
"""

import argparse
import asyncio
import contextlib
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from node.tether import tethered

_END_WITHIN = 8.0
"Seconds a node has after SIGTERM; it promises 5."


class Keeper:
    """One node and what is done to it."""

    def __init__(self, command: Sequence[str]) -> None:
        program = shutil.which(command[0])
        if program is None:
            sys.exit(f"{command[0]} was not found")
        self._command = (program, *command[1:])
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the node, unless it runs."""
        async with self._turn:
            if self._process is None:
                self._process = await asyncio.create_subprocess_exec(
                    *tethered(*self._command),
                    stdin=asyncio.subprocess.DEVNULL,
                    start_new_session=True,
                )
                self._watching = asyncio.create_task(self._watch(self._process))

    async def kill(self) -> None:
        """End the node at once, as a crash would."""
        async with self._turn:
            process, self._process = self._process, None
            if process is not None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()

    async def stop(self) -> int:
        """Ask the node to end, and kill it if it does not; returns its exit code."""
        async with self._turn:
            process, self._process = self._process, None
            if process is None:
                return 0
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                async with asyncio.timeout(_END_WITHIN):
                    return await process.wait()
            except TimeoutError:
                process.kill()
                return await process.wait()

    async def ended(self) -> int:
        """Wait until the node has ended by itself; returns its exit code."""
        return await asyncio.shield(self._ended)

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        code = await process.wait()
        if self._process is process and not self._ended.done():
            self._ended.set_result(code)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Obey the lines of one connection."""
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                match line.strip():
                    case b"kill":
                        await self.kill()
                    case b"start":
                        await self.start()
                    case _:
                        writer.write(b"say kill or start\n")
                        continue
                writer.write(b"done\n")
                await writer.drain()
        writer.close()


async def run(socket: Path, command: Sequence[str]) -> int:
    """Keep the node that `command` starts until SIGTERM, SIGINT or its own end."""
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    keeper = Keeper(command)
    server = await asyncio.start_unix_server(keeper.serve, socket)
    await keeper.start()
    waiting = [asyncio.create_task(told.wait()), asyncio.create_task(keeper.ended())]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    server.close()
    return await keeper.stop() if told.is_set() else await keeper.ended()


def main() -> None:
    """Read the command line and keep a node."""
    parser = argparse.ArgumentParser(prog="testbed.keeper", description="Keep a node.")
    parser.add_argument("--socket", type=Path, required=True, help="where to listen for orders")
    parser.add_argument("command", nargs="+", help="what starts the node, behind --")
    given = parser.parse_args()
    given.socket.parent.mkdir(parents=True, exist_ok=True)
    given.socket.unlink(missing_ok=True)  # of one that was killed
    try:
        sys.exit(asyncio.run(run(given.socket, given.command)))
    finally:
        given.socket.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
