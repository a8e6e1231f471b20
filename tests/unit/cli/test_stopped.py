"""User commands while no node runs, on real storage; numbers are derived for real."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from federation.model.number import Number
from node.cli import reach
from node.cli.commands import run
from node.sheet import ServedAt
from node.state import StateFolder
from tests.support.memory_node import KEY

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RINGMESH_STATE", "RINGMESH_CONFIG", "RINGMESH_SIP_PORT"):
        monkeypatch.delenv(name, raising=False)


def a_json(capsys: Capture, *arguments: str) -> object:
    assert run([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_an_account_lives_before_the_first_start(capsys: Capture, tmp_path: Path) -> None:
    state = ("--state", str(tmp_path / "state"))
    made = a_json(capsys, "user", "add", "alice", "--extension", "101", *state)
    assert isinstance(made, dict)
    assert Number(made["number"])
    assert len(made["password"]) >= 12
    assert made["uri"][0].startswith("sip:alice@")
    assert made["uri"][0].endswith(".ringmesh.alt")
    shown = a_json(capsys, "user", "show", "alice", *state)
    assert isinstance(shown, dict)
    features = {"dnd": shown.pop("dnd"), "forwarding": shown.pop("forwarding")}
    assert features["dnd"] is False
    assert shown == {key: value for key, value in made.items() if key != "password"}
    changed = a_json(capsys, "user", "passwd", "alice", "--password", "long enough", *state)
    assert isinstance(changed, dict)
    assert changed["password"] == "long enough"
    assert run(["user", "remove", "alice", *state]) == 0
    capsys.readouterr()
    assert a_json(capsys, "user", "list", *state) == []


def test_what_the_last_run_told_is_told_again(capsys: Capture, tmp_path: Path) -> None:
    served = ServedAt(
        key_name=KEY.id.key_name,
        addresses=("2001:db8::7",),
        sip_port=5070,
        domains=("example.org",),
        proven=1,
    )
    StateFolder.open(tmp_path).keep_last_run(served.as_json())
    made = a_json(capsys, "user", "add", "alice", "--state", str(tmp_path))
    assert isinstance(made, dict)
    assert made["server"] == "example.org:5070"
    assert made["uri"] == [
        "sip:alice@example.org",
        f"sip:alice@{KEY.id.key_name}",
        "sip:alice@[2001:db8::7]:5070",
    ]


def test_a_file_of_users_tells_who_was_refused(capsys: Capture, tmp_path: Path) -> None:
    file = tmp_path / "users.csv"
    file.write_text("login,extension\nalice,101\nBob,\ncarol,101\n")
    code = run(["user", "add", "--from", str(file), "--json", "--state", str(tmp_path / "s")])
    answer = json.loads(capsys.readouterr().out)
    assert code == 1
    assert [sheet["login"] for sheet in answer["added"]] == ["alice"]
    assert [sentence.split(":")[0] for sentence in answer["refused"]] == [
        "line 3, Bob",
        "line 4, carol",
    ]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("add", "Alice"), "login 'Alice': use lower-case"),
        (("add", "112"), "login '112': this is an emergency number"),
        (("show", "nobody"), "no account 'nobody' here; `ringmesh user list` shows"),
        (("remove", "nobody"), "no account 'nobody' here"),
    ],
)
def test_a_refusal_is_a_sentence_and_exit_code_1(
    capsys: Capture, tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    assert run(["user", *arguments, "--state", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"ringmesh: {sentence}")
    assert captured.err.count("\n") == 1


def test_a_damaged_database_is_named(capsys: Capture, tmp_path: Path) -> None:
    (tmp_path / "ringmesh.db").write_bytes(b"not a database at all" * 100)
    assert run(["user", "list", "--state", str(tmp_path)]) == 1
    assert str(tmp_path / "ringmesh.db") in capsys.readouterr().err


def test_a_folder_in_use_without_an_answer_is_told(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two writers never meet on the storage, also while a node is just starting."""
    monkeypatch.setattr(reach, "STARTING_SECONDS", 0.05)
    with StateFolder.open(tmp_path).lock():
        assert run(["user", "add", "alice", "--state", str(tmp_path)]) == 3
    assert "in use, but no node answers on it yet" in capsys.readouterr().err
    assert not (tmp_path / "ringmesh.db").exists()


def test_a_second_node_on_the_same_state_is_one_line(tmp_path: Path) -> None:
    with StateFolder.open(tmp_path).lock():
        done = subprocess.run(
            [sys.executable, "-m", "node.cli.main", "up", "--state", str(tmp_path)],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"ringmesh: the state folder {tmp_path} is in use by process ")
    assert done.stderr.count("\n") == 1
