"""The demo as a program: what it says, what it leaves behind, and that it can be interrupted."""

import asyncio
import json
import signal
import sys
from pathlib import Path

import pytest

from tests.support.processes import descendants, still_alive
from tests.support.programs import needs_pjsua2

pytestmark = [needs_pjsua2, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]
COMMAND = (sys.executable, "-m", "node.cli.main", "demo")


async def start(*options: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *COMMAND, *options, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )


@pytest.mark.slow
async def test_everything_is_heard() -> None:
    demo = await start("--json")
    output, _ = await demo.communicate()
    outcome = json.loads(output)
    assert (demo.returncode, outcome["ok"], outcome["problems"]) == (0, True, []), outcome
    assert len(outcome["nodes"]) == 3
    assert [account["login"] for account in outcome["accounts"]] == ["alice", "bob"]
    assert all("password" not in account for account in outcome["accounts"])
    by_number, back, by_key, echo = outcome["calls"].values()
    for call in (by_number, back, by_key):
        assert call["callee_heard"]["frequency"] == pytest.approx(440, rel=0.005)
        assert call["caller_heard"]["frequency"] == pytest.approx(880, rel=0.005)
    assert echo["caller_heard"]["frequency"] == pytest.approx(440, rel=0.005)
    assert by_number["target"] == outcome["accounts"][1]["number"]
    assert back["target"] == outcome["accounts"][0]["number"]


@pytest.mark.parametrize(
    ("how", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)]
)
async def test_interrupted_it_leaves_nothing_behind(
    how: signal.Signals, code: int, tmp_path: Path
) -> None:
    demo = await start("--state", str(tmp_path))
    assert demo.stdout is not None
    async with asyncio.timeout(60):
        while b"find each other" not in await demo.stdout.readline():
            pass
    started = descendants(demo.pid)
    assert len(started) >= 3
    demo.send_signal(how)
    async with asyncio.timeout(20):
        rest = await demo.stdout.read() if how is not signal.SIGKILL else b""
        assert await demo.wait() == code
    assert b"Traceback" not in rest
    assert await still_alive(started, within=8) == set()
