"""What is remembered of calls: found by Call-ID, within bounds, the calls under way last to go."""

import pytest

from federation.model.address import Endpoint
from federation.model.clocks import Monotonic
from node.sip.flow import Flow
from node.tracing import traces
from node.tracing.tap import MAX_NOTED, RECEIVED, SENT, Noted, Tap, call_id_of
from node.tracing.traces import CallTraces

FLOW = Flow("UDP", Endpoint("192.0.2.1", 5060), Endpoint("192.0.2.9", 5062))


def invite(call: str, at: float = 0.0, size: int = 0) -> Noted:
    data = f"INVITE sip:bob@x SIP/2.0\r\nCall-ID: {call}\r\n\r\n".encode() + b"x" * size
    return Monotonic(at), RECEIVED, data, FLOW


def answer(call: str, status: int, at: float = 0.0) -> Noted:
    data = f"SIP/2.0 {status} X\r\nCall-ID: {call}\r\nCSeq: 1 INVITE\r\n\r\n".encode()
    return Monotonic(at), SENT, data, FLOW


def other(at: float) -> Noted:
    return Monotonic(at), RECEIVED, b"REGISTER sip:x SIP/2.0\r\nCall-ID: r\r\n\r\n", FLOW


@pytest.mark.parametrize(
    ("field", "found"),
    [
        (b"Call-ID: a@b", b"a@b"),
        (b"call-id:a@b", b"a@b"),
        (b"i : a@b", b"a@b"),
        (b"I:\ta@b ", b"a@b"),
        (b"Subject: Call-ID: no", b""),
    ],
)
def test_a_call_id_is_found_however_it_is_written(field: bytes, found: bytes) -> None:
    assert call_id_of(b"BYE sip:x SIP/2.0\r\nVia: v\r\n" + field + b"\r\n\r\nbody") == found


def test_messages_are_handed_over_in_order_and_once() -> None:
    got: list[Noted] = []
    tap = Tap(got.extend)
    first, second = invite("a"), answer("a", 180)
    tap.note(first)
    tap.note(second)
    tap.look()
    tap.look()
    assert got == [first, second]


def test_what_is_noted_between_two_looks_is_bounded() -> None:
    got: list[Noted] = []
    tap = Tap(got.extend)
    for number in range(MAX_NOTED + 10):
        tap.note(other(number))
    tap.look()
    assert (len(got), got[0][0]) == (MAX_NOTED, 10.0)


def test_a_call_is_found_by_its_call_id_alone() -> None:
    kept = CallTraces()
    kept.take([invite("a"), invite("ab"), answer("a", 180), answer("ab", 486), answer("a", 200)])
    found = kept.find("a")
    assert found is not None
    assert [noted[2][:11] for noted in found.messages] == [
        b"INVITE sip:", b"SIP/2.0 180", b"SIP/2.0 200",
    ]  # fmt: skip
    assert found.is_whole
    assert kept.find("b") is None


def test_what_falls_out_of_the_first_stage_is_still_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "RECENT_MESSAGES", 3)
    kept = CallTraces()
    kept.take([invite("a", 0.0), answer("a", 180, 0.1)])
    for at in range(11, 311, 15):
        kept.take([other(at)])
    kept.take([answer("a", 200, 311.0)])
    found = kept.find("a")
    assert found is not None
    assert [noted[0] for noted in found.messages] == [0.0, 0.1, 311.0]
    assert (found.is_whole, kept.dropped) == (True, 0)
    assert kept.usage["calls"] == 1, "what is no call takes no room in the second stage"


def test_a_busy_node_drops_unread_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "RECENT_MESSAGES", 3)
    kept = CallTraces()
    kept.take([invite("a", 0.0), invite("b", 0.1)])
    kept.take([answer("a", 180, 1.0), answer("b", 180, 1.0)])
    found = kept.find("a")
    assert found is not None
    assert ([noted[0] for noted in found.messages], found.is_whole) == ([1.0], False)
    assert kept.dropped == 2


def test_bytes_of_the_first_stage_and_of_a_message_are_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(traces, "RECENT_BYTES", 20_000)
    kept = CallTraces()
    for at in range(5):
        kept.take([invite(f"c{at}", at, size=60_000)])
    assert kept.usage["recent_bytes"] == 2 * traces.MESSAGE_BYTES
    found = kept.find("c4")
    assert found is not None
    assert len(found.messages[0][2]) == traces.MESSAGE_BYTES


def test_of_a_long_call_the_beginning_and_the_end_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(traces, "RECENT_MESSAGES", 0)
    monkeypatch.setattr(traces, "SORTED_AGE", 0.0)
    kept = CallTraces()
    kept.take([invite("a", 0.0), *(answer("a", 200, at) for at in range(1, 1000))])
    found = kept.find("a")
    assert found is not None
    times = [noted[0] for noted in found.messages]
    assert times[: traces.CALL_HEAD] == list(range(traces.CALL_HEAD))
    assert (times[-1], len(times)) == (999.0, traces.CALL_MESSAGES)
    assert found.left_out == 500


def test_room_is_made_by_what_nobody_took_then_by_what_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(traces, "RECENT_MESSAGES", 0)
    monkeypatch.setattr(traces, "SORTED_AGE", 0.0)
    monkeypatch.setattr(traces, "KEPT_CALLS", 20)
    kept = CallTraces(lambda: {"up"})
    kept.take([invite("up", 0), answer("up", 200, 0)])
    kept.take([invite("ended", 1), answer("ended", 200, 1)])
    for at in range(2, 100):
        kept.take([invite(f"scan{at}", at), answer(f"scan{at}", 403, at)])
    for call in ("up", "ended", "scan99"):
        assert kept.find(call) is not None, call
    assert kept.find("scan2") is None
    for at in range(100, 200):
        kept.take([invite(f"call{at}", at), answer(f"call{at}", 180, at)])
    assert kept.find("up") is not None
    assert kept.find("ended") is None
    assert kept.usage["calls"] <= 20
    assert kept.usage["call_bytes"] < 20 * 200


def test_bytes_of_the_second_stage_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "RECENT_MESSAGES", 0)
    monkeypatch.setattr(traces, "SORTED_AGE", 0.0)
    monkeypatch.setattr(traces, "KEPT_BYTES", 50_000)
    kept = CallTraces()
    for at in range(100):
        kept.take([invite(f"c{at}", at, size=4_000)])
    assert kept.usage["call_bytes"] <= 50_000
    assert kept.find("c99") is not None
