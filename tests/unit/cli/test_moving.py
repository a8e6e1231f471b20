"""`user export` and `user import` on stopped nodes, and what a running one is asked."""

import json
from pathlib import Path

import pytest

from node.cli.commands import run
from node.storage.database import DATABASE_FILE
from tests.support.sealed_files import PASSPHRASE

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RINGMESH_STATE", "RINGMESH_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RINGMESH_PASSPHRASE", PASSPHRASE)


def a_json(capsys: Capture, *arguments: object) -> dict[str, object]:
    assert run([*map(str, arguments), "--json"]) == 0, capsys.readouterr().err
    answer: dict[str, object] = json.loads(capsys.readouterr().out)
    return answer


def test_the_number_moves_with_the_key(capsys: Capture, tmp_path: Path) -> None:
    here, there, file = tmp_path / "here", tmp_path / "there", tmp_path / "alice"
    alice = a_json(capsys, "user", "add", "alice", "--extension", "101", "--state", here)
    exported = a_json(capsys, "user", "export", "alice", file, "--state", here)
    assert exported == {
        "file": str(file),
        "login": "alice",
        "number": alice["number"],
        "password": True,
    }
    assert file.stat().st_mode & 0o777 == 0o600
    arrived = a_json(capsys, "user", "import", file, "--state", there)
    assert (arrived["number"], arrived["extension"]) == (alice["number"], "101")
    assert "password" not in arrived
    assert arrived["uri"] != alice["uri"]
    assert run(["user", "import", str(file), "--state", str(there)]) == 1
    assert "this account is here already, as alice" in capsys.readouterr().err
    assert run(["user", "import", str(file), "--state", str(here)]) == 1
    assert "here already" in capsys.readouterr().err


def test_people_are_told_what_is_to_be_done(capsys: Capture, tmp_path: Path) -> None:
    here, there, file = str(tmp_path / "here"), str(tmp_path / "there"), str(tmp_path / "alice")
    assert run(["user", "add", "alice", "--state", here]) == 0
    capsys.readouterr()
    assert run(["user", "export", "alice", file, "--without-password", "--state", here]) == 0
    said = capsys.readouterr().out
    assert "ringmesh user import alice" in said
    assert "ringmesh user remove alice - until then calls for the number reach either node" in said
    assert run(["user", "import", file, "--login", "alice2", "--state", there]) == 0
    said = capsys.readouterr().out
    assert "password " in said
    assert "On the node it came from" in said


def test_what_cannot_be_exported_or_imported(capsys: Capture, tmp_path: Path) -> None:
    here, file = str(tmp_path / "here"), str(tmp_path / "file")

    def refuses(sentence: str, *arguments: str) -> None:
        assert run([*arguments, "--state", here]) == 1
        said = capsys.readouterr().err
        assert sentence in said
        assert len(said.splitlines()) == 1

    refuses("there is no state folder", "user", "export", "alice", file)
    assert run(["user", "add", "alice", "--state", here]) == 0
    assert run(["trunk", "add", "office", "--pbx", "--state", here]) == 0
    capsys.readouterr()
    refuses("no account 'bob' here", "user", "export", "bob", file)
    refuses("office is a trunk: only users move alone", "user", "export", "office", file)
    assert not Path(file).exists()
    assert run(["backup", file, "--state", here]) == 0
    capsys.readouterr()
    refuses("a whole node, which ringmesh restore reads", "user", "import", file)
    refuses("is there already", "user", "export", "alice", file)
    (tmp_path / "here" / DATABASE_FILE).unlink()
    refuses("there is no", "user", "export", "alice", str(tmp_path / "other"))
