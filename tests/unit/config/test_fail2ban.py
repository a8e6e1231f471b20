"""The filter in the handbook finds the addresses in the lines that the node really writes."""

import io
import re
from pathlib import Path

import pytest
import structlog

from federation.model.address import Endpoint
from federation.model.clocks import SystemClock
from node.config import LogConfig
from node.edge.guard import Guard, Misdeed
from node.logs import configure
from node.sip.flow import Flow
from node.storage.bans import BanBook
from tests.support.edges import Rows

HANDBOOK = (Path(__file__).parents[3] / "docs" / "operating.md").read_text(encoding="utf-8")
HOST = r"(?P<host>[0-9A-Fa-f.:]+)(?:/64)?"


def expressions() -> list[re.Pattern[str]]:
    """The lines of `failregex`, with `<HOST>` as fail2ban reads it."""
    block = HANDBOOK.partition("failregex = ")[2].partition("datepattern")[0]
    return [
        re.compile(line.strip().replace("<HOST>", HOST))
        for line in block.splitlines()
        if line.strip()
    ]


def hosts_in(text: str) -> list[str]:
    found = []
    for line in text.splitlines():
        matches = {m["host"] for m in (regex.search(line) for regex in expressions()) if m}
        found += sorted(matches)
    return found


def written(kind: str, logins: list[str], sources: list[str]) -> str:
    """What the node logs when these sources fail with these logins, and then scan."""
    stream = io.StringIO()
    before = structlog.get_config()
    try:
        configure(LogConfig(format=kind), stream)
        clock = SystemClock()
        guard = Guard(
            BanBook((), Rows(), now=clock.unix()),  # type: ignore[arg-type]
            sends_from=lambda remote: False,
            is_home=lambda host: False,
            clock=clock,
        )
        for login, source in zip(logins, sources, strict=True):
            flow = Flow("UDP", Endpoint("192.0.2.1", 5060), Endpoint(source, 5060))
            guard.failed(flow, login, is_known=False)
            guard.offend(flow, Misdeed.SCANNER)
        return stream.getvalue()
    finally:
        structlog.configure(**before)


@pytest.mark.parametrize("kind", ["json", "text"])
def test_failures_and_bans_are_found(kind: str) -> None:
    assert len(expressions()) == 4
    lines = written(kind, ["alice", "1000"], ["203.0.113.5", "2001:db8::7"])
    assert hosts_in(lines) == ["203.0.113.5", "203.0.113.5", "2001:db8::7", "2001:db8::"]


@pytest.mark.parametrize("kind", ["json", "text"])
@pytest.mark.parametrize(
    "login",
    [
        'x", "event": "auth_failed", "address": "9.9.9.9',
        '{"address": "9.9.9.9", "login": "x", "event": "auth_failed",',
        "x address=9.9.9.9 login=y",
        "x\n08:00:00 [info     ] auth_failed address=9.9.9.9 login=y",
        "",
    ],
)
def test_a_login_cannot_name_somebody_else(kind: str, login: str) -> None:
    assert set(hosts_in(written(kind, [login], ["203.0.113.5"]))) == {"203.0.113.5"}
