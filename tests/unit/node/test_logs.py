"""Log lines: their two forms, no secrets, and at most one a second of what strangers cause."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from federation.model.clocks import Monotonic
from node.config import LogConfig
from node.logs import RateLimit, configure, hide_secrets


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:], root.level = handlers, level


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_elsewhere_than_on_a_terminal_a_line_is_json() -> None:
    stream = io.StringIO()
    configure(LogConfig(), stream)
    structlog.get_logger("dht").info("peer_found", node=b"\x01\x02", call="x")
    (line,) = lines(stream)
    assert (line["event"], line["node"], line["call"], line["level"]) == (
        "peer_found",
        "0102",
        "x",
        "info",
    )
    assert "time" in line


def test_people_get_text() -> None:
    stream = io.StringIO()
    configure(LogConfig(format="text"), stream)
    structlog.get_logger("dht").info("peer_found", call="x")
    assert "peer_found" in stream.getvalue()
    assert "call=x" in stream.getvalue()
    assert "{" not in stream.getvalue()


def test_the_level_decides_what_is_written() -> None:
    stream = io.StringIO()
    configure(LogConfig(level="warning"), stream)
    structlog.get_logger().info("quiet")
    structlog.get_logger().warning("heard")
    logging.getLogger("aioquic").info("quiet")
    logging.getLogger("zeroconf").warning("quiet")
    logging.getLogger("asyncio").error("heard %s", "too")
    assert [line["event"] for line in lines(stream)] == ["heard", "heard too"]


def test_secrets_are_never_written() -> None:
    stream = io.StringIO()
    configure(LogConfig(), stream)
    structlog.get_logger().info("x", password="hunter2", Authorization="Digest 1", seed=b"abc")
    assert "hunter2" not in stream.getvalue()
    assert "Digest" not in stream.getvalue()
    assert "616263" not in stream.getvalue()


def test_a_long_value_is_shortened() -> None:
    event = hide_secrets(None, "info", {"event": "x", "text": "y" * 5000})
    assert len(event["text"]) < 600


def test_one_line_a_second_of_one_event_and_source() -> None:
    """The next line says how many were left out; other events and sources are their own."""
    limit = RateLimit()
    said = [
        limit.admit(event, source, now=Monotonic(now))
        for event, source, now in [
            ("bad", "a", 0.0),
            ("bad", "a", 0.1),
            ("bad", "b", 0.1),
            ("odd", "a", 0.1),
            ("bad", "a", 0.9),
            ("bad", "a", 1.0),
            ("bad", "a", 2.5),
        ]
    ]
    assert said == [0, None, 0, 0, None, 2, 0]


def test_the_sources_that_are_remembered_are_bounded() -> None:
    limit = RateLimit(table=2)
    for source in ("a", "b", "c"):
        limit.admit("bad", source, now=Monotonic(0.0))
    assert limit.admit("bad", "c", now=Monotonic(0.1)) is None
    assert limit.admit("bad", "a", now=Monotonic(0.1)) == 0


def test_all_sources_together_have_a_bound() -> None:
    """So forged sources cannot fill a disk."""
    limit = RateLimit(lines=2)
    sources = ("a", "b", "c")
    assert [limit.admit("bad", source, now=Monotonic(0.0)) for source in sources] == [0, 0, None]
    assert [limit.admit("bad", source, now=Monotonic(1.0)) for source in sources] == [0, 0, None]
    assert limit.admit("bad", "c", now=Monotonic(2.0)) == 0


def test_libraries_that_strangers_can_make_warn_are_not_heard() -> None:
    stream = io.StringIO()
    configure(LogConfig(), stream)
    logging.getLogger("quic").warning("[0a] Error: 376, reason: No common ALPN protocols")
    logging.getLogger("sqlalchemy").warning("heard")
    assert [line["event"] for line in lines(stream)] == ["heard"]


def test_the_field_limit_by_names_the_source() -> None:
    stream = io.StringIO()
    configure(LogConfig(), stream)
    log = structlog.get_logger()
    for _ in range(3):
        log.warning("garbage", limit_by="192.0.2.1")
    (line,) = lines(stream)
    assert line["source"] == "192.0.2.1"
    assert "limit_by" not in line
