"""The testbed in namespaces: everybody calls everybody through NATs, and nothing is left behind."""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest

from testbed.namespaces import PREFIX, lacking
from testbed.topology import read
from tests.support.processes import descendants, still_alive
from tests.support.programs import needs, needs_pjsua2

REASON = lacking() if sys.platform == "linux" else "network namespaces are Linux's"
pytestmark = [
    needs_pjsua2,
    pytest.mark.slow,
    pytest.mark.skipif(REASON is not None, reason=REASON or ""),
]


@contextlib.asynccontextmanager
async def running(*options: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "testbed", *options),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def namespaces() -> set[str]:
    """Those of all runs on this machine."""
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True)
    return {line.split()[0] for line in listed.stdout.splitlines() if line.startswith(PREFIX)}


async def says(process: asyncio.subprocess.Process, text: str) -> None:
    assert process.stdout is not None
    async with asyncio.timeout(60):
        while text.encode() not in (line := await process.stdout.readline()):
            assert line, "it ended"


@needs("kamailio")
async def test_everybody_is_heard_and_what_a_killed_run_left_is_removed() -> None:
    """All pairs, the PBX and the provider; before that a run that is killed in the middle."""
    before = namespaces()
    async with running("--only", "alice-bob") as killed:
        await says(killed, "nodes are ready")
        left = namespaces() - before
        started = descendants(killed.pid)
        assert len(left) == len(list(read().hosts())) + 1
        killed.kill()
        await killed.wait()
        assert await still_alive(started, within=8) == set()
        assert left <= namespaces()
    async with running("--json", "--pbx", "--provider") as process:
        output, errors = await process.communicate()
    outcome = json.loads(output)
    assert (process.returncode, outcome["problems"], errors) == (0, [], b""), output.decode()
    assert len(outcome["calls"]) == 20
    for call in [*outcome["calls"], *outcome["further"].values()]:
        assert call["ok"], call
        assert call["caller_heard"]["frequency"] == pytest.approx(880, rel=0.01)
        assert call["callee_heard"]["frequency"] == pytest.approx(440, rel=0.01)
        assert call["set_up_time"] < 4
    assert len(outcome["further"]) == 4
    assert namespaces() & (left | before) == before & namespaces()


async def test_interrupted_it_leaves_nothing_behind() -> None:
    before = namespaces()
    async with running("--only", "alice-bob") as process:
        await says(process, "nodes are ready")
        left, started = namespaces() - before, descendants(process.pid)
        assert len(started) >= 15
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(30):
            assert await process.wait() == 130
        assert process.stderr is not None
        assert b"Traceback" not in await process.stderr.read()
    assert namespaces() & left == set()
    assert await still_alive(started) == set()


async def test_wrong_options_are_told_before_anything_is_built() -> None:
    before = namespaces()
    for options, complaint in (
        (("--loss", "90"), "use 0 to 50 per cent"),
        (("--only", "alice-mallory"), "no pair like alice-bob"),
    ):
        async with running(*options) as process:
            _, errors = await process.communicate()
        assert process.returncode in (1, 2)
        assert complaint in errors.decode()
        assert "Traceback" not in errors.decode()
        assert not namespaces() - before
