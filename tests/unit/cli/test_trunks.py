"""`trunk` and `did` on the storage of a stopped node: what is said, and what stays."""

import json
from pathlib import Path

import pytest

from node.cli.commands import run
from node.storage.database import Database
from node.trunks.rows import load_trunk_book


def said(capsys: pytest.CaptureFixture[str], state: Path, *words: str) -> tuple[int, str, str]:
    """Exit code, output and complaint of a command."""
    code = run([*words, "--state", str(state)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err.removeprefix("ringmesh: ").strip()


def test_a_pbx_and_a_provider_from_beginning_to_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = said(
        capsys, tmp_path, "trunk", "add", "office", "--pbx", "--mode", "per-user", "--did",
        "+49 30 1234500", "--json",
    )  # fmt: skip
    sheet = json.loads(out)
    assert code == 0
    assert sheet["login"] == sheet["name"] == "office"
    assert len(sheet["password"]) >= 8
    assert len(sheet["number"]) == 15
    assert sheet["mode"] == "per-user"
    assert sheet["dids"] == ["+49301234500"]
    code, out, _ = said(
        capsys, tmp_path, "trunk", "add", "telco", "--provider", "--server",
        "a.example,b.example:5080", "--login", "u1", "--password", "hush hush", "--prefix",
        "00=+", "--did", "+49301234501=office*12", "--json",
    )  # fmt: skip
    assert code == 0
    assert "hush" not in out
    assert json.loads(out)["servers"] == ["a.example", "b.example:5080"]
    code, out, _ = said(capsys, tmp_path, "did", "list")
    assert out.split() == ["number", "leads", "to", "+49301234500", "office", "+49301234501",
                           "office*12"]  # fmt: skip
    said(capsys, tmp_path, "trunk", "set", "telco", "--max-calls", "5", "--priority", "3")
    database = Database.open(tmp_path)
    with database.read() as connection:
        book = load_trunk_book(connection)
    database.close()
    telco = book.get("telco")
    assert telco is not None
    assert telco.password == "hush hush"
    assert telco.settings.max_calls == 5
    code, out, _ = said(capsys, tmp_path, "trunk", "list")
    assert [line.split()[:2] for line in out.splitlines()[1:]] == [
        ["office", "pbx"], ["telco", "provider"],
    ]  # fmt: skip
    code, out, _ = said(capsys, tmp_path, "trunk", "remove", "office", "--json")
    assert json.loads(out) == {
        "removed": "office", "unmapped": ["+49301234500", "+49301234501"],
    }  # fmt: skip
    assert json.loads(said(capsys, tmp_path, "did", "list", "--json")[1]) == []
    assert "no account 'office'" in said(capsys, tmp_path, "user", "show", "office")[2]


def test_what_is_refused_says_why_and_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, tmp_path, "user", "add", "alice")
    said(capsys, tmp_path, "trunk", "add", "office", "--pbx")
    said(capsys, tmp_path, "did", "map", "+49301234500", "alice")
    before = said(capsys, tmp_path, "trunk", "list", "--json")[1]
    for words, sentence in (
        (
            "did map +49301234500 office",
            "number +49301234500 is mapped to alice already; first take it away with: "
            "ringmesh did unmap +49301234500",
        ),
        ("did map +49301234501 carol", "no account 'carol' here to map +49301234501 to"),
        ("did map +49301234501 alice*1", "alice is a user and has no extensions"),
        ("did map +49301234501 office*x", "extension 'x': use 1 to 16 digits"),
        ("did map 12345 alice", "number '12345': write it in international form"),
        ("did unmap +49301234599", "number +49301234599 is not mapped"),
        ("trunk add office --pbx", "trunk 'office': there is one already"),
        ("trunk add alice --pbx", "trunk 'alice': account alice is called by it already"),
        ("trunk add 112 --pbx", "this is an emergency number"),
        ("trunk add x --provider", "trunk x: --server is missing"),
        ("trunk add x --provider --server y --login z", "trunk x: --password is missing"),
        ("trunk add x --provider --server y --password z", "trunk x: --login is missing"),
        ("trunk add x --pbx --server y", "--server is for a trunk with --provider"),
        ("trunk add x --pbx --did +49301234500", "is mapped to alice already"),
        (
            "trunk add x --pbx --did +49301234511 --did +49301234511=x*1",
            "number +49301234511: --did names it twice",
        ),
        ("trunk add x --provider --server y --did +4930", "say where it leads"),
        ("trunk set office --max-calls -1", "--max-calls -1: use 1 to 100000"),
        ("trunk set nobody --max-calls 1", "no trunk 'nobody' here"),
        ("trunk remove nobody", "no trunk 'nobody' here"),
        ("trunk test office", "a trunk is tested by the running node"),
        ("user remove office", "office is a trunk"),
    ):
        code, _, complaint = said(capsys, tmp_path, *words.split())
        assert code == 1, words
        assert sentence in complaint, words
    assert said(capsys, tmp_path, "trunk", "list", "--json")[1] == before
    assert said(capsys, tmp_path, "trunk", "add", "x")[0] == 2
    assert said(capsys, tmp_path, "trunk", "set", "office")[0] == 2


def test_removing_a_user_unmaps_its_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, tmp_path, "user", "add", "alice")
    said(capsys, tmp_path, "did", "map", "+49301234500", "alice")
    said(capsys, tmp_path, "user", "remove", "alice")
    assert json.loads(said(capsys, tmp_path, "did", "list", "--json")[1]) == []
