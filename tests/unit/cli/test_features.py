"""`user forward`, `user dnd` and `group`: on storage, and by way of a running node's API."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from federation.model.clocks import SystemClock, SystemEntropy
from federation.model.number import Number
from node.accounts.book import AccountBook
from node.accounts.keeper import AccountKeeper
from node.accounts.rows import load_accounts
from node.cli.commands import run
from node.feature_desk import FeatureDesk
from node.names import OwnNames
from node.phone_features import PhoneFeatures
from node.routing import TargetReader
from node.storage.database import Database
from node.storage.features import FeatureBook, load_features
from node.storage.ring_groups import RingGroups, load_ring_groups
from node.storage.storage import Storage
from tests.support.admin_server import serving
from tests.support.memory_node import KEY, MemoryNode

Capture = pytest.CaptureFixture[str]


class Line:
    """A command line on one state folder."""

    def __init__(self, capsys: Capture, state: Path) -> None:
        self._capsys = capsys
        self._state = str(state)

    def __call__(self, *arguments: str, code: int = 0) -> str:
        got = run([*arguments, "--state", self._state])
        captured = self._capsys.readouterr()
        assert got == code, captured
        return captured.out or captured.err

    def json(self, *arguments: str) -> Any:
        lines = self(*arguments, "--json").splitlines()
        while lines[0][:1] not in "[{":
            lines.pop(0)  # the served node's log
        return json.loads("\n".join(lines))


class ServedNode(MemoryNode):
    """Features and groups on a real database; the rest in memory."""

    def __init__(self, state: Path) -> None:
        super().__init__()
        database = Database.open(state)
        with database.read() as connection:
            accounts = AccountBook(load_accounts(connection))
            features, groups = load_features(connection), load_ring_groups(connection)
        self.storage = Storage(database)
        self.storage.start()
        self.keeper = AccountKeeper(
            accounts,
            self.storage,
            clock=SystemClock(),
            entropy=SystemEntropy(),
            domains=lambda: (),
        )
        names = OwnNames(KEY.id, domains=(), addresses=(), sip_port=5060)
        reader = TargetReader(names, accounts, emergency=frozenset({"112"}))
        desk = FeatureDesk(
            accounts,
            FeatureBook(features, self.storage),
            RingGroups(groups, self.storage),
            key_name=KEY.id.key_name,
            sheet=lambda account: {
                "login": account.login,
                "number": account.number,
                "extension": account.extension,
                "uri": [f"sip:{account.login}@{KEY.id.key_name}"],
            },
            read=lambda uri: reader.classify(uri, may_leave=True),
        )
        self.phone_features = PhoneFeatures(desk, self.keeper, self.storage)

    async def close(self) -> None:
        await self.keeper.close()
        await self.storage.close()


@pytest.fixture(params=["stopped", "running"])
def line(
    request: pytest.FixtureRequest,
    capsys: Capture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Line]:
    """A node with the users alice and bob."""
    for name in ("RINGMESH_STATE", "RINGMESH_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "users.csv").write_text("alice,,101\nbob\n")
    line = Line(capsys, tmp_path)
    line("user", "add", "--from", str(tmp_path / "users.csv"))
    if request.param == "stopped":
        yield line
        return
    node = ServedNode(tmp_path)
    with serving(node, tmp_path / "api.sock"):  # type: ignore[arg-type]
        yield line
    asyncio.run(node.close())


def test_forwarding_is_set_shown_changed_and_dropped(line: Line) -> None:
    answer = line.json("user", "forward", "alice", "--busy", "bob", "--no-answer", "bob")
    assert answer == {
        "login": "alice",
        "dnd": False,
        "forwarding": {"always": None, "busy": "bob", "no_answer": "bob", "after": 20},
    }
    line("user", "forward", "alice", "--no-answer", "bob", "--after", "30")
    shown = line("user", "forward", "alice")
    assert "when busy to bob" in shown
    assert "without an answer for 30 s to bob" in shown
    answer = line.json("user", "forward", "alice", "--off", "--always", "bob@example.org")
    assert answer["forwarding"] == {
        "always": "bob@example.org",
        "busy": None,
        "no_answer": None,
        "after": 30,
    }
    assert line("user", "forward", "alice", "--off") == "calls for alice: not forwarded\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nobody", "--always", "bob"], "no account 'nobody'"),
        (["alice", "--always", "alice"], "itself"),
        (["alice", "--always", "101"], "itself"),
        (["alice", "--always", "a b@@c"], "cannot be dialled"),
        (["alice", "--busy", " "], "a target is a number"),
        (["alice", "--no-answer", "bob", "--after", "0"], "1 to 300"),
        (["alice", "--no-answer", "bob", "--after", "301"], "1 to 300"),
        (["alice", "--after", "9"], "--no-answer TARGET"),
    ],
)
def test_what_cannot_be_forwarded_is_a_sentence(
    line: Line, arguments: list[str], says: str
) -> None:
    assert says in line("user", "forward", *arguments, code=1)
    assert line("user", "forward", "alice") == "calls for alice: not forwarded\n"


def test_do_not_disturb(line: Line) -> None:
    assert line("user", "dnd", "alice", "on") == "do not disturb is on for alice\n"
    assert line.json("user", "forward", "alice")["dnd"] is True
    assert line.json("user", "dnd", "alice", "off")["dnd"] is False
    line("user", "dnd", "alice", "maybe", code=2)


def test_a_group_from_its_making_to_its_end(line: Line) -> None:
    made = line.json("group", "add", "sales", "--members", "alice,bob", "--extension", "200")
    assert Number.fits(made["number"])
    assert (made["members"], made["mode"], made["ring"]) == (["alice", "bob"], "all", 20)
    assert made["uri"][0].startswith("sip:sales@")
    changed = line.json("group", "set", "sales", "--in-turn", "--ring", "15")
    assert (changed["members"], changed["mode"], changed["ring"]) == (
        ["alice", "bob"],
        "in-turn",
        15,
    )
    assert line.json("group", "set", "sales", "--members", "bob")["members"] == ["bob"]
    assert "in turn, 15 s each" in line("group", "list")
    assert line.json("group", "show", "sales")["number"] == made["number"]
    assert "bob" in line("group", "show", "sales")
    assert line.json("group", "remove", "sales") == {"removed": "sales"}
    assert line.json("group", "list") == []


@pytest.mark.parametrize(
    ("arguments", "says", "code"),
    [
        (["add", "alice", "--members", "bob"], "there is one already", 1),
        (["add", "sales", "--members", "nobody"], "no account 'nobody'", 1),
        (["add", "sales", "--members", ","], "needs members", 1),
        (["add", "112", "--members", "bob"], "emergency", 1),
        (["add", "sales", "--members", "bob", "--ring", "500"], "1 to 300", 1),
        (["add", "sales", "--members", "bob", "--all", "--in-turn"], "either", 2),
        (["show", "alice"], "no group 'alice'", 1),
        (["remove", "sales"], "no group 'sales'", 1),
        (["set", "sales"], "say what to change", 2),
        (["add", "sales", "--members", ",".join(f"u{n}" for n in range(65))], "at most 64", 1),
    ],
)
def test_what_cannot_be_a_group_is_a_sentence(
    line: Line, arguments: list[str], says: str, code: int
) -> None:
    assert says in line("group", *arguments, code=code)
    assert line.json("group", "list") == []


def test_a_group_is_no_user_and_no_member_of_another(capsys: Capture, tmp_path: Path) -> None:
    line = Line(capsys, tmp_path)
    (tmp_path / "users.csv").write_text("alice\n")
    line("user", "add", "--from", str(tmp_path / "users.csv"))
    line("group", "add", "sales", "--members", "alice")
    assert [user["login"] for user in line.json("user", "list")] == ["alice"]
    for command in ("show", "passwd", "remove"):
        assert "ring group" in line("user", command, "sales", code=1)
    assert "is a group itself" in line("group", "add", "two", "--members", "sales", code=1)
    line("user", "forward", "sales", "--no-answer", "alice")
    assert "without an answer" in line("group", "show", "sales")
    line("group", "remove", "sales")
    line("user", "dnd", "alice", "on")
    line("user", "remove", "alice")
    with Database.open(tmp_path).read() as connection:
        assert (load_features(connection), load_ring_groups(connection)) == ([], [])


def test_only_a_running_node_knows_what_a_target_means(line: Line) -> None:
    """A service and an emergency number are refused where they are recognised."""
    stopped = not (Path(line._state) / "api.sock").exists()
    for target in ("echo", "112"):
        answer = line("user", "forward", "alice", "--always", target, code=0 if stopped else 1)
        assert stopped or "cannot be a target" in answer or "is a service" in answer
