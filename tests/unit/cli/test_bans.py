"""`ban`, `unban`, `bans`: on storage, and by way of a running node's API."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from federation.model.clocks import SystemClock, UnixTime
from node.ban_desk import BanDesk, read_seconds
from node.cli.commands import run
from node.control import RefusedError
from node.storage.bans import Ban, BanBook, load_bans
from node.storage.database import Database
from node.storage.storage import Storage
from node.storage.writer import WriteThrough
from tests.support.admin_server import serving
from tests.support.memory_node import MemoryNode

Capture = pytest.CaptureFixture[str]


class Line:
    """A command line on one state folder."""

    def __init__(self, capsys: Capture, state: Path) -> None:
        self._capsys = capsys
        self.state = state

    def __call__(self, *arguments: str, code: int = 0) -> str:
        got = run([*arguments, "--state", str(self.state)])
        captured = self._capsys.readouterr()
        assert got == code, captured
        return captured.out or captured.err

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json"))


@pytest.fixture(params=["stopped", "running"])
def line(
    request: pytest.FixtureRequest,
    capsys: Capture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Line]:
    for name in ("RINGMESH_STATE", "RINGMESH_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    database = Database.open(tmp_path)
    if request.param == "stopped":
        database.close()
        yield Line(capsys, tmp_path)
        return
    node: Any = MemoryNode()
    node.storage, clock = Storage(database), SystemClock()
    node.storage.start()
    book = BanBook((), node.storage, now=clock.unix())
    node.ban_desk = BanDesk(book, clock, own=lambda: {"192.0.2.7"})
    with serving(node, tmp_path / "api.sock"):
        yield Line(capsys, tmp_path)
    asyncio.run(node.storage.close())


def test_a_ban_from_its_making_to_its_end(line: Line) -> None:
    assert line("bans") == "nothing is banned\n"
    made = line.json("ban", "203.0.113.5", "--for", "12h", "--reason", "calls at night")
    assert (made["address"], made["port"], made["by"]) == ("203.0.113.5", None, "operator")
    assert made["reason"] == "calls at night"
    assert made["until"] > made["since"]
    assert line("ban", "2001:db8:1:2::3") == "2001:db8:1:2::/64 is banned until it is lifted\n"
    assert [ban["address"] for ban in line.json("bans")] == ["203.0.113.5", "2001:db8:1:2::/64"]
    table = line("bans")
    assert "calls at night" in table
    assert "by the operator" in table
    assert line.json("unban", "203.0.113.5") == {"address": "203.0.113.5", "lifted": 1}
    assert line("unban", "2001:db8:1:2::/64") == "2001:db8:1:2::/64 is heard again\n"
    assert line.json("bans") == []
    with Database.open(line.state).read() as connection:
        assert load_bans(connection) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["ban", "127.0.0.1"], "never banned"),
        (["ban", "::1"], "never banned"),
        (["ban", "example.org"], "no IP address"),
        (["ban", "203.0.113.0/24"], "no IP address"),
        (["ban", "203.0.113.5", "--for", "soon"], "is no time"),
        (["ban", "203.0.113.5", "--for", "0"], "cannot be the time"),
        (["ban", "203.0.113.5", "--for", "99999d"], "cannot be the time"),
        (["ban", "203.0.113.5", "--reason", "x" * 201], "one line"),
        (["unban", "203.0.113.5"], "is not banned"),
    ],
)
def test_what_cannot_be_is_a_sentence(line: Line, arguments: list[str], says: str) -> None:
    assert says in line(*arguments, code=1)
    assert line.json("bans") == []


def test_own_addresses_and_allowed_networks_are_refused(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RINGMESH_LIMITS_NEVER_BANNED", "203.0.113.0/24,198.51.100.9")
    Database.open(tmp_path).close()
    line = Line(capsys, tmp_path)
    for address in ("203.0.113.5", "198.51.100.9"):
        assert "never banned" in line("ban", address, code=1)
    line("ban", "198.51.100.8")
    clock = SystemClock()
    desk = BanDesk(
        BanBook((), WriteThrough(Database.open(tmp_path)), now=clock.unix()),  # type: ignore[arg-type]
        clock,
        own=lambda: {"192.0.2.7"},
    )
    with pytest.raises(RefusedError, match="never banned"):
        desk.ban("192.0.2.7")


def test_a_ban_that_is_over_is_not_listed(capsys: Capture, tmp_path: Path) -> None:
    database = Database.open(tmp_path)
    book = BanBook((), WriteThrough(database), now=UnixTime(0))  # type: ignore[arg-type]
    past = UnixTime(SystemClock().unix() - 100)
    ban = Ban(address="203.0.113.5", reason="x", by_operator=False, since=past, until=past)
    book.put(ban)
    database.close()
    assert Line(capsys, tmp_path).json("bans") == []


def test_times() -> None:
    assert [read_seconds(text) for text in ("90", "90s", "10m", "12h", "7d")] == [
        90,
        90,
        600,
        43_200,
        604_800,
    ]
