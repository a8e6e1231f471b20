"""Server transactions: one sight of each request, answers repeated, everything ends."""

import pytest

from federation.model.address import Endpoint
from node.sip.effects import (
    AckArrived,
    CancelArrived,
    Effect,
    Malformed,
    RequestArrived,
    Send,
    ServerKey,
    TransactionEnded,
)
from node.sip.flow import Flow
from node.sip.message import Request, Response, parse_message
from node.sip.tables import TransactionLimits
from node.sip.transaction import RETRY_AFTER, TransactionLayer
from tests.support.sip_exchange import (
    ALICE,
    LOCAL,
    TCP,
    UDP,
    SeededEntropy,
    VirtualTime,
    only,
    request,
    response,
)


def a_layer(**limits: int) -> TransactionLayer:
    return TransactionLayer(entropy=SeededEntropy(), limits=TransactionLimits(**limits))


def arrive(
    layer: TransactionLayer, message: Request, time: VirtualTime, flow: Flow = UDP
) -> tuple[ServerKey, Request]:
    """Hand in a new request; return what the TU sees of it."""
    effects = layer.receive_data(message.encode(), flow, now=time.now)
    assert len(effects) == 1
    (arrived,) = only(effects, RequestArrived)
    return arrived.key, arrived.request


def sent(effects: list[Effect]) -> list[tuple[int, Flow]]:
    """Status and flow of each response sent."""
    found = []
    for effect in only(effects, Send):
        message = parse_message(effect.data)
        assert isinstance(message, Response)
        found.append((message.status, effect.flow))
    return found


def nothing_left(layer: TransactionLayer) -> bool:
    usage = layer.usage
    return (usage.unanswered, usage.requests, usage.lingering) == (0, 0, 0)


def test_the_tu_sees_a_request_once_and_its_answer_is_repeated_for_each_copy() -> None:
    layer, time = a_layer(), VirtualTime()
    data = request("OPTIONS").encode()
    key, seen = arrive(layer, request("OPTIONS"), time)
    assert layer.receive_data(data, UDP, now=time.now) == []
    first = layer.respond(key, response(seen, 200), now=time.now)
    assert sent(first) == [(200, UDP)]
    assert layer.receive_data(data, UDP, now=time.now) == first


def test_a_copy_that_differs_in_bytes_is_absorbed_by_branch() -> None:
    layer, time = a_layer(), VirtualTime()
    arrive(layer, request("OPTIONS"), time)
    again = request("OPTIONS", headers=[("X-Again", "1")])
    assert layer.receive_data(again.encode(), UDP, now=time.now) == []


@pytest.mark.parametrize(
    "other",
    [
        request("MESSAGE"),
        request("OPTIONS", branch="z9hG4bK-other"),
        request("OPTIONS", sent_by="192.0.2.10:5072"),
    ],
    ids=["method", "branch", "sent-by"],
)
def test_branch_sent_by_and_method_tell_transactions_apart(other: Request) -> None:
    """RFC 3261 section 17.2.3."""
    layer, time = a_layer(), VirtualTime()
    first, _ = arrive(layer, request("OPTIONS"), time)
    second, _ = arrive(layer, other, time)
    assert first != second


def test_where_a_request_came_from_is_noted_in_its_via() -> None:
    """RFC 3581: rport and received, whatever the sender wrote there."""
    layer, time = a_layer(), VirtualTime()
    _, seen = arrive(layer, request("OPTIONS", sent_by="10.0.0.5:5070"), time)
    assert seen.top_via.received == "192.0.2.10"
    assert seen.top_via.rport == 5070


def test_without_rport_the_response_goes_to_the_sent_by_port_of_the_source() -> None:
    layer, time = a_layer(), VirtualTime()
    message = request("OPTIONS", sent_by="10.0.0.5:5099", via_params="")
    key, seen = arrive(layer, message, time)
    answer = layer.respond(key, response(seen, 200), now=time.now)
    assert sent(answer) == [(200, Flow("UDP", LOCAL, Endpoint(ALICE.host, 5099)))]
    assert seen.top_via.received == "192.0.2.10"


def test_maddr_does_not_aim_responses_elsewhere() -> None:
    layer, time = a_layer(), VirtualTime()
    message = request("OPTIONS", via_params=";maddr=198.51.100.7")
    key, seen = arrive(layer, message, time)
    answer = layer.respond(key, response(seen, 200), now=time.now)
    assert [flow.remote.host for _, flow in sent(answer)] == ["192.0.2.10"]


def test_a_final_answer_to_non_invite_is_remembered_for_timer_j() -> None:
    layer, time = a_layer(), VirtualTime()
    key, seen = arrive(layer, request("OPTIONS"), time)
    layer.respond(key, response(seen, 200), now=time.now)
    assert layer.usage.lingering == 1
    assert time.fire_next_timer(layer) == [TransactionEnded(key)]
    assert time.elapsed == 32.0
    assert nothing_left(layer)


def test_over_tcp_a_final_answer_ends_a_non_invite_at_once() -> None:
    layer, time = a_layer(), VirtualTime()
    key, seen = arrive(layer, request("OPTIONS", transport="TCP"), time, TCP)
    effects = layer.respond(key, response(seen, 200), now=time.now)
    assert sent(effects) == [(200, TCP)]
    assert effects[-1] == TransactionEnded(key)
    assert nothing_left(layer)
    assert layer.next_timer() is None


def test_non_invite_gets_100_by_itself_but_only_late() -> None:
    """RFC 4320 section 4.1: when Timer E of the client reaches T2."""
    layer, time = a_layer(), VirtualTime()
    key, seen = arrive(layer, request("OPTIONS"), time)
    for provisional in (100, 180):
        assert layer.respond(key, response(seen, provisional), now=time.now) == []
    assert sent(time.fire_next_timer(layer)) == [(100, UDP)]
    assert time.elapsed == 3.5
    assert sent(layer.receive_data(request("OPTIONS").encode(), UDP, now=time.now)) == [(100, UDP)]


def test_non_invite_never_gets_408() -> None:
    """RFC 4320 section 4.2: nothing is sent, and a copy is no new request."""
    layer, time = a_layer(), VirtualTime()
    key, seen = arrive(layer, request("OPTIONS"), time)
    assert layer.respond(key, response(seen, 408), now=time.now) == []
    assert layer.usage.unanswered == 0
    assert layer.receive_data(request("OPTIONS").encode(), UDP, now=time.now) == []
    assert layer.respond(key, response(seen, 200), now=time.now) == []
    assert time.run(layer, 60) == [(32.0, TransactionEnded(key))]
    assert nothing_left(layer)


def test_non_invite_without_any_answer_ends_silently() -> None:
    """RFC 4320 section 4.2: a late answer is worth nothing to its client."""
    layer, time = a_layer(), VirtualTime()
    key, seen = arrive(layer, request("OPTIONS"), time)
    passed = time.run(layer, 60)
    assert sent([passed[0][1]]) == [(100, UDP)]
    assert passed[1:] == [(32.0, TransactionEnded(key))]
    assert layer.respond(key, response(seen, 200), now=time.now) == []
    assert nothing_left(layer)


def test_a_refused_invite_is_repeated_until_its_ack() -> None:
    """Timer G doubles up to T2; ACK ends it, and later copies are absorbed for Timer I."""
    layer, time = a_layer(), VirtualTime()
    invite = request()
    key, seen = arrive(layer, invite, time)
    layer.respond(key, response(seen, 100), now=time.now)
    layer.respond(key, response(seen, 486), now=time.now)
    repeats = time.run(layer, 8)
    assert [at for at, _ in repeats] == [0.5, 1.5, 3.5, 7.5]
    assert [sent([effect]) for _, effect in repeats] == [[(486, UDP)]] * 4
    ack = request("ACK", to_tag="bob")
    assert layer.receive_data(ack.encode(), UDP, now=time.now) == []
    assert layer.receive_data(ack.encode(), UDP, now=time.now) == []
    assert layer.receive_data(invite.encode(), UDP, now=time.now) == []
    assert time.run(layer, 60) == [(13.0, TransactionEnded(key))]
    assert nothing_left(layer)


def test_a_refused_invite_without_ack_ends_with_timer_h() -> None:
    layer, time = a_layer(), VirtualTime()
    key, seen = arrive(layer, request(), time)
    layer.respond(key, response(seen, 486), now=time.now)
    passed = time.run(layer, 60)
    assert passed[-1] == (32.0, TransactionEnded(key))
    assert len(passed) == 11
    assert nothing_left(layer)


def test_over_tcp_a_refusal_is_sent_once_and_its_ack_ends_it() -> None:
    layer, time = a_layer(), VirtualTime()
    key, seen = arrive(layer, request(transport="TCP"), time, TCP)
    assert sent(layer.respond(key, response(seen, 486), now=time.now)) == [(486, TCP)]
    assert time.run(layer, 20) == []
    ack = request("ACK", to_tag="bob", transport="TCP")
    assert layer.receive(ack, TCP, now=time.now) == [TransactionEnded(key)]
    assert nothing_left(layer)


def test_a_challenge_answered_once_is_not_multiplied() -> None:
    """RFC 3261 section 26.3.2.4: one response for one INVITE, however long the ACK stays out."""
    layer, time = a_layer(), VirtualTime()
    key, seen = arrive(layer, request(), time)
    assert sent(layer.respond_once(key, response(seen, 401), now=time.now)) == [(401, UDP)]
    assert sent(layer.receive_data(request().encode(), UDP, now=time.now)) == [(401, UDP)]
    assert time.run(layer, 60) == [(32.0, TransactionEnded(key))]


def test_an_accepted_invite_absorbs_copies_and_lets_every_2xx_and_ack_through() -> None:
    """RFC 6026: Accepted for Timer L; the callee repeats its 2xx, so does the TU."""
    layer, time = a_layer(), VirtualTime()
    key, seen = arrive(layer, request(), time)
    assert sent(layer.respond(key, response(seen, 200), now=time.now)) == [(200, UDP)]
    assert layer.receive_data(request().encode(), UDP, now=time.now) == []
    assert sent(layer.respond(key, response(seen, 200, tag="b2"), now=time.now)) == [(200, UDP)]
    assert layer.respond(key, response(seen, 486), now=time.now) == []
    ack = request("ACK", to_tag="bob")
    assert only(layer.receive(ack, UDP, now=time.now), AckArrived) == [AckArrived(ack, UDP)]
    assert time.run(layer, 60) == [(32.0, TransactionEnded(key))]
    assert layer.respond(key, response(seen, 200), now=time.now) == []
    assert nothing_left(layer)


def test_an_ack_that_matches_nothing_goes_to_the_tu() -> None:
    layer, time = a_layer(), VirtualTime()
    ack = request("ACK", to_tag="bob")
    assert layer.receive(ack, UDP, now=time.now) == [AckArrived(ack, UDP)]
    assert nothing_left(layer)


def test_cancel_gets_200_and_is_shown_with_the_key_of_its_invite() -> None:
    layer, time = a_layer(), VirtualTime()
    key, seen = arrive(layer, request(), time)
    cancel = request("CANCEL")
    effects = layer.receive_data(cancel.encode(), UDP, now=time.now)
    assert sent(effects) == [(200, UDP)]
    ((cancel_key, shown),) = [(e.key, e.request) for e in only(effects, CancelArrived)]
    assert (cancel_key, shown.method) == (key, "CANCEL")
    # a copy is answered alike and not shown
    again = layer.receive_data(cancel.encode(), UDP, now=time.now)
    assert again == effects[:1]
    assert sent(layer.respond(key, response(seen, 487), now=time.now)) == [(487, UDP)]
    layer.receive(request("ACK", to_tag="bob"), UDP, now=time.now)
    assert [e for _, e in time.run(layer, 60)] == [TransactionEnded(key)]
    assert nothing_left(layer)


def test_a_cancel_too_late_gets_200_and_changes_nothing() -> None:
    layer, time = a_layer(), VirtualTime()
    key, seen = arrive(layer, request(), time)
    layer.respond(key, response(seen, 200), now=time.now)
    effects = layer.receive(request("CANCEL"), UDP, now=time.now)
    assert sent(effects) == [(200, UDP)]
    assert len(effects) == 1


def test_a_cancel_for_nothing_gets_481_without_a_transaction() -> None:
    layer, time = a_layer(), VirtualTime()
    effects = layer.receive(request("CANCEL"), UDP, now=time.now)
    assert sent(effects) == [(481, UDP)]
    assert len(effects) == 1
    assert nothing_left(layer)
    assert layer.receive(request("CANCEL"), UDP, now=time.now) == effects


def test_cancel_over_tcp_leaves_nothing_behind() -> None:
    layer, time = a_layer(), VirtualTime()
    key, seen = arrive(layer, request(transport="TCP"), time, TCP)
    effects = layer.receive(request("CANCEL", transport="TCP"), TCP, now=time.now)
    assert [type(effect) for effect in effects] == [Send, CancelArrived]
    layer.respond(key, response(seen, 487), now=time.now)
    layer.receive(request("ACK", to_tag="bob", transport="TCP"), TCP, now=time.now)
    assert nothing_left(layer)


@pytest.mark.parametrize(
    "branch", [None, "z9hG4bK", "1"], ids=["missing", "bare cookie", "no cookie"]
)
def test_phones_without_a_usable_branch_are_matched_as_in_rfc_2543(branch: str | None) -> None:
    layer, time = a_layer(), VirtualTime()
    invite = request(branch=branch)
    key, seen = arrive(layer, invite, time)
    assert layer.receive(request(branch=branch), UDP, now=time.now) == []
    other, _ = arrive(layer, request(branch=branch, call_id="call-2"), time)
    assert other != key
    layer.respond(key, response(seen, 486), now=time.now)
    stray = request("ACK", branch=branch, to_tag="somebody-else")
    assert only(layer.receive(stray, UDP, now=time.now), AckArrived) != []
    ack = request("ACK", branch=branch, to_tag="bob")
    assert layer.receive(ack, UDP, now=time.now) == []
    assert time.run(layer, 4.9) == []


def test_cancel_of_a_phone_without_branch_finds_its_invite() -> None:
    layer, time = a_layer(), VirtualTime()
    key, _ = arrive(layer, request(branch=None), time)
    effects = layer.receive(request("CANCEL", branch=None), UDP, now=time.now)
    assert [effect.key for effect in only(effects, CancelArrived)] == [key]


def test_an_answer_whose_connection_is_gone_takes_a_new_one_to_the_sent_by_port() -> None:
    layer, time = a_layer(), VirtualTime()
    key, seen = arrive(layer, request(transport="TCP"), time, TCP)
    assert layer.flow_failed(TCP, now=time.now) == []
    again = Flow("TCP", LOCAL, Endpoint("192.0.2.10", 5070), 0)
    assert sent(layer.respond(key, response(seen, 486), now=time.now)) == [(486, again)]


def test_beyond_the_limit_new_requests_get_503_and_leave_no_trace() -> None:
    layer, time = a_layer(unanswered=2), VirtualTime()
    keys = [arrive(layer, request("OPTIONS", branch=f"z9hG4bK-{n}"), time) for n in range(2)]
    third = request("OPTIONS", branch="z9hG4bK-3")
    effects = layer.receive(third, UDP, now=time.now)
    assert sent(effects) == [(503, UDP)]
    refusal = parse_message(only(effects, Send)[0].data)
    assert refusal.get("Retry-After") == str(RETRY_AFTER)
    assert len(effects) == 1
    # what is known is served on, and an answer makes room
    assert layer.receive(request("OPTIONS", branch="z9hG4bK-1"), UDP, now=time.now) == []
    layer.respond(keys[0][0], response(keys[0][1], 200), now=time.now)
    arrive(layer, request("OPTIONS", branch="z9hG4bK-3"), time)


def test_beyond_the_limit_the_oldest_finished_transactions_end_early() -> None:
    layer, time = a_layer(lingering=2), VirtualTime()
    ended: list[TransactionEnded] = []
    keys = []
    for n in range(4):
        key, seen = arrive(layer, request("OPTIONS", branch=f"z9hG4bK-{n}"), time)
        keys.append(key)
        ended += only(layer.respond(key, response(seen, 200), now=time.now), TransactionEnded)
    assert ended == [TransactionEnded(keys[0]), TransactionEnded(keys[1])]
    assert layer.usage.lingering == 2


def test_an_unreadable_request_gets_its_400_and_is_reported() -> None:
    layer, time = a_layer(), VirtualTime()
    data = request("OPTIONS").encode().replace(b"Content-Length: 0", b"Content-Length: x")
    effects = layer.receive_data(data, UDP, now=time.now)
    assert sent(effects) == [(400, UDP)]
    assert [type(effect) for effect in effects] == [Send, Malformed]
    assert nothing_left(layer)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"rubbish",
        b"OPTIONS sip:a SIP/2.0\r\n\r\n",
        b"SIP/2.0 200 OK\r\n\r\n",
        request("ACK").encode().replace(b"Via:", b"Vio:"),
    ],
)
def test_what_cannot_be_answered_is_only_reported(data: bytes) -> None:
    layer, time = a_layer(), VirtualTime()
    effects = layer.receive_data(data, UDP, now=time.now)
    assert [type(effect) for effect in effects] == [Malformed]


def test_an_abandoned_non_invite_stays_silent_and_an_invite_cannot_be_abandoned() -> None:
    layer, time = a_layer(), VirtualTime()
    key, _ = arrive(layer, request("OPTIONS"), time)
    invite, _ = arrive(layer, request(), time)
    assert layer.abandon(key, now=time.now) == []
    assert layer.abandon(invite, now=time.now) == []
    assert layer.usage.unanswered == 1
    assert time.run(layer, 60) == [(32.0, TransactionEnded(key))]
