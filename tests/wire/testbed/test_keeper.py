"""A keeper kills its program and starts it again; a handset is a phone for who connects."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from node.phone.check import measure_call
from node.phone.errors import PhoneDied
from node.phone.phone import Phone
from testbed.chaos import ChaosError, order
from testbed.folder import Folder
from tests.support.processes import still_alive
from tests.support.programs import Program, needs_pjsua2, running

HERE = "127.0.0.1"
SLEEPER = "import os, time; print(f'pid {os.getpid()}', flush=True); time.sleep(60)"
QUITTER = "import sys, time; time.sleep(0.2); sys.exit(7)"


@asynccontextmanager
async def keeper(folder: Folder, script: str = SLEEPER) -> AsyncIterator[Program]:
    options = ("--socket", str(folder.keeper("n")), "--", sys.executable, "-c", script)
    async with running(sys.executable, "-m", "testbed.keeper", *options) as program:
        yield program


async def pid_of(program: Program, count: int = 1) -> int:
    """The process that the keeper started for the `count`th time."""
    async with asyncio.timeout(5):
        while program.output.count("pid ") < count:
            await asyncio.sleep(0.02)
    return int(program.output.split("pid ")[count].split()[0])


async def test_a_program_is_killed_and_started_again(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    async with keeper(folder) as program:
        first = await pid_of(program)
        await order(folder, "n", "start")  # it runs: nothing is done
        await order(folder, "n", "kill")
        assert await still_alive({first}) == set()
        await order(folder, "n", "kill")  # it does not run: nothing is done
        await order(folder, "n", "start")
        second = await pid_of(program, 2)
        assert second != first
        assert program.process.returncode is None
        program.process.send_signal(signal.SIGTERM)
        assert await program.ends() == -signal.SIGTERM % 256
        assert await still_alive({second}) == set()
    assert not folder.keeper("n").exists()


async def test_a_program_that_ends_by_itself_ends_its_keeper(tmp_path: Path) -> None:
    async with keeper(Folder(tmp_path), QUITTER) as program:
        assert await program.ends() == 7


async def test_a_program_does_not_outlive_its_keeper(tmp_path: Path) -> None:
    async with keeper(Folder(tmp_path)) as program:
        pid = await pid_of(program)
        program.process.kill()
        await program.process.wait()
        assert await still_alive({pid}) == set()


async def test_orders_that_cannot_be_obeyed(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    with pytest.raises(ChaosError, match="the keeper of n does not kill: "):
        await order(folder, "n", "kill")
    async with keeper(folder) as program:
        await pid_of(program)
        with pytest.raises(ChaosError, match="does not dance: 'say kill or start"):
            await order(folder, "n", "dance")


@needs_pjsua2
async def test_a_phone_at_a_handset_is_a_phone(tmp_path: Path) -> None:
    """Several conversations after each other; the handset's death is noticed."""
    folder = Folder(tmp_path)
    command = ("-m", "testbed.handset", "--socket", str(folder.handset("bob")))
    line = (sys.executable, "-m", "testbed.line", str(folder.handset("bob")))
    async with running(sys.executable, *command) as handset, Phone(name="alice") as alice:
        for _ in range(2):
            async with Phone(name="bob", local_ip=HERE, child=line) as bob:
                report = await measure_call(alice, bob, bob.uri, seconds=1)
                assert report.problems == ()
        async with Phone(name="bob", local_ip=HERE, child=line) as bob:
            handset.process.kill()
            with pytest.raises(PhoneDied):
                await bob.next_call()
