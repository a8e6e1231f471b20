"""A process's life: first start, later starts, signals, a second signal, failure."""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from federation.model.errors import ConfigError
from federation.model.identity import NodeKey
from node import process
from node.api_client import ApiClient
from node.cli import up
from node.config import Config
from node.process import Identity, run
from node.state import StateFolder
from tests.support.memory_node import SERVED, MemoryNode

STOP_BOUND = 5.0


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for each in started:
        each.kill()
        each.communicate()


def start(
    processes: list[subprocess.Popen[str]], state: Path, *arguments: str, **popen: Any
) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.memory_process", str(state), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **popen,
    )
    processes.append(process)
    return process


def line(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_drains_and_ends_well(
    processes: list[subprocess.Popen[str]], tmp_path: Path, number: signal.Signals
) -> None:
    """The first start shows an account, the API answers while it runs, nothing stays behind."""
    running = start(processes, tmp_path)
    assert line(running)["first_account"]["login"] == "phone1"
    assert line(running)["ready"]["ready"] is True
    assert ApiClient(tmp_path / "api.sock").get("status")["accounts"] == 1
    running.send_signal(number)
    assert running.wait(STOP_BOUND) == 0
    assert not (tmp_path / "api.sock").exists()
    with StateFolder.open(tmp_path).lock():
        pass
    again = start(processes, tmp_path)
    assert set(line(again)) == {"ready"}


def test_a_second_signal_ends_at_once(
    processes: list[subprocess.Popen[str]], tmp_path: Path
) -> None:
    running = start(processes, tmp_path, "60")
    assert set(line(running)) == {"first_account"}
    assert set(line(running)) == {"ready"}
    running.send_signal(signal.SIGINT)
    assert line(running) == "stopping"
    for _ in range(20):
        running.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(0.1)
    assert running.returncode == 130


def test_one_wish_that_arrives_twice_is_one(
    processes: list[subprocess.Popen[str]], tmp_path: Path
) -> None:
    """`timeout` signals its child and then the child's whole group."""
    running = start(processes, tmp_path, "0.2")
    assert set(line(running)) == {"first_account"}
    assert set(line(running)) == {"ready"}
    running.send_signal(signal.SIGINT)
    assert line(running) == "stopping"
    running.send_signal(signal.SIGINT)
    assert running.wait(STOP_BOUND) == 0


def test_hang_up_reloads_and_the_node_goes_on(
    processes: list[subprocess.Popen[str]], tmp_path: Path
) -> None:
    running = start(processes, tmp_path)
    assert set(line(running)) == {"first_account"}
    assert set(line(running)) == {"ready"}
    client = ApiClient(tmp_path / "api.sock")
    assert client.get("status")["reloads"] == 0
    running.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + STOP_BOUND
    while client.get("status")["reloads"] != 1:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    running.send_signal(signal.SIGTERM)
    assert running.wait(STOP_BOUND) == 0


def at_a_terminal(
    processes: list[subprocess.Popen[str]], state: Path, *, nohup: bool
) -> tuple[subprocess.Popen[str], int]:
    """A node in the foreground of a terminal, and the descriptor whose closing closes that."""
    master, slave = os.openpty()

    def take_terminal() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        # Either way, since what runs the tests may ignore it, too.
        signal.signal(signal.SIGHUP, signal.SIG_IGN if nohup else signal.SIG_DFL)

    running = start(processes, state, stdin=slave, start_new_session=True, preexec_fn=take_terminal)
    os.close(slave)
    assert set(line(running)) == {"first_account"}
    assert set(line(running)) == {"ready"}
    return running, master


def test_a_terminal_that_is_closed_ends_the_node(
    processes: list[subprocess.Popen[str]], tmp_path: Path
) -> None:
    """The kernel sends SIGHUP then too; nobody would be there to press Ctrl-C any more."""
    running, terminal = at_a_terminal(processes, tmp_path, nohup=False)
    os.close(terminal)
    assert line(running) == "stopping"
    assert running.wait(STOP_BOUND) == 0


def test_with_nohup_the_node_outlives_its_terminal(
    processes: list[subprocess.Popen[str]], tmp_path: Path
) -> None:
    running, terminal = at_a_terminal(processes, tmp_path, nohup=True)
    os.close(terminal)
    client = ApiClient(tmp_path / "api.sock")
    deadline = time.monotonic() + STOP_BOUND
    while client.get("status")["reloads"] != 1:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    running.send_signal(signal.SIGTERM)
    assert running.wait(STOP_BOUND) == 0


def test_a_start_that_fails_is_one_line(
    processes: list[subprocess.Popen[str]], tmp_path: Path
) -> None:
    running = start(processes, tmp_path, "0", "port 5060 is taken")
    out, err = running.communicate(timeout=10)
    assert (running.returncode, out, err) == (1, "", "port 5060 is taken\n")
    assert not (tmp_path / "api.sock").exists()


class _Voice:
    """Keeps what was said, and stops the run after it."""

    def __init__(self, node: MemoryNode) -> None:
        self._node = node
        self.said: list[str] = []

    def first_account(self, sheet: dict[str, Any], config: Config, state: str) -> None:
        self.said.append(f"first {sheet['login']}")

    def ready(self, status: dict[str, Any], console: str | None) -> None:
        self.said.append("ready")
        assert self._node.trouble is not None
        self._node.trouble.set_result("the disk is gone")


async def lived(node: MemoryNode, state: StateFolder) -> tuple[int, list[str]]:
    voice = _Voice(node)
    code = await run(
        Config(),
        state,
        Identity(NodeKey(bytes(32)), bytes(8)),
        lambda *_: node,
        voice=voice,
        on_stopping=lambda: node.events.append("stopping"),
        at_once=lambda: node.events.append("at once"),
    )
    return code, voice.said


async def test_a_node_that_fails_is_stopped_and_gives_1(tmp_path: Path) -> None:
    node = MemoryNode()
    assert await lived(node, StateFolder.open(tmp_path)) == (1, ["first phone1", "ready"])
    assert node.events == ["start", "stopping", "stop"]


async def test_accounts_made_before_the_first_start_are_enough(tmp_path: Path) -> None:
    node = MemoryNode()
    await node.user_add("alice")
    assert (await lived(node, StateFolder.open(tmp_path)))[1] == ["ready"]
    assert list(node.users) == ["alice"]


async def test_somebody_who_removed_every_account_gets_no_new_one(tmp_path: Path) -> None:
    state = StateFolder.open(tmp_path)
    state.keep_last_run(SERVED.as_json())
    node = MemoryNode()
    assert (await lived(node, state))[1] == ["ready"]
    assert node.users == {}


async def test_an_api_that_cannot_start_stops_the_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing stays half-started."""
    state = StateFolder.open(tmp_path / "state")
    (tmp_path / "state" / "api.sock").mkdir()
    node = MemoryNode()
    with pytest.raises(ConfigError, match=r"api\.sock cannot be made"):
        await lived(node, state)
    assert node.events == ["start", "stop"]


async def test_a_drain_that_hangs_is_cut_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts that do not end are cancelled, and the process goes on to its end."""
    monkeypatch.setattr(process, "DRAIN_SECONDS", 0.05)
    node = MemoryNode(stop_seconds=60)
    assert (await lived(node, StateFolder.open(tmp_path)))[0] == 1
    assert node.events == ["start", "stopping", "stop"]


def test_the_drain_leaves_time_for_the_rest() -> None:
    """Drain, watchdog and promise stand in this order."""
    assert process.DRAIN_SECONDS < up.STOP_SECONDS < STOP_BOUND
