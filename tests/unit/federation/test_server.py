"""One peer's requests to us, as a core."""

import pytest

from federation import server
from federation.messages import Request, Response, StreamError
from federation.model.clocks import Monotonic
from federation.model.errors import UsageError
from federation.server import (
    TRYING,
    Deliver,
    DeliverCancel,
    Dropped,
    RefuseStream,
    SendResponse,
    ServerEffect,
    ServerTransactions,
    StreamKey,
)

TXN = b"t" * 16
FIRST, SECOND = StreamKey(1, 4), StreamKey(2, 8)


def at(seconds: float) -> Monotonic:
    return Monotonic(100.0 + seconds)


def request(method: str = "INVITE", txn: bytes = TXN, last_seq: int = 0) -> Request:
    sip = f"{method} sip:bob@b SIP/2.0\r\n\r\n".encode()
    return Request(txn=txn, sip=sip, last_seq=last_seq)


def sip(status: int) -> bytes:
    return f"SIP/2.0 {status} X\r\n\r\n".encode()


def response(status: int, seq: int) -> Response:
    return Response(txn=TXN, seq=seq, sip=sip(status))


def ringing() -> ServerTransactions:
    """One INVITE, taken (seq 1) and ringing (seq 2)."""
    core = ServerTransactions()
    core.request(FIRST, request(), now=at(0))
    core.taken(TXN)
    core.respond(TXN, sip(180), now=at(1))
    return core


def due(core: ServerTransactions) -> tuple[float, list[ServerEffect]]:
    while (timer := core.next_timer()) is not None:
        effects = core.handle_timer(now=timer)
        if effects:
            return timer - 100.0, effects
    return float("inf"), []


def test_a_request_is_delivered_taken_and_answered() -> None:
    core = ServerTransactions()
    assert core.request(FIRST, request(), now=at(0)) == [Deliver(request())]
    trying = Response(txn=TXN, seq=1, sip=TRYING)
    assert core.taken(TXN) == [SendResponse(FIRST, trying, end=False)]
    assert core.taken(TXN) == []
    assert core.respond(TXN, sip(180), now=at(1)) == [
        SendResponse(FIRST, response(180, 2), end=False)
    ]
    assert core.respond(TXN, sip(200), now=at(2)) == [
        SendResponse(FIRST, response(200, 3), end=True)
    ]
    assert core.respond(TXN, sip(200), now=at(2)) == []
    assert core.open_count == 0


def test_a_request_answered_at_once_needs_no_100() -> None:
    core = ServerTransactions()
    core.request(FIRST, request(), now=at(0))
    core.respond(TXN, sip(404), now=at(0))
    assert core.taken(TXN) == []


def test_a_resend_is_not_delivered_and_gets_what_it_missed() -> None:
    core = ringing()
    core.detached(FIRST, now=at(2))
    assert core.respond(TXN, sip(183), now=at(3)) == []
    assert core.request(SECOND, request(last_seq=2), now=at(4)) == [
        SendResponse(SECOND, response(183, 3), end=False)
    ]
    assert core.respond(TXN, sip(200), now=at(5)) == [
        SendResponse(SECOND, response(200, 4), end=True)
    ]


def test_a_resend_may_overtake_the_loss_of_its_first_stream() -> None:
    core = ringing()
    core.request(SECOND, request(last_seq=2), now=at(2))
    core.detached(FIRST, now=at(3))
    assert core.respond(TXN, sip(200), now=at(4)) == [
        SendResponse(SECOND, response(200, 3), end=True)
    ]


def test_responses_are_repeated_for_32_seconds_after_the_final_one() -> None:
    core = ringing()
    core.respond(TXN, sip(200), now=at(2))
    late = at(2 + server.KEEP_RESPONSES - 0.1)
    assert core.handle_timer(now=late) == []
    assert core.request(SECOND, request(last_seq=1), now=late) == [
        SendResponse(SECOND, response(180, 2), end=False),
        SendResponse(SECOND, response(200, 3), end=True),
    ]
    assert core.request(SECOND, request(last_seq=3), now=late) == [
        RefuseStream(SECOND, StreamError.GONE)
    ]
    core.handle_timer(now=at(2 + server.KEEP_RESPONSES))
    assert len(core) == 0


def test_a_resend_of_something_unknown_is_refused_and_not_executed() -> None:
    core = ServerTransactions()
    assert core.request(FIRST, request(last_seq=1), now=at(0)) == [
        RefuseStream(FIRST, StreamError.GONE)
    ]


def test_a_cancel_is_delivered_once_and_only_while_it_matters() -> None:
    core = ringing()
    assert core.cancel(TXN, "why", now=at(2)) == [DeliverCancel(TXN, "why")]
    assert core.cancel(TXN, "why", now=at(2)) == []
    core.respond(TXN, sip(487), now=at(3))
    assert core.cancel(TXN, "why", now=at(3)) == []
    assert core.cancel(b"unknown".ljust(16), "", now=at(3)) == []
    other = request("OPTIONS", b"o" * 16)
    core.request(SECOND, other, now=at(3))
    assert core.cancel(other.txn, "", now=at(3)) == []


def test_an_invite_whose_link_is_gone_for_32_seconds_is_cancelled() -> None:
    core = ringing()
    core.link_gone(1, now=at(5))
    assert due(core) == (5 + server.ORPHAN_TIMEOUT, [DeliverCancel(TXN, "")])


def test_an_invite_whose_link_came_back_in_time_is_not() -> None:
    core = ringing()
    core.link_gone(1, now=at(5))
    core.request(SECOND, request(last_seq=2), now=at(30))
    assert due(core)[1] == []
    assert core.open_count == 1


def test_a_cancelled_invite_that_is_never_answered_is_dropped() -> None:
    core = ringing()
    core.cancel(TXN, "", now=at(2))
    assert due(core) == (
        2 + server.CANCELLED_TIMEOUT,
        [Dropped(TXN), RefuseStream(FIRST, StreamError.GONE)],
    )
    assert core.open_count == 0
    assert core.request(SECOND, request(), now=at(70)) == [RefuseStream(SECOND, StreamError.GONE)]
    core.handle_timer(now=at(200))
    assert len(core) == 0


def test_anything_but_an_invite_is_waited_for_32_seconds() -> None:
    core = ServerTransactions()
    core.request(FIRST, request("MESSAGE"), now=at(0))
    core.taken(TXN)
    assert due(core) == (
        server.REQUEST_TIMEOUT,
        [Dropped(TXN), RefuseStream(FIRST, StreamError.GONE)],
    )
    assert core.respond(TXN, sip(200), now=at(40)) == []


def test_open_requests_are_bounded() -> None:
    core = ServerTransactions()
    for number in range(server.MAX_OPEN):
        txn = number.to_bytes(16, "big")
        core.request(StreamKey(1, 4 * number), request(txn=txn), now=at(0))
    key = StreamKey(1, 4 * server.MAX_OPEN)
    assert core.request(key, request(txn=b"x" * 16), now=at(0)) == [
        RefuseStream(key, StreamError.REFUSED)
    ]
    core.respond((0).to_bytes(16, "big"), sip(200), now=at(1))
    assert core.request(key, request(txn=b"x" * 16), now=at(1)) == [Deliver(request(txn=b"x" * 16))]


def test_remembered_requests_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_REMEMBERED", 10)
    core = ServerTransactions()
    for number in range(10):
        txn = number.to_bytes(16, "big")
        core.request(StreamKey(1, 4 * number), request(txn=txn), now=at(0))
        core.respond(txn, sip(200), now=at(0))
    assert core.request(FIRST, request(), now=at(1)) == [RefuseStream(FIRST, StreamError.REFUSED)]


def test_kept_bytes_are_bounded_and_what_was_forgotten_is_not_executed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "MAX_KEPT_BYTES", 10 * len(sip(200)))
    core = ServerTransactions()
    for number in range(11):
        txn = number.to_bytes(16, "big")
        core.request(StreamKey(1, 4 * number), request(txn=txn), now=at(0))
        core.respond(txn, sip(200), now=at(0))
    oldest, next_one = (0).to_bytes(16, "big"), (1).to_bytes(16, "big")
    assert core.request(SECOND, request(txn=oldest), now=at(1)) == [
        RefuseStream(SECOND, StreamError.GONE)
    ]
    repeated = core.request(SECOND, request(txn=next_one), now=at(1))
    assert [type(effect) for effect in repeated] == [SendResponse]


def test_provisional_responses_are_bounded() -> None:
    core = ringing()
    for _ in range(server.MAX_KEPT_RESPONSES + 5):
        core.respond(TXN, sip(183), now=at(2))
    core.respond(TXN, sip(200), now=at(3))
    effects = core.request(SECOND, request(), now=at(4))
    assert len(effects) == server.MAX_KEPT_RESPONSES
    last = effects[-1]
    assert isinstance(last, SendResponse)
    assert last.end
    assert last.response.seq == server.MAX_KEPT_RESPONSES + 8


def test_a_further_2xx_continues_the_count_and_must_be_one() -> None:
    core = ringing()
    core.respond(TXN, sip(200), now=at(2))
    assert core.further(TXN, sip(200), ()).seq == 4
    assert core.further(TXN, sip(200), ()).seq == 5
    with pytest.raises(UsageError):
        core.further(TXN, sip(486), ())


def test_an_invite_whose_stream_is_reset_is_cancelled_at_once() -> None:
    """Who resets the stream of a request has given it up; a lost link comes without resets."""
    core = ringing()
    assert core.abandoned(FIRST, now=at(1)) == [DeliverCancel(TXN, "")]
    assert core.abandoned(FIRST, now=at(2)) == []
    assert core.cancel(TXN, "again", now=at(3)) == []
