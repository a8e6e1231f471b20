"""`turn credentials`, with the node running and stopped."""

import json
from pathlib import Path

import pytest

from node.cli.commands import run
from tests.support.admin_server import serving
from tests.support.memory_node import MemoryNode

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RINGMESH_STATE", "RINGMESH_CONFIG", "RINGMESH_RELAY_SECRET"):
        monkeypatch.delenv(name, raising=False)


def test_a_running_node_makes_them(capsys: Capture, tmp_path: Path) -> None:
    state = ("--state", str(tmp_path))
    with serving(MemoryNode(), tmp_path / "api.sock"):
        assert run(["user", "add", "alice", *state]) == 0
        capsys.readouterr()
        assert run(["turn", "credentials", "alice", "--ttl", "60", "--json", *state]) == 0
        made = json.loads(capsys.readouterr().out)
        assert made["username"] == "1800000060:alice"
        assert made["ttl"] == 60
        assert run(["turn", "credentials", "alice", *state]) == 0
        assert "1800086400:alice" in capsys.readouterr().out
        assert run(["turn", "credentials", "bob", *state]) == 1
        assert "no account 'bob'" in capsys.readouterr().err
        assert run(["turn", "credentials", "alice", "--ttl", "5", *state]) == 1
        assert "can last from 10" in capsys.readouterr().err


def test_a_stopped_node_makes_them_with_the_secret_it_will_use(
    capsys: Capture, tmp_path: Path
) -> None:
    state = ("--state", str(tmp_path / "state"))
    assert run(["user", "add", "alice", *state]) == 0
    capsys.readouterr()
    passwords = []
    for _ in range(2):
        assert run(["turn", "credentials", "alice", "--ttl", "2592000", "--json", *state]) == 0
        made = json.loads(capsys.readouterr().out)
        assert made["username"].endswith(":alice")
        passwords.append((made["username"], made["password"]))
    assert len(dict(passwords)) == len(set(passwords))
    assert run(["turn", "credentials", "bob", *state]) == 1
    assert "no account 'bob'" in capsys.readouterr().err
