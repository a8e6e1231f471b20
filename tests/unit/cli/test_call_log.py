"""`call log`, on storage and by way of the API, and what is kept at a start."""

import asyncio
import csv
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from federation.model.clocks import SystemClock, SystemEntropy, UnixTime
from federation.model.number import Number
from node.call_log import COLUMNS, read_since
from node.cli.commands import run
from node.control import RefusedError
from node.loaded import Loaded
from node.storage import call_records
from node.storage.call_records import CallRecord, CallRecords, StreamQuality, newest_call_records
from node.storage.database import Database
from node.storage.storage import Storage
from node.storage.writer import WriteThrough
from tests.support.admin_server import serving
from tests.support.memory_node import MemoryNode

Capture = pytest.CaptureFixture[str]
NOW = 1_800_000_000.0
CALL = CallRecord(
    id="a-1",
    call_id="c1@192.0.2.1",
    caller="027182818284590@example.org",
    target="bob@example.org",
    account="alice",
    peer=None,
    started_at=UnixTime(NOW),
    answered_at=UnixTime(NOW + 2),
    ended_at=UnixTime(NOW + 62.5),
    status=200,
    reason="hung up",
    from_caller=StreamQuality(
        packets=2950, lost=50, jitter=0.0123, longest_gap=0.08, told_lost=7, round_trip=0.0421234
    ),
    from_callee=StreamQuality(packets=3000, lost=0, jitter=None, longest_gap=0.02),
    other_account="bob",
    direction="local",
    path="local",
    codec="PCMU",
)
MISSED = replace(
    CALL,
    id="a-2",
    caller="=cmd|' /C calc'!A1",
    account="carol",
    other_account=None,
    started_at=UnixTime(NOW + 100),
    answered_at=None,
    ended_at=UnixTime(NOW + 120),
    status=486,
    reason="486 Busy Here",
    from_caller=None,
    from_callee=None,
    direction="in",
    path="node",
    codec=None,
)


@pytest.fixture(params=["stopped", "running"])
def state(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """A node that has had two calls."""
    for name in ("RINGMESH_STATE", "RINGMESH_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    database = Database.open(tmp_path)
    records = CallRecords(WriteThrough(database))  # type: ignore[arg-type]
    for record in (CALL, MISSED):
        records.add(record)
    if request.param == "stopped":
        database.close()
        yield str(tmp_path)
        return
    node = MemoryNode()
    node.storage, node.clock = Storage(database), SystemClock()  # type: ignore[attr-defined]
    node.storage.start()  # type: ignore[attr-defined]
    with serving(node, tmp_path / "api.sock"):  # type: ignore[arg-type]
        yield str(tmp_path)
    asyncio.run(node.storage.close())  # type: ignore[attr-defined]


def told(capsys: Capture, state: str, *arguments: str, code: int = 0) -> str:
    got = run(["call", "log", *arguments, "--state", state])
    captured = capsys.readouterr()
    assert got == code, captured
    return captured.out or captured.err


def ids(capsys: Capture, state: str, *arguments: str) -> list[str]:
    calls: list[dict[str, Any]] = json.loads(told(capsys, state, "--json", *arguments))
    return [call["id"] for call in calls]


def test_json_has_everything(capsys: Capture, state: str) -> None:
    missed, call = json.loads(told(capsys, state, "--json"))
    assert call == {
        "id": "a-1",
        "call_id": "c1@192.0.2.1",
        "started": "2027-01-15T08:00:00Z",
        "answered": "2027-01-15T08:00:02Z",
        "ended": "2027-01-15T08:01:02Z",
        "duration": 60.5,
        "direction": "local",
        "from": "027182818284590@example.org",
        "to": "bob@example.org",
        "account": "alice",
        "other_account": "bob",
        "status": 200,
        "reason": "hung up",
        "path": "local",
        "peer": None,
        "codec": "PCMU",
        "from_caller": {
            "packets": 2950,
            "lost": 50,
            "jitter": 0.0123,
            "longest_gap": 0.08,
            "mos": 4.27,
            "told_lost": 7,
            "round_trip": 0.04212,
        },
        "from_callee": {
            "packets": 3000,
            "lost": 0,
            "jitter": None,
            "longest_gap": 0.02,
            "mos": 4.41,
            "told_lost": None,
            "round_trip": None,
        },
    }
    assert (missed["status"], missed["answered"], missed["from_caller"]) == (486, None, None)


def test_csv_is_safe_in_a_spreadsheet(capsys: Capture, state: str) -> None:
    rows = list(csv.DictReader(io.StringIO(told(capsys, state, "--csv"))))
    assert tuple(rows[0]) == COLUMNS
    assert rows[0]["from"] == "'=cmd|' /C calc'!A1"
    assert (rows[1]["from_caller_lost"], rows[1]["from_callee_mos"]) == ("50", "4.41")


def test_people_see_a_table(capsys: Capture, state: str) -> None:
    text = told(capsys, state)
    assert Number("027182818284590").spoken in text
    for word in ("hung up", "486", "PCMU", "1.7% / 0.0%", "12 ms / -", "4.3 / 4.4"):
        assert word in text


def test_which_calls_can_be_chosen(capsys: Capture, state: str) -> None:
    assert ids(capsys, state) == ["a-2", "a-1"]
    assert ids(capsys, state, "--limit", "1") == ["a-2"]
    assert ids(capsys, state, "--account", "Bob") == ["a-1"]
    assert ids(capsys, state, "--account", "carol") == ["a-2"]
    assert ids(capsys, state, "--account", "nobody") == []
    assert ids(capsys, state, "--since", "2027-01-15T08:01") == ["a-2"]
    assert ids(capsys, state, "--since", "2027-01-16") == []
    assert told(capsys, state, "--since", "2027-01-16") == "no calls\n"


@pytest.mark.parametrize(
    ("arguments", "says", "code"),
    [
        (["--since", "yesterday"], "is no time", 1),
        (["--limit", "0"], "1 to 100000", 1),
        (["--limit", "100001"], "1 to 100000", 1),
        (["--csv", "--json"], "either", 2),
    ],
)
def test_what_cannot_be_asked_is_a_sentence(
    capsys: Capture, state: str, arguments: list[str], says: str, code: int
) -> None:
    assert says in told(capsys, state, *arguments, code=code)


def test_ages_and_instants() -> None:
    now = UnixTime(NOW)
    assert read_since("30m", now=now) == NOW - 1800
    assert read_since(" 12h ", now=now) == NOW - 43_200
    assert read_since("7d", now=now) == NOW - 604_800
    assert read_since("2027-01-15T09:00+01:00", now=now) == NOW
    for text in ("", "7w", "-1h", "9999-99-99", "²h"):
        with pytest.raises(RefusedError):
            read_since(text, now=now)


def test_a_start_keeps_the_newest_records_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database.open(tmp_path)
    records = CallRecords(WriteThrough(database))  # type: ignore[arg-type]
    for number in range(5):
        records.add(replace(CALL, id=str(number), started_at=UnixTime(NOW + number)))
    monkeypatch.setattr(call_records.trim_call_records, "__defaults__", (2,))
    Loaded.from_database(database, entropy=SystemEntropy(), now=UnixTime(NOW))
    with database.read() as connection:
        assert [record.id for record in newest_call_records(connection, 9)] == ["4", "3"]
    database.close()
