"""Client transactions: requests repeated, responses passed up, ACK and CANCEL made, all end."""

import pytest

from federation.model.errors import UsageError
from node.sip.effects import (
    ClientFailed,
    ClientKey,
    ClientTimedOut,
    Effect,
    ResponseArrived,
    Send,
    StrayResponse,
    TransactionEnded,
)
from node.sip.flow import Flow
from node.sip.message import Request, Response, parse_message
from node.sip.tables import TransactionLimits
from node.sip.transaction import TransactionLayer
from tests.support.sip_exchange import (
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


def start(
    layer: TransactionLayer, message: Request, time: VirtualTime, flow: Flow = UDP
) -> ClientKey:
    key, effects = layer.request(message, flow, now=time.now)
    assert effects == [Send(message.encode(), flow)]
    return key


def answer(
    layer: TransactionLayer, message: Response, time: VirtualTime, flow: Flow = UDP
) -> list[Effect]:
    return layer.receive_data(message.encode(), flow, now=time.now)


def test_one_of_two_tls_names_failing_leaves_the_other() -> None:
    """What no certificate could be had for is one name at an address, not the address."""
    layer, time = a_layer(), VirtualTime()
    one, other = (
        Flow("TLS", UDP.local, UDP.remote, name=name) for name in ("one.test", "other.test")
    )
    lost = start(layer, request("OPTIONS", branch="z9hG4bK-one"), time, one)
    start(layer, request("OPTIONS", branch="z9hG4bK-other"), time, other)
    assert layer.flow_failed(one, now=time.now) == [ClientFailed(lost), TransactionEnded(lost)]
    assert layer.flow_failed(one, now=time.now) == []
    assert layer.usage.requests == 1


def statuses(effects: list[Effect]) -> list[int]:
    return [effect.response.status for effect in only(effects, ResponseArrived)]


def requests_sent(effects: list[Effect]) -> list[Request]:
    found = []
    for effect in only(effects, Send):
        message = parse_message(effect.data)
        assert isinstance(message, Request)
        found.append(message)
    return found


def nothing_left(layer: TransactionLayer) -> bool:
    usage = layer.usage
    return (usage.unanswered, usage.requests, usage.lingering) == (0, 0, 0)


def test_an_invite_is_repeated_until_timer_b() -> None:
    """Timer A doubles without a limit; Timer B ends it."""
    layer, time = a_layer(), VirtualTime()
    invite = request()
    key = start(layer, invite, time)
    passed = time.run(layer, 100)
    assert [at for at, effect in passed if effect == Send(invite.encode(), UDP)] == [
        0.5, 1.5, 3.5, 7.5, 15.5, 31.5,
    ]  # fmt: skip
    assert passed[6:] == [(32.0, ClientTimedOut(key)), (32.0, TransactionEnded(key))]
    assert nothing_left(layer)


def test_a_non_invite_is_repeated_until_timer_f() -> None:
    """Timer E doubles up to T2."""
    layer, time = a_layer(), VirtualTime()
    key = start(layer, request("OPTIONS"), time)
    passed = time.run(layer, 100)
    assert [at for at, _ in passed] == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5,
                                        32.0, 32.0]  # fmt: skip
    assert [effect for _, effect in passed[-2:]] == [ClientTimedOut(key), TransactionEnded(key)]


def test_a_provisional_slows_a_non_invite_to_t2() -> None:
    layer, time = a_layer(), VirtualTime()
    options = request("OPTIONS")
    start(layer, options, time)
    assert statuses(answer(layer, response(options, 100), time)) == [100]
    passed = time.run(layer, 13)
    assert [at for at, _ in passed] == [0.5, 4.5, 8.5, 12.5]


def test_nothing_is_repeated_over_tcp_but_the_deadline_holds() -> None:
    layer, time = a_layer(), VirtualTime()
    invite = start(layer, request(transport="TCP"), time, TCP)
    options = start(layer, request("OPTIONS", transport="TCP"), time, TCP)
    assert time.run(layer, 60) == [
        (32.0, ClientTimedOut(invite)),
        (32.0, TransactionEnded(invite)),
        (32.0, ClientTimedOut(options)),
        (32.0, TransactionEnded(options)),
    ]
    assert nothing_left(layer)


def test_a_ringing_invite_is_neither_repeated_nor_given_up() -> None:
    layer, time = a_layer(), VirtualTime()
    invite = request()
    start(layer, invite, time)
    for status in (100, 180, 180):
        assert statuses(answer(layer, response(invite, status), time)) == [status]
    assert time.run(layer, 1000) == []


def test_every_2xx_to_an_invite_goes_up_for_timer_m() -> None:
    """RFC 6026: the ACK is the TU's, so it has to see each repetition."""
    layer, time = a_layer(), VirtualTime()
    invite = request()
    key = start(layer, invite, time)
    for _ in range(3):
        effects = answer(layer, response(invite, 200), time)
        assert statuses(effects) == [200]
        assert len(effects) == 1
    assert statuses(answer(layer, response(invite, 200, tag="other"), time)) == [200]
    assert answer(layer, response(invite, 180), time) == []
    assert time.run(layer, 60) == [(32.0, TransactionEnded(key))]
    late = answer(layer, response(invite, 200), time)
    assert [type(effect) for effect in late] == [StrayResponse]


def test_a_refusal_is_acked_for_the_tu_and_each_copy_again() -> None:
    """RFC 3261 section 17.1.1.3: same branch, the response's To, the INVITE's routes."""
    layer, time = a_layer(), VirtualTime()
    invite = request(headers=[("Route", "<sip:p1;lr>"), ("Route", "<sip:p2;lr>")])
    key = start(layer, invite, time)
    effects = answer(layer, response(invite, 486), time)
    assert [type(effect) for effect in effects] == [Send, ResponseArrived]
    (ack,) = requests_sent(effects)
    assert (ack.method, ack.raw_uri) == ("ACK", invite.raw_uri)
    assert [str(via) for via in ack.vias] == [str(invite.top_via)]
    assert ack.to.tag == "bob"
    assert str(ack.cseq) == "1 ACK"
    assert ack.values("Route") == ["<sip:p1;lr>", "<sip:p2;lr>"]
    assert (ack.call_id, str(ack.from_)) == (invite.call_id, str(invite.from_))
    assert answer(layer, response(invite, 486), time) == effects[:1]
    assert time.run(layer, 60) == [(32.0, TransactionEnded(key))]
    assert nothing_left(layer)


def test_over_tcp_a_refusal_ends_the_invite_at_once() -> None:
    layer, time = a_layer(), VirtualTime()
    invite = request(transport="TCP")
    key = start(layer, invite, time, TCP)
    effects = answer(layer, response(invite, 486), time, TCP)
    assert [type(effect) for effect in effects] == [Send, ResponseArrived, TransactionEnded]
    assert effects[-1] == TransactionEnded(key)
    assert nothing_left(layer)


def test_a_2xx_after_a_refusal_is_shown_as_stray() -> None:
    """A fork further down may have been answered: its caller has to end that dialog."""
    layer, time = a_layer(), VirtualTime()
    invite = request()
    start(layer, invite, time)
    answer(layer, response(invite, 486), time)
    late = answer(layer, response(invite, 200, tag="other"), time)
    assert [type(effect) for effect in late] == [StrayResponse]


def test_late_answers_to_a_non_invite_are_absorbed_for_timer_k() -> None:
    layer, time = a_layer(), VirtualTime()
    options = request("OPTIONS")
    key = start(layer, options, time)
    assert statuses(answer(layer, response(options, 200), time)) == [200]
    assert answer(layer, response(options, 200), time) == []
    assert time.run(layer, 60) == [(5.0, TransactionEnded(key))]
    assert nothing_left(layer)


def test_responses_are_matched_by_branch_and_method() -> None:
    layer, time = a_layer(), VirtualTime()
    start(layer, request("OPTIONS"), time)
    for other in (request("MESSAGE"), request("OPTIONS", branch="z9hG4bK-other")):
        effects = answer(layer, response(other, 200), time)
        assert [type(effect) for effect in effects] == [StrayResponse]


def test_cancel_waits_for_a_provisional() -> None:
    """RFC 3261 section 9.1."""
    layer, time = a_layer(), VirtualTime()
    invite = request(headers=[("Route", "<sip:p1;lr>")])
    key = start(layer, invite, time)
    assert layer.cancel(key, now=time.now, headers=[("Reason", "SIP;cause=200")]) == []
    effects = answer(layer, response(invite, 180), time)
    assert statuses(effects) == [180]
    (cancel,) = requests_sent(effects)
    assert (cancel.method, cancel.raw_uri) == ("CANCEL", invite.raw_uri)
    assert [str(via) for via in cancel.vias] == [str(invite.top_via)]
    assert (str(cancel.to), str(cancel.cseq)) == (str(invite.to), "1 CANCEL")
    assert cancel.values("Route") == ["<sip:p1;lr>"]
    assert cancel.get("Reason") == "SIP;cause=200"
    assert layer.cancel(key, now=time.now) == []
    assert answer(layer, response(cancel, 200), time) == []
    assert statuses(answer(layer, response(invite, 487), time)) == [487]
    assert [e for _, e in time.run(layer, 60)] == [TransactionEnded(key)]
    assert nothing_left(layer)


def test_cancel_of_a_ringing_invite_leaves_at_once_and_is_repeated() -> None:
    layer, time = a_layer(), VirtualTime()
    invite = request()
    key = start(layer, invite, time)
    answer(layer, response(invite, 180), time)
    (cancel,) = requests_sent(layer.cancel(key, now=time.now))
    repeated = time.run(layer, 2)
    assert [at for at, _ in repeated] == [0.5, 1.5]
    assert {r.method for r in requests_sent([e for _, e in repeated])} == {"CANCEL"}
    answer(layer, response(cancel, 481), time)
    assert statuses(answer(layer, response(invite, 200), time)) == [200]


def test_an_invite_whose_cancel_brings_no_final_ends_after_64_t1() -> None:
    layer, time = a_layer(), VirtualTime()
    invite = request()
    key = start(layer, invite, time)
    answer(layer, response(invite, 180), time)
    time.run(layer, 100)
    layer.cancel(key, now=time.now)
    passed = [(at, effect) for at, effect in time.run(layer, 60) if not isinstance(effect, Send)]
    assert passed == [(132.0, ClientTimedOut(key)), (132.0, TransactionEnded(key))]
    assert nothing_left(layer)


def test_cancel_does_nothing_where_there_is_nothing_to_cancel() -> None:
    layer, time = a_layer(), VirtualTime()
    options = start(layer, request("OPTIONS"), time)
    invite = request()
    key = start(layer, invite, time)
    answer(layer, response(invite, 200), time)
    assert layer.cancel(options, now=time.now) == []
    assert layer.cancel(key, now=time.now) == []
    assert layer.cancel(ClientKey("unknown"), now=time.now) == []


def test_a_failed_flow_fails_what_waits_on_it_and_nothing_else() -> None:
    layer, time = a_layer(), VirtualTime()
    lost = start(layer, request(transport="TCP"), time, TCP)
    elsewhere = Flow("TCP", TCP.local, TCP.remote, TCP.id + 1)
    start(layer, request(branch="z9hG4bK-2", transport="TCP"), time, elsewhere)
    assert layer.flow_failed(TCP, now=time.now) == [ClientFailed(lost), TransactionEnded(lost)]
    assert layer.flow_failed(TCP, now=time.now) == []
    assert layer.usage.requests == 1


def test_a_request_on_any_connection_fails_with_the_one_it_took() -> None:
    """Flow id 0 means whatever connection there is to that peer."""
    layer, time = a_layer(), VirtualTime()
    any_flow = Flow("TCP", TCP.local, TCP.remote, 0)
    key = start(layer, request(transport="TCP"), time, any_flow)
    assert layer.flow_failed(TCP, now=time.now) == [ClientFailed(key), TransactionEnded(key)]


def test_beyond_the_limit_own_requests_fail_at_once() -> None:
    layer, time = a_layer(requests=1), VirtualTime()
    start(layer, request(), time)
    key, effects = layer.request(request(branch="z9hG4bK-2"), UDP, now=time.now)
    assert effects == [ClientFailed(key), TransactionEnded(key)]


@pytest.mark.parametrize("wrong", [request("ACK"), request(branch=None)], ids=["ACK", "no branch"])
def test_what_is_no_client_transaction_is_a_bug(wrong: Request) -> None:
    layer, time = a_layer(), VirtualTime()
    with pytest.raises(UsageError):
        layer.request(wrong, UDP, now=time.now)


def test_a_branch_is_used_once() -> None:
    layer, time = a_layer(), VirtualTime()
    start(layer, request(), time)
    with pytest.raises(UsageError, match="in use"):
        layer.request(request(), UDP, now=time.now)
