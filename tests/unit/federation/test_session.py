"""The rules of one link, without a network."""

import pytest

from federation import session
from federation.codec import encode
from federation.messages import (
    Cancel,
    Frame,
    Goodbye,
    Hello,
    LinkError,
    Ping,
    Pong,
    Request,
    Response,
    StreamError,
)
from federation.model.clocks import Monotonic
from federation.session import LinkSession
from federation.session_effects import (
    Close,
    Leaving,
    Received,
    ResetStream,
    StreamEnded,
    Up,
    Write,
)

HELLO = Hello(domains=("example.org",))
REQUEST = Request(txn=b"t" * 16, sip=b"INVITE sip:b SIP/2.0")
RINGING = Response(txn=b"t" * 16, seq=1, sip=b"SIP/2.0 180 R")


def at(seconds: float) -> Monotonic:
    return Monotonic(seconds)


def write(stream: int, *frames: Frame, end: bool = False) -> Write:
    return Write(stream, b"".join(map(encode, frames)), end)


def acceptor() -> LinkSession:
    link = LinkSession(is_dialler=False, hello=HELLO, now=at(0))
    assert link.stream_data(0, encode(HELLO), False, now=at(0)) == [write(0, HELLO), Up(HELLO)]
    return link


def dialler() -> LinkSession:
    link = LinkSession(is_dialler=True, hello=HELLO, now=at(0))
    assert link.begin(now=at(0)) == [write(0, HELLO)]
    assert link.stream_data(0, encode(HELLO), False, now=at(0)) == [Up(HELLO)]
    return link


def test_stream_ids_follow_quic() -> None:
    for link, ids in ((dialler(), [4, 8]), (acceptor(), [1, 5])):
        got = [link.open_stream((REQUEST,), end=False, now=at(0))[0] for _ in ids]
        assert got == ids


def test_what_the_acceptor_says_before_its_hello_arrives_is_kept_in_order() -> None:
    link = LinkSession(is_dialler=True, hello=HELLO, now=at(0))
    link.begin(now=at(0))
    data = encode(REQUEST)
    assert link.stream_data(1, data[:9], False, now=at(0)) == []
    assert link.stream_data(1, data[9:], True, now=at(0)) == []
    assert link.stream_data(0, encode(HELLO), False, now=at(0)) == [
        Up(HELLO),
        Received(1, REQUEST),
    ]


def test_what_comes_before_the_hello_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MAX_EARLY_BYTES", 100)
    link = LinkSession(is_dialler=True, hello=HELLO, now=at(0))
    link.begin(now=at(0))
    effects = link.stream_data(1, bytes(101), False, now=at(0))
    assert effects == [Close(LinkError.FLOODING, "too much before the hello")]


def test_no_hello_in_time_closes() -> None:
    link = LinkSession(is_dialler=False, hello=HELLO, now=at(0))
    assert link.handle_timer(now=at(session.HELLO_TIMEOUT - 0.1)) == []
    assert link.next_timer() == session.HELLO_TIMEOUT
    assert link.handle_timer(now=at(session.HELLO_TIMEOUT)) == [Close(LinkError.SILENT, "no hello")]
    assert link.next_timer() is None


def test_a_stream_that_was_given_up_swallows_what_was_under_way() -> None:
    link = acceptor()
    link.stream_data(4, encode(REQUEST), False, now=at(0))
    assert link.reset(4, StreamError.REFUSED) == [ResetStream(4, StreamError.REFUSED)]
    late = encode(Cancel(txn=REQUEST.txn))
    assert link.stream_data(4, late, True, now=at(0)) == []
    assert link.exchange_count == 0
    assert link.reset(4, StreamError.REFUSED) == []


def test_an_exchange_ends_when_both_sides_have_ended_it() -> None:
    link = dialler()
    stream, _ = link.open_stream((REQUEST,), end=False, now=at(0))
    final = Response(txn=REQUEST.txn, seq=1, sip=b"SIP/2.0 200 OK")
    assert link.stream_data(stream, encode(final), True, now=at(0)) == [
        Received(stream, final),
        StreamEnded(stream, StreamError.NONE),
    ]
    assert link.exchange_count == 1
    assert link.send(stream, None, end=True, now=at(0)) == [Write(stream, b"", True)]
    assert link.exchange_count == 0
    assert link.send(stream, None, end=True, now=at(0)) == []


def test_a_reset_by_the_peer_ends_an_exchange_with_its_reason() -> None:
    link = dialler()
    stream, _ = link.open_stream((REQUEST,), end=False, now=at(0))
    assert link.stream_reset(stream, int(StreamError.GONE)) == [
        ResetStream(stream, StreamError.NONE),
        StreamEnded(stream, StreamError.GONE),
    ]
    assert link.stream_reset(stream, 12345) == []


@pytest.mark.parametrize(("link", "interval"), [(dialler(), 20.0), (acceptor(), 25.0)])
def test_silence_earns_a_ping_and_then_the_end(link: LinkSession, interval: float) -> None:
    assert link.next_timer() == interval
    assert link.handle_timer(now=at(interval)) == [write(0, Ping(1))]
    assert link.next_timer() == interval + session.PING_TIMEOUT
    assert link.handle_timer(now=at(interval + session.PING_TIMEOUT)) == [
        Close(LinkError.SILENT, "no pong")
    ]


def test_one_ping_serves_both_sides() -> None:
    link = acceptor()
    assert link.stream_data(0, encode(Ping(7)), False, now=at(20)) == [write(0, Pong(7))]
    assert link.handle_timer(now=at(25)) == []
    assert link.next_timer() == 45.0


def test_a_pong_measures_the_way() -> None:
    link = dialler()
    link.handle_timer(now=at(20))
    assert link.stream_data(0, encode(Pong(9)), False, now=at(20.1)) == []
    assert link.rtt is None
    assert link.stream_data(0, encode(Pong(1)), False, now=at(20.2)) == []
    assert link.rtt == pytest.approx(0.2)
    assert link.next_timer() == pytest.approx(40.2)


def test_with_exchanges_open_silence_is_noticed_sooner() -> None:
    link = dialler()
    link.open_stream((REQUEST,), end=False, now=at(0))
    assert link.next_timer() == session.BUSY_PING_INTERVAL


def test_suspicion_pings_at_once_with_less_patience() -> None:
    link = dialler()
    assert link.probe(now=at(1)) == [write(0, Ping(1))]
    assert link.probe(now=at(1)) == []
    assert link.next_timer() == 1 + session.PROBE_TIMEOUT


def test_an_unused_link_is_closed_and_pings_are_no_use() -> None:
    link, now = dialler(), 0.0
    while True:
        timer = link.next_timer()
        assert timer is not None
        now = timer
        effects = link.handle_timer(now=timer)
        if isinstance(effects[0], Close):
            break
        number = int(effects[0].data[-1])  # type: ignore[union-attr]
        link.stream_data(0, encode(Pong(number)), False, now=timer)
    assert (now, effects) == (session.IDLE_TIMEOUT, [Close(LinkError.IDLE, "not used")])


def test_goodbye_is_said_and_heard() -> None:
    assert dialler().goodbye("bye") == [write(0, Goodbye("bye"))]
    assert acceptor().stream_data(0, encode(Goodbye("bye")), False, now=at(1)) == [Leaving("bye")]
    silent = LinkSession(is_dialler=False, hello=HELLO, now=at(0))
    assert silent.goodbye("bye") == []


@pytest.mark.parametrize("data", [encode(RINGING), encode(REQUEST)], ids=["response", "request"])
def test_the_control_stream_is_for_control(data: bytes) -> None:
    (effect,) = acceptor().stream_data(0, data, False, now=at(1))
    assert isinstance(effect, Close)
    assert effect.error is LinkError.MALFORMED


def test_frames_on_one_exchange_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MAX_STREAM_FRAMES", 3)
    link = dialler()
    stream, _ = link.open_stream((REQUEST,), end=False, now=at(0))
    effects = link.stream_data(stream, encode(RINGING) * 4, False, now=at(0))
    assert effects[-1] == Close(LinkError.FLOODING, "too many frames on a stream")
    assert len(effects) == 4


def test_a_dripping_first_frame_has_a_budget() -> None:
    """Progress every second keeps the pause rule content, not the budget."""
    link = acceptor()
    data = encode(REQUEST)
    for second in range(int(session.FIRST_FRAME_BUDGET)):
        assert link.stream_data(4, data[second : second + 1], False, now=at(second)) == []
        link.handle_timer(now=at(second))
    assert ResetStream(4, StreamError.TOO_SLOW) in link.handle_timer(
        now=at(session.FIRST_FRAME_BUDGET)
    )
