"""`relay on|off|usage|candidates` on the command line and in the API."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.cli.commands import run
from tests.support.admin_server import serving
from tests.support.memory_node import MemoryNode

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def state(tmp_path: Path) -> Iterator[tuple[str, str]]:
    with serving(MemoryNode(), tmp_path / "api.sock"):
        yield "--state", str(tmp_path)


def test_on_usage_and_off(capsys: Capture, state: tuple[str, str]) -> None:
    assert run(["relay", "usage", *state]) == 0
    assert "for strangers  off" in capsys.readouterr().out
    limits = ("--kbit", "500", "--sessions", "4", "--gb-month", "1.5", "--hours", "08-22")
    assert run(["relay", "on", *limits, "--json", *state]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["strangers"] is True
    assert answer["limits"] == {"kbit": 500, "sessions": 4, "gb_month": 1.5, "hours": "08-22"}
    assert run(["relay", "usage", *state]) == 0
    shown = capsys.readouterr().out
    assert "0 of 500" in shown
    assert "0.012 of 1.5 GB" in shown
    assert run(["relay", "off", "--json", *state]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["strangers"] is False
    assert answer["limits"]["kbit"] == 500


def test_a_limit_that_cannot_be_is_named(capsys: Capture, state: tuple[str, str]) -> None:
    assert run(["relay", "on", "--kbit", "5", *state]) == 1
    assert "relay.kbit is 5, but must be a number from 64" in capsys.readouterr().err


def test_candidates_where_there_are_none(capsys: Capture, state: tuple[str, str]) -> None:
    assert run(["relay", "candidates", *state]) == 0
    assert "no node that is known relays for strangers" in capsys.readouterr().out
