"""Our requests to one peer, as a core."""

import pytest

from federation import client
from federation.client import (
    AbandonStream,
    Accepted,
    Answered,
    ClientEffect,
    ClientState,
    ClientTransactions,
    Dial,
    EndStream,
    Failed,
    OpenStream,
    SendOnStream,
)
from federation.messages import Cancel, Request, Response, StreamError
from federation.model.clocks import Monotonic
from federation.model.errors import UsageError
from federation.ports import Failure

TXN = b"t" * 16
START = 100.0


class NoEntropy:
    def token(self, size: int) -> bytes:
        return bytes(size)


def at(seconds: float) -> Monotonic:
    return Monotonic(START + seconds)


def request(method: str = "INVITE", txn: bytes = TXN) -> Request:
    return Request(txn=txn, sip=f"{method} sip:bob@b SIP/2.0\r\n\r\n".encode())


def response(status: int, seq: int, txn: bytes = TXN) -> Response:
    return Response(txn=txn, seq=seq, sip=f"SIP/2.0 {status} X\r\n\r\n".encode())


def a_core(*, linked: bool = True) -> ClientTransactions:
    core = ClientTransactions(entropy=NoEntropy())
    if linked:
        core.link_up(now=at(0))
    return core


def due(core: ClientTransactions) -> tuple[float, list[ClientEffect]]:
    """Go to the next timer that does something."""
    while (timer := core.next_timer()) is not None:
        effects = core.handle_timer(now=timer)
        if effects:
            return timer - START, effects
    return float("inf"), []


def test_with_a_link_a_request_goes_out_at_once_and_ends_with_its_final_response() -> None:
    core = a_core()
    assert core.start(request(), now=at(0)) == [OpenStream(TXN, (request(),))]
    assert core.received(response(100, 1), now=at(1)) == [Accepted(TXN)]
    ringing, ok = response(180, 2), response(200, 3)
    assert core.received(ringing, now=at(2)) == [Answered(TXN, ringing)]
    assert core.received(ok, now=at(3)) == [Answered(TXN, ok), EndStream(TXN)]
    assert core.received(ok, now=at(3)) == []
    assert len(core) == 0
    assert due(core)[1] == []


def test_the_first_response_accepts_even_if_it_is_no_100() -> None:
    core = a_core()
    core.start(request(), now=at(0))
    busy = response(486, 1)
    assert core.received(busy, now=at(1)) == [Accepted(TXN), Answered(TXN, busy), EndStream(TXN)]


def test_without_a_link_it_waits_for_one() -> None:
    core = a_core(linked=False)
    assert core.start(request(), now=at(0)) == [Dial()]
    assert core.state(TXN) is ClientState.WAITING
    assert core.link_up(now=at(1)) == [OpenStream(TXN, (request(),))]


def test_without_a_link_it_ends_when_dialling_fails_or_takes_too_long() -> None:
    core = a_core(linked=False)
    core.start(request(), now=at(0))
    assert core.dial_failed(now=at(1.5)) == [Failed(TXN, Failure.UNREACHABLE)]
    core.start(request(), now=at(2))
    assert due(core) == (2 + client.FIRST_ANSWER_BUDGET, [Failed(TXN, Failure.UNREACHABLE)])


def test_a_silent_warm_link_is_dialled_anew_once_and_then_given_up() -> None:
    core = a_core()
    core.start(request(), now=at(0))
    assert due(core) == (client.ANSWER_TIMEOUT, [Dial()])
    assert core.link_up(now=at(3)) == [OpenStream(TXN, (request(),))]
    assert due(core) == (5.0, [AbandonStream(TXN), Failed(TXN, Failure.NO_ANSWER)])


def test_a_silent_warm_link_that_cannot_be_dialled_anew_ends_the_request() -> None:
    core = a_core()
    core.start(request(), now=at(0))
    due(core)
    assert core.dial_failed(now=at(3.5)) == [AbandonStream(TXN), Failed(TXN, Failure.NO_ANSWER)]


def test_an_answer_on_the_old_link_while_dialling_is_taken() -> None:
    core = a_core()
    core.start(request(), now=at(0))
    due(core)
    assert core.received(response(100, 1), now=at(2.5)) == [Accepted(TXN)]
    assert core.dial_failed(now=at(3.5)) == []
    assert core.state(TXN) is ClientState.ACCEPTED


def test_while_a_link_is_suspect_new_requests_wait_and_take_the_old_one_if_dialling_fails() -> None:
    core = a_core()
    core.start(request(), now=at(0))
    due(core)
    other = request(txn=b"u" * 16)
    assert core.start(other, now=at(2.1)) == [Dial()]
    effects = core.dial_failed(now=at(3.5))
    assert OpenStream(other.txn, (other,)) in effects


def test_a_link_that_dies_under_an_unanswered_request_is_dialled_twice_at_most() -> None:
    core = a_core()
    core.start(request(), now=at(0))
    for turn in range(client.MAX_REDIALS):
        assert core.link_down(now=at(turn)) == [Dial()]
        assert core.link_up(now=at(turn)) == [OpenStream(TXN, (request(),))]
    assert core.link_down(now=at(2)) == [Failed(TXN, Failure.NO_ANSWER)]


def test_an_accepted_request_is_resent_with_its_last_seq_and_nothing_comes_twice() -> None:
    core = a_core()
    core.start(request(), now=at(0))
    core.received(response(100, 1), now=at(1))
    core.received(response(180, 2), now=at(1))
    assert core.link_down(now=at(2)) == [Dial()]
    assert core.state(TXN) is ClientState.LOST
    assert core.link_up(now=at(5)) == [OpenStream(TXN, (request().resent_after(2),))]
    assert core.received(response(180, 2), now=at(5)) == []
    ok = response(200, 3)
    assert core.received(ok, now=at(5)) == [Answered(TXN, ok), EndStream(TXN)]


def test_an_accepted_request_outlives_its_link_for_32_seconds_of_redialling() -> None:
    core = a_core()
    core.start(request(), now=at(0))
    core.received(response(180, 1), now=at(0))
    core.link_down(now=at(10))
    core.dial_failed(now=at(11.5))
    dials = 0
    while core.state(TXN) is not None:
        when, effects = due(core)
        if effects == [Dial()]:
            dials += 1
            core.dial_failed(now=at(when + 1.5))
        else:
            assert effects == [Failed(TXN, Failure.LOST)]
            assert when == pytest.approx(10 + client.LINK_LOSS_TIMEOUT)
    assert 5 <= dials <= 12
    assert due(core)[1] == []


def test_redialling_backs_off() -> None:
    core = a_core()
    core.start(request(), now=at(0))
    core.received(response(180, 1), now=at(0))
    core.link_down(now=at(0))
    delays, when = [], 0.0
    for _ in range(7):
        core.dial_failed(now=at(when))
        then, effects = due(core)
        assert effects == [Dial()]
        delays.append(round(then - when, 4))
        when = then
    assert delays == [0.125, 0.25, 0.5, 1.0, 2.0, 2.0, 2.0]


def test_cancel_before_sending_ends_at_once() -> None:
    core = a_core(linked=False)
    core.start(request(), now=at(0))
    assert core.cancel(TXN, now=at(1)) == [Failed(TXN, Failure.CANCELLED)]
    assert core.link_up(now=at(2)) == []


def test_cancel_after_sending_follows_the_request_also_after_a_resend() -> None:
    core = a_core()
    core.start(request(), now=at(0))
    cancel = Cancel(txn=TXN, reason="why")
    assert core.cancel(TXN, "why", now=at(1)) == [SendOnStream(TXN, cancel)]
    assert core.cancel(TXN, "again", now=at(1)) == []
    core.received(response(100, 1), now=at(1.5))
    core.link_down(now=at(2))
    assert core.link_up(now=at(3)) == [OpenStream(TXN, (request().resent_after(1), cancel))]
    assert due(core) == (
        1 + client.CANCEL_TIMEOUT,
        [AbandonStream(TXN), Failed(TXN, Failure.CANCELLED)],
    )


def test_a_cancelled_request_that_cannot_be_delivered_ends_as_cancelled() -> None:
    core = a_core()
    core.start(request(), now=at(0))
    core.cancel(TXN, now=at(0.1))
    core.link_down(now=at(1))
    assert core.dial_failed(now=at(2)) == [Failed(TXN, Failure.CANCELLED)]


def test_only_an_invite_can_be_cancelled() -> None:
    core = a_core()
    core.start(request("OPTIONS"), now=at(0))
    assert core.cancel(TXN, now=at(1)) == []
    assert core.cancel(b"unknown" + bytes(9), now=at(1)) == []


def test_anything_but_an_invite_ends_after_32_seconds() -> None:
    core = a_core()
    core.start(request("MESSAGE"), now=at(0))
    core.received(response(100, 1), now=at(1))
    assert due(core) == (
        client.TRANSACTION_TIMEOUT,
        [AbandonStream(TXN), Failed(TXN, Failure.TIMEOUT)],
    )


def test_an_accepted_invite_may_ring_for_ever() -> None:
    core = a_core()
    core.start(request(), now=at(0))
    core.received(response(180, 1), now=at(1))
    assert due(core)[1] == []
    assert core.state(TXN) is ClientState.ACCEPTED


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (StreamError.REFUSED, Failure.OVERLOADED),
        (StreamError.GONE, Failure.LOST),
        (StreamError.NONE, Failure.LOST),
    ],
)
def test_a_stream_that_ends_without_a_final_response_ends_the_request(
    error: StreamError, reason: Failure
) -> None:
    core = a_core()
    core.start(request(), now=at(0))
    assert core.stream_ended(TXN, error, now=at(1)) == [AbandonStream(TXN), Failed(TXN, reason)]
    assert core.stream_ended(TXN, error, now=at(1)) == []


def test_no_more_than_the_limit_are_open() -> None:
    core = a_core()
    for number in range(client.MAX_OPEN):
        core.start(request(txn=number.to_bytes(16, "big")), now=at(0))
    one_more = request(txn=b"x" * 16)
    assert core.start(one_more, now=at(0)) == [Failed(one_more.txn, Failure.OVERLOADED)]
    assert len(core) == client.MAX_OPEN


def test_a_txn_is_used_once() -> None:
    core = a_core()
    core.start(request(), now=at(0))
    with pytest.raises(UsageError):
        core.start(request(), now=at(0))


def test_shutting_down_ends_everything() -> None:
    core = a_core()
    core.start(request(), now=at(0))
    assert core.shut_down() == [AbandonStream(TXN), Failed(TXN, Failure.SHUTDOWN)]


def test_timers_of_ended_requests_do_not_pile_up() -> None:
    core = a_core()
    for number in range(5 * client.MAX_OPEN):
        txn = number.to_bytes(16, "big")
        core.start(request("OPTIONS", txn), now=at(0))
        core.received(response(200, 1, txn), now=at(0))
    assert len(core._timers) <= 4 * client.MAX_OPEN + 1
