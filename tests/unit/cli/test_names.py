"""`pin`, `domain`, `dht stats` and `why`: output for people and programs, and exit codes."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from federation.model.clocks import UnixTime
from federation.model.identity import AccountKey, NodeKey
from federation.model.number import derive_number
from node.cli.commands import run
from node.cli.explaining import MAX_PEERS_SHOWN, MAX_RECORDS_SHOWN, explained
from node.sheet import ServedAt
from node.state import StateFolder
from node.storage.database import Database
from node.storage.pins import PinBook, PinKind, load_pins
from node.storage.writer import WriteThrough
from tests.support.admin_server import serving
from tests.support.memory_node import KEY, MemoryNode

Capture = pytest.CaptureFixture[str]
OLD, NEW = (NodeKey(bytes([n]) * 32).id for n in (1, 2))
NOW = UnixTime(1_800_000_000.0)


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RINGMESH_STATE", "RINGMESH_CONFIG", "RINGMESH_DOMAINS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RINGMESH_DNS_SERVERS", "127.0.0.1:9")  # nobody answers


@pytest.fixture
def node(tmp_path: Path) -> Iterator[MemoryNode]:
    memory = MemoryNode()
    with serving(memory, tmp_path / "api.sock"):
        yield memory


class Line:
    """A command line on one state folder."""

    def __init__(self, capsys: Capture, state: Path) -> None:
        self._capsys = capsys
        self._state = str(state)

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """What a command writes; its exit code must be `code`."""
        got = run([*arguments, "--state", self._state])
        captured = self._capsys.readouterr()
        assert got == code, captured
        assert (captured.err == "") is (captured.out != "")
        return captured.out or captured.err

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self(*arguments, "--json", code=code))


@pytest.fixture
def line(capsys: Capture, tmp_path: Path) -> Line:
    return Line(capsys, tmp_path)


def conflict_in(book: PinBook) -> None:
    book.check(PinKind.DOMAIN, "example.org", OLD, now=NOW)
    book.check(PinKind.DOMAIN, "example.org", NEW, now=NOW)


CONFLICT = f"""\
kind    name         key                since (UTC)       last seen         conflict
domain  example.org  {OLD.text[:16]}…  2027-01-15 08:00  2027-01-15 08:00  1 other key

example.org has a conflict; calls go to the pinned key or nowhere:
  pinned   {OLD.text}
  refused  {NEW.text} since 2027-01-15 08:00, last seen 2027-01-15 08:00
  to take the new key    ringmesh pin accept example.org
  to keep the pinned one ringmesh pin accept example.org {OLD.text}
"""


def see_and_settle(line: Line) -> None:
    """The same with a node that runs and one that is stopped."""
    assert line("pin", "list") == CONFLICT
    assert line.json("pin", "list")[0]["conflict"][0]["key"] == NEW.text
    assert line("pin", "accept", "example.org") == f"example.org is pinned to {NEW.text}\n"
    assert line.json("pin", "list")[0]["conflict"] == []
    assert "nothing to accept" in line("pin", "accept", "example.org", code=1)
    assert line("pin", "forget", "example.org").startswith("example.org is forgotten; ")
    assert line("pin", "list").startswith("nothing is pinned yet: ")
    assert "is not pinned; `ringmesh pin list`" in line("pin", "forget", "example.org", code=1)
    assert "'bob' cannot be pinned: give a number" in line("pin", "forget", "bob", code=1)
    assert "Missing argument" in line("pin", "forget", code=2)


def test_a_conflict_is_seen_and_settled_while_the_node_runs(line: Line, node: MemoryNode) -> None:
    conflict_in(node.pin_book)
    see_and_settle(line)


def test_a_conflict_is_seen_and_settled_while_the_node_is_stopped(
    line: Line, tmp_path: Path
) -> None:
    database = Database.open(tmp_path)
    conflict_in(PinBook([], WriteThrough(database)))
    database.close()
    see_and_settle(line)


def test_a_key_got_on_paper_is_pinned_before_the_first_call(line: Line, tmp_path: Path) -> None:
    StateFolder.open(tmp_path)
    key = AccountKey(bytes(32)).id
    number = derive_number(key)
    line("pin", "accept", number, key.text)
    database = Database.open(tmp_path)
    with database.read() as connection:
        (pin,) = load_pins(connection)
    database.close()
    assert (pin.name, pin.key) == (number, key)
    assert "is not the number of that key" in line(
        "pin", "accept", "020000000000001", key.text, code=1
    )


def add_and_remove(line: Line) -> None:
    """The same with a node that runs and one that is stopped."""
    assert line.json("domain", "list")[0] == {
        "domain": "conf.example",
        "source": "configuration",
        "proven": None,
        "lacks": None,
    }
    added = line("domain", "add", "Example.org")
    assert added.startswith("example.org is added: this node answers for it. Put these into its")
    assert f'_ringmesh.example.org.      3600 IN TXT "{KEY.id.text}"\n' in added
    assert "Then check them with: ringmesh domain verify example.org\n" in added
    assert "already" in line("domain", "add", "example.org", code=1)
    assert [each["source"] for each in line.json("domain", "list")] == ["configuration", "command"]
    told = line("domain", "verify", "example.org", code=1)
    assert told.startswith("example.org: no TXT record proves it; whether the node behind its")
    assert "    _ringmesh.example.org. TXT       " in told
    assert "comes from the configuration" in line("domain", "remove", "conf.example", code=1)
    assert line("domain", "remove", "example.org").startswith("example.org is removed. ")
    assert "no domain of this node" in line("domain", "remove", "example.org", code=1)
    assert "is no domain of this node" in line("domain", "verify", "example.org", code=1)
    assert "'x' will not do: give a domain name" in line("domain", "add", "x", code=1)


@pytest.mark.usefixtures("node")
def test_domains_come_and_go_while_the_node_runs(line: Line) -> None:
    add_and_remove(line)


def stopped_with_a_domain(tmp_path: Path) -> None:
    """As a node leaves its folder that was started with `--domain conf.example`."""
    folder = StateFolder.open(tmp_path)
    (tmp_path / "node.key").unlink(missing_ok=True)
    folder._write(tmp_path / "node.key", f"{_KEY} {_b32(KEY.seed)} {KEY.id.text}\n".encode())
    served = ServedAt(
        key_name=KEY.id.key_name,
        addresses=("192.0.2.7",),
        sip_port=5060,
        domains=("conf.example",),
        proven=1,
    )
    folder.keep_last_run(
        served.as_json() | {"mesh_port": 7070, "configured_domains": ["conf.example"]}
    )


_KEY = "ringmesh-node-key-1"


def _b32(raw: bytes) -> str:
    from base64 import b32encode

    return b32encode(raw).decode().rstrip("=").lower()


def test_domains_come_and_go_while_the_node_is_stopped(line: Line, tmp_path: Path) -> None:
    stopped_with_a_domain(tmp_path)
    add_and_remove(line)


def test_what_was_added_while_stopped_is_an_address_at_once(line: Line, tmp_path: Path) -> None:
    stopped_with_a_domain(tmp_path)
    before = line.json("user", "add", "alice")
    added = line.json("domain", "add", "example.org")
    assert (added["uri"], added["logins_without_hash"]) == (["sip:alice@example.org"], ["alice"])
    srv = next(each for each in added["dns"] if each["purpose"] == "other proof")
    assert srv["value"].startswith("0 0 7070 "), "the port of the last run"
    shown = line.json("user", "show", "alice")
    assert shown["uri"] == [before["uri"][0], "sip:alice@example.org", *before["uri"][1:]]
    assert shown["server"] == "conf.example", "the one that worked at the last run"
    line("user", "passwd", "alice")
    line("domain", "remove", "example.org")
    assert line.json("user", "show", "alice")["uri"] == before["uri"]
    assert line.json("domain", "add", "example.org")["without_hash"] == 0


@pytest.mark.parametrize("command", [("why", "echo"), ("dht", "stats")])
def test_without_a_node_the_exit_code_is_3(line: Line, command: tuple[str, ...]) -> None:
    assert line(*command, code=3).startswith("ringmesh: no node is running on ")


def test_a_folder_that_is_not_there_is_said(capsys: Capture, tmp_path: Path) -> None:
    for command in (("pin", "list"), ("domain", "list")):
        assert "there is no state folder" in Line(capsys, tmp_path / "no")(*command, code=1)


@pytest.mark.usefixtures("node")
def test_figures_that_this_version_does_not_know_are_shown_too(
    line: Line, node: MemoryNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def figures() -> Any:
        return {
            "contacts": 3,
            "clock_skew": -0.25,
            "reach": [{"family": 4, "serves": False, "confirmed": 1, "needed": 3}],
            "traffic": {"bytes_in": 7, "limited": 2},
            "buckets": [{"shared_bits": 2, "contacts": 1}],
            "lookups": {"Found": 2, "Later": 1},
            "lookup_times": {"count": 1, "p50": 0.0123, "p99": 0.0123, "longest": 1.5},
            "new_thing": {"inner_part": 5},
            "new_list": [{"a_b": True}],
        }

    monkeypatch.setattr(node, "dht", figures)
    assert line("dht", "stats").splitlines() == [
        "contacts              3",
        "buckets               1 contact at 2 shared bits",
        "lookups               found         2",
        "                      not found     0",
        "                      inconclusive  0",
        "                      Later         1",
        "clock of peers        250.0 ms behind ours (median)",
        "reached from outside  IPv4: only a client so far, 1 of 3 networks confirmed",
        "traffic               bytes in           7",
        "                      refused: too many  2",
        "time of lookups       half within 12.3 ms, 99 % within 12.3 ms, longest 1.5 s (1 of late)",
        "new thing             inner part  5",
        "new list              a b yes",
    ]


@pytest.mark.usefixtures("node")
def test_why_ends_with_the_verdict_and_its_exit_code(line: Line) -> None:
    assert line("why", "12345", code=1).splitlines() == [
        "target     12345",
        "read as    nothing that can be called from here",
        "verdict    a caller gets 404: nobody has this name or number",
    ]
    assert line.json("why", "12345", code=1)["status"] == 404
    assert "at most 1024 characters" in line("why", "1" * 1025, code=2)


def a_lookup(steps: int, records: int) -> dict[str, Any]:
    """A lookup as the API tells it, the last step with a record."""
    step = {
        "place": 0,
        "at": 0.001,
        "address": "192.0.2.1:7060",
        "node_id": None,
        "overlay_id": "ab" * 32,
        "answered": False,
        "contacts": 0,
        "records": 0,
        "refused": 0,
    }
    last = step | {"answered": True, "records": 1, "refused": 2, "contacts": 1}
    record = {
        "owner": OLD.text,
        "publisher": OLD.text,
        "issued": "2027-01-15T08:00:00Z",
        "expires": "2027-01-16T08:00:00Z",
        "believed": True,
        "verdict": "signed by its owner",
        "nodes": [],
        "addresses": ["192.0.2.1:7060"],
        "prefixes": [],
    }
    return {
        "record": "address",
        "label": "",
        "owner": OLD.text,
        "at": 0.0,
        "seconds": 0.01,
        "result": "found",
        "reason": None,
        "asked": steps,
        "hops": 2,
        "answered": 1,
        "agreed": False,
        "places": [{"place": "cd" * 32, "asked": steps, "answered": 1}],
        "steps": [*([step] * (steps - 1)), last],
        "steps_left_out": 7,
        "records": [record] * records,
        "records_left_out": 3,
    }


def an_answer(**changes: Any) -> dict[str, Any]:
    return {
        "target": "\x1b[2Jx",
        "reading": "a node",
        "proof": None,
        "lookups": [],
        "pins": [],
        "nodes": [],
        "devices": None,
        "status": 200,
        "reason": "there",
        "seconds": 0.01,
    } | changes


def test_what_is_told_is_bounded_and_whoever_had_records_stands_first() -> None:
    lines = list(explained(an_answer(lookups=[a_lookup(100, 20)])))
    texts = [text for _, text in lines]
    assert lines[0] == ("target", "?[2Jx")
    assert len(lines) == 6 + (MAX_PEERS_SHOWN + 1) + 3 * MAX_RECORDS_SHOWN
    peers = [text for text in texts if "192.0.2.1:7060  id abababab…" in text]
    assert "1 record, 2 refused as not valid, named 1 other" in peers[0]
    assert all("no answer" in peer for peer in peers[1:])
    assert f"  and {100 - MAX_PEERS_SHOWN + 7} more peers; --json has them" in texts
    assert f"and {20 - MAX_RECORDS_SHOWN + 3} more records; --json has them" in texts


def test_a_lookup_that_was_cut_off_says_so() -> None:
    cut = a_lookup(1, 0) | {"result": "cut off", "seconds": None, "steps": [], "steps_left_out": 0}
    texts = [text for _, text in explained(an_answer(lookups=[cut]))]
    assert "all lookups of a call together may take 4 s; this one was not done by then" in texts
