"""Stream framing: whole messages, pings, and the ends of streams that cannot be followed."""

import pytest

from federation.model.clocks import Monotonic
from node.sip.framing import (
    MAX_GAP,
    MAX_HEAD_BYTES,
    MAX_MESSAGE_BYTES,
    MAX_MESSAGE_TIME,
    Framed,
    FramingEvent,
    FramingFailed,
    Ping,
    StreamFramer,
)
from tests.support.sip_exchange import request

NOW = Monotonic(0.0)
FIRST = request("MESSAGE", body=b"one\r\n\r\ntwo").encode()
SECOND = request("OPTIONS").encode()


def feed(*chunks: bytes) -> list[FramingEvent]:
    framer = StreamFramer()
    return [event for chunk in chunks for event in framer.receive(chunk, now=NOW)]


def headed(*lines: bytes) -> bytes:
    return b"\r\n".join((b"OPTIONS sip:a SIP/2.0", *lines, b"", b""))


def test_messages_come_whole_pipelined_and_byte_by_byte() -> None:
    stream = FIRST + SECOND + b"\r\n" + FIRST
    whole: list[FramingEvent] = [Framed(FIRST), Framed(SECOND), Framed(FIRST)]
    assert feed(stream) == whole
    assert feed(*(stream[i : i + 1] for i in range(len(stream)))) == whole


def test_two_line_ends_between_messages_are_a_ping_and_one_is_nothing() -> None:
    assert feed(b"\r\n\r\n") == [Ping()]
    assert feed(b"\r", b"\n", b"\r", b"\n") == [Ping()]
    assert feed(b"\r\n" + SECOND) == [Framed(SECOND)]
    assert feed(b"\r\n\r\n\r\n" + SECOND + b"\r\n\r\n") == [Ping(), Framed(SECOND), Ping()]


@pytest.mark.parametrize(
    "line",
    [b"Content-Length: 3", b"content-length:3", b"L : 3", b"l:\t 3 ", b"Content-Length:\r\n 3"],
)
def test_the_length_is_read_in_every_form(line: bytes) -> None:
    head = headed(b"Via: x", line, b"To: y")
    assert feed(head + b"abc" + SECOND) == [Framed(head + b"abc"), Framed(SECOND)]


def test_a_folded_line_is_no_length() -> None:
    head = headed(b"Subject: x", b" l: 7", b"Content-Length: 0")
    assert feed(head) == [Framed(head)]


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ((b"Via: x",), "Content-Length Required"),
        ((b"l: 1", b"Content-Length: 2"), "Two Content-Lengths"),
        ((b"l: -1",), "Bad Content-Length"),
        ((b"l: 1 2",), "Bad Content-Length"),
        ((b"l:",), "Bad Content-Length"),
        ((b"l: " + b"1" * 5000,), "Bad Content-Length"),
    ],
)
def test_a_message_without_one_clear_length_ends_the_stream(
    lines: tuple[bytes, ...], reason: str
) -> None:
    head = headed(*lines)
    assert feed(head + SECOND, SECOND) == [FramingFailed(400, reason, head)]


def test_what_does_not_begin_like_sip_ends_the_stream() -> None:
    for data in (b"\x16\x03\x01", b"\0", b"\r\nx\r\n\n"[:2] + b" "):
        assert feed(data, SECOND) == [FramingFailed(400, "Not SIP", b"")]


def test_size_is_bounded() -> None:
    endless = b"OPTIONS " + b"a" * (MAX_HEAD_BYTES - 9)
    assert feed(endless) == []
    assert feed(endless, b"a") == [FramingFailed(513, "Message Too Large", b"")]
    head = headed(b"Content-Length: %d" % MAX_MESSAGE_BYTES)
    assert feed(head) == [FramingFailed(513, "Message Too Large", head)]


def test_a_message_that_stands_still_is_given_up() -> None:
    framer = StreamFramer()
    assert framer.next_timer() is None
    framer.receive(b"\r\n", now=NOW)
    assert framer.next_timer() is None
    framer.receive(FIRST[:50], now=Monotonic(1.0))
    assert framer.next_timer() == 1 + MAX_GAP
    assert framer.handle_timer(now=Monotonic(1.0)) == []
    events = framer.handle_timer(now=Monotonic(1 + MAX_GAP))
    assert events == [FramingFailed(408, "Message Stood Still", b"")]
    assert framer.next_timer() is None
    assert framer.receive(FIRST, now=Monotonic(20.0)) == []


def test_a_message_that_trickles_is_given_up_too() -> None:
    framer = StreamFramer()
    for second in range(int(MAX_MESSAGE_TIME)):
        framer.receive(FIRST[second : second + 1], now=Monotonic(second))
    assert framer.next_timer() == MAX_MESSAGE_TIME


def test_time_starts_anew_with_each_message() -> None:
    framer = StreamFramer()
    framer.receive(FIRST[:50], now=NOW)
    framer.receive(FIRST[50:] + SECOND[:10], now=Monotonic(9.0))
    framer.receive(SECOND[10:20], now=Monotonic(18.0))
    framer.receive(SECOND[20:30], now=Monotonic(27.0))
    assert framer.next_timer() == 27 + MAX_GAP
    framer.receive(SECOND[30:], now=Monotonic(36.0))
    assert framer.next_timer() is None


def test_pings_in_a_row_are_one() -> None:
    assert feed(b"\r\n\r\n" * 50_000 + b"\r\n" + FIRST) == [Ping(), Framed(FIRST)]


def test_what_was_not_read_does_not_stand_still() -> None:
    framer = StreamFramer()
    framer.receive(FIRST[:10], now=Monotonic(0.0))
    framer.restart(Monotonic(MAX_MESSAGE_TIME))
    assert framer.handle_timer(now=Monotonic(MAX_MESSAGE_TIME + MAX_GAP - 0.1)) == []
    assert framer.handle_timer(now=Monotonic(MAX_MESSAGE_TIME + MAX_GAP)) != []
