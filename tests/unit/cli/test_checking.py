"""`config check`: all that a start would stumble over, told without a start."""

import json
from pathlib import Path

import pytest

from node.cli.commands import run
from node.state import StateFolder
from node.storage.schema import SCHEMA_VERSION
from tests.support.nodes_at_rest import everything_in, some_node
from tests.unit.storage.test_database import with_version

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RINGMESH_STATE", "RINGMESH_CONFIG"):
        monkeypatch.delenv(name, raising=False)


def complaint(capsys: Capture, state: Path, settings: str = "") -> str:
    file = state.parent / "ringmesh.toml"
    file.write_text(settings)
    assert run(["config", "check", "--config", str(file), "--state", str(state)]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    return said.err


def test_a_node_that_is_fine_stays_as_it_is(capsys: Capture, tmp_path: Path) -> None:
    """Also while it runs."""
    state = some_node(tmp_path / "state")
    before = everything_in(state)
    with StateFolder.open(state).lock():
        assert run(["config", "check", "--state", str(state), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["valid"] is True
    assert facts["schema"] == SCHEMA_VERSION
    assert facts["node_id"] == StateFolder(state).existing_node_key().id.text
    assert everything_in(state) == before


def test_what_is_not_there_yet_is_not_made(capsys: Capture, tmp_path: Path) -> None:
    assert run(["config", "check", "--state", str(tmp_path / "new")]) == 0
    assert capsys.readouterr().out == "fine\n"
    assert not (tmp_path / "new").exists()


def test_what_a_start_would_stumble_over(capsys: Capture, tmp_path: Path) -> None:
    state = some_node(tmp_path / "state")
    pem = tmp_path / "cert.pem"
    pem.write_text("no certificate")
    assert str(pem) in complaint(capsys, state, f'[tls]\ncertificate = "{pem}"\n')
    assert "asn" in complaint(capsys, state, '[dht]\nasn_map = "/nowhere/asn"\n')
    nowhere = f"postgresql:///ringmesh?host={tmp_path}"
    assert "cannot be reached" in complaint(capsys, state, f'[storage]\nurl = "{nowhere}"\n')
    with_version(state, "9999")
    assert "written by a newer version" in complaint(capsys, state)
    (state / "ringmesh.db").write_bytes(b"no database " * 100)
    assert "is damaged" in complaint(capsys, state)
    (state / "node.key").write_text("nonsense")
    assert "node.key is damaged" in complaint(capsys, state)
    file = tmp_path / "file"
    file.touch()
    assert "is a file: give a folder" in complaint(capsys, file)
    other = tmp_path / "other"
    other.mkdir()
    other.chmod(0o755)
    (other / "passwd").touch()
    assert "holds other files" in complaint(capsys, other)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:geheim@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u@h/d?password=geheim&x=1", "postgresql://u@h/d?password=***&x=1"),
        ("postgresql:///d?host=/run", "postgresql:///d?host=/run"),
    ],
)
def test_a_password_is_not_shown(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, url: str, shown: str
) -> None:
    monkeypatch.setenv("RINGMESH_STORAGE_URL", url)
    assert run(["config", "show", "--json"]) == 0
    said = capsys.readouterr().out
    assert json.loads(said)["storage"]["url"] == shown


def test_a_url_of_something_else_is_refused_unseen(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RINGMESH_STORAGE_URL", "mysql://u:geheim@h/d")
    assert run(["config", "check"]) == 1
    said = capsys.readouterr().err
    assert "RINGMESH_STORAGE_URL in the environment is 'mysql'" in said
    assert "geheim" not in said
