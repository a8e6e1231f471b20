"""What `ringmesh up` prepares before a node runs."""

import subprocess
import sys
from pathlib import Path

import pytest

import dht.overlay_id
from dht.overlay_id import overlay_id
from federation.model.errors import UsageError
from node.cli.up import _identity
from node.config import Config
from node.state import StateFolder

CONFIG = Config(network="up-test")


def no_solving(*_: object, **__: object) -> bytes:
    raise UsageError("solved once more")


def test_the_identity_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Later starts solve nothing, which is why they are quick."""
    folder = StateFolder.open(tmp_path)
    first = _identity(CONFIG, folder)
    assert overlay_id(first.key.id, first.nonce, CONFIG.net)
    monkeypatch.setattr(dht.overlay_id, "solve", no_solving)
    again = _identity(CONFIG, folder)
    assert (again.key.id, again.nonce) == (first.key.id, first.nonce)


def test_another_network_has_another_puzzle(tmp_path: Path) -> None:
    folder = StateFolder.open(tmp_path)
    first = _identity(CONFIG, folder)
    other = Config(network="up-test-2", puzzle_bits=3)
    second = _identity(other, folder)
    assert second.key.id == first.key.id
    assert overlay_id(second.key.id, second.nonce, other.net)


def test_a_solution_that_does_not_hold_is_solved_again(tmp_path: Path) -> None:
    folder = StateFolder.open(tmp_path)
    config = Config(network="up-test", puzzle_bits=6)
    first = _identity(config, folder)
    wrong = next(
        nonce
        for nonce in (number.to_bytes(8, "big") for number in range(100))
        if not _holds(first.key.id, nonce, config)
    )
    folder.keep_overlay_nonce(first.key, config.net, wrong)
    assert _holds(first.key.id, _identity(config, folder).nonce, config)


def test_the_watchdog_ends_what_hangs() -> None:
    """A thread that looks a name up must not hold the stop up."""
    script = (
        "import threading; from node.cli import up; up.STOP_SECONDS = 0.05; up._watch();"
        "threading.Event().wait(60)"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False, timeout=30)
    assert done.returncode == 0


def _holds(node: object, nonce: bytes, config: Config) -> bool:
    try:
        overlay_id(node, nonce, config.net)  # type: ignore[arg-type]
    except dht.overlay_id.PuzzleError:
        return False
    return True
