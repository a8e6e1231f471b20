"""Foreign programs: which are here, how to start and how to end them."""

import asyncio
import contextlib
import importlib.util
import re
import shutil
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

PACKAGES = {
    "baresip": "baresip-core",
    "sipp": "sip-tester",
    "kamailio": "kamailio",
    "turnserver": "coturn",
    "turnutils_uclient": "coturn",
    "turnutils_natdiscovery": "coturn",
    "turnutils_peer": "coturn",
    "linphonec": "linphone-cli",
}
"Debian's names of the packages that bring the programs."
_END_GRACE = 3.0

needs_pjsua2 = pytest.mark.skipif(
    importlib.util.find_spec("pjsua2") is None,
    reason="the pjsua2 wheel is absent: pip install 'ringmesh[phone]'",
)
"Marks tests that place calls with `node.phone`."


def needs(program: str) -> pytest.MarkDecorator:
    """A mark that skips, and says what to install, where `program` is absent."""
    return pytest.mark.skipif(
        shutil.which(program) is None,
        reason=f"{program} is absent: apt-get install {PACKAGES[program]}",
    )


class Program:
    """A running program whose output can be waited for."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self.process = process
        self.output = ""
        self._grown = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        while data := await self.process.stdout.read(4096):
            self.output += data.decode(errors="replace")
            self._grown.set()
        self._grown.set()

    async def says(self, text: str, within: float = 5.0) -> None:
        """Wait until the output contains `text`; fails with the whole output."""
        try:
            async with asyncio.timeout(within):
                while text not in self.output:
                    if self._reading.done():
                        break
                    self._grown.clear()
                    await self._grown.wait()
        except TimeoutError:
            pass
        if text not in self.output:
            pytest.fail(f"{self.name} did not say {text!r} in {within:g} s:\n{self.output}")

    def write(self, text: str) -> None:
        """Put something on its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode())

    async def matches(self, pattern: str, *, since: int = 0, within: float = 5.0) -> re.Match[str]:
        """Wait until the output after its first `since` characters matches; else fails with it."""
        try:
            async with asyncio.timeout(within):
                while (found := re.compile(pattern).search(self.output, since)) is None:
                    if self._reading.done():
                        break
                    self._grown.clear()
                    await self._grown.wait()
        except TimeoutError:
            found = None
        if found is None:
            pytest.fail(f"{self.name} did not say {pattern!r} in {within:g} s:\n{self.output}")
        return found

    async def ends(self, within: float = 10.0) -> int:
        """Wait for the end and return the exit code; fails with the output if it does not come."""
        try:
            async with asyncio.timeout(within):
                code = await self.process.wait()
                await asyncio.shield(self._reading)
                return code
        except TimeoutError:
            pytest.fail(f"{self.name} did not end in {within:g} s:\n{self.output}")

    async def end(self) -> None:
        """Terminate, and kill what does not listen."""
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.terminate()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_END_GRACE):
                    await self.process.wait()
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()
        # A helper that it left behind may hold its output open for ever.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_END_GRACE):
                await self._reading


@contextlib.asynccontextmanager
async def running(
    *command: str,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    talks: bool = False,
) -> AsyncIterator[Program]:
    """Run a program, output and errors together; `talks`: it is told things meanwhile."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        env=env,
        stdin=asyncio.subprocess.PIPE if talks else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    program = Program(Path(command[0]).name, process)
    try:
        yield program
    finally:
        await program.end()
