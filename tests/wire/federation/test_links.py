"""Two and three nodes on loopback sockets, under both event loops where the loop matters."""

import asyncio
import time

import pytest

from federation import session
from federation.messages import (
    Bye,
    LegAddress,
    LegAnswer,
    LegOffer,
    LinkError,
    Request,
)
from federation.model.address import Endpoint
from federation.model.errors import UsageError
from federation.model.network import Network
from federation.ports import Failure
from tests.support.mesh_nodes import (
    Owner,
    SocketNode,
    answering,
    invite,
    new_txn,
    sorted_keys,
    status,
)
from tests.support.virtual_time import on_both_loops

BYE = Bye(call_id="call@a", sender_tag="a", receiver_tag="b", reason="SIP;cause=200")
LOW, HIGH, THIRD = sorted_keys(3)


async def eventually(condition, limit: float = 5.0) -> None:
    async with asyncio.timeout(limit):
        while not condition():
            await asyncio.sleep(0.005)


def link_between(a: SocketNode, b: SocketNode):
    peer = a.links._peers.get(b.id)
    return None if peer is None else peer.link


@on_both_loops
async def test_a_request_is_dialled_accepted_and_answered_in_order() -> None:
    async with SocketNode(LOW) as a, SocketNode(HIGH) as b:
        b.receiver.answer = answering(180, 183, 200)
        owner = a.call(b, b.endpoint)
        await owner.until_end()
        assert (owner.accepted, owner.responses, owner.ends) == (1, [180, 183, 200], 1)
        assert [frame.seq for frame in owner.frames] == [1, 2, 3]
        assert b.receiver.up == [a.id]
        assert a.receiver.up == [b.id]
        assert b.receiver.requests[0].peer == a.id
        assert b.receiver.requests[0].peer_ip == "127.0.0.1"


async def test_a_request_that_is_not_answered_at_once_is_accepted_with_100() -> None:
    async with SocketNode(LOW) as a, SocketNode(HIGH) as b:
        owner = a.call(b, b.endpoint)
        await owner.until(lambda o: o.accepted == 1)
        assert owner.responses == []
        b.receiver.requests[0].respond(status(486), final=True)
        await owner.until_end()
        assert owner.responses == [486]


@on_both_loops
async def test_five_hundred_transactions_ring_at_once_on_one_link() -> None:
    async with SocketNode(LOW) as a, SocketNode(HIGH) as b:
        owners = [a.call(b, b.endpoint) for _ in range(500)]
        for owner in owners:
            await owner.until(lambda o: o.accepted == 1)
        assert len(b.receiver.requests) == 500
        assert len(a.links.peers()) == 1
        assert a.links.peers()[0].open == 500
        for txn in b.receiver.requests:
            txn.respond(status(200, size=1500), final=True)
        for owner in owners:
            await owner.until_end()
            assert owner.responses == [200]
        for one, other in ((a, b), (b, a)):
            link = link_between(one, other)
            await eventually(lambda link=link: link.connection.quic.stream_count == 1)
            assert link.exchange_count == 0


async def test_no_stream_is_left_after_ack_bye_further_2xx_and_cancel() -> None:
    async with SocketNode(LOW) as a, SocketNode(HIGH) as b:
        ringing = a.call(b, b.endpoint)
        await ringing.until(lambda o: o.accepted == 1)
        ack = Request(txn=new_txn(), sip=b"ACK sip:bob@example.org SIP/2.0\r\n\r\n")
        a.links.send_ack(b.id, [], ack)
        b.links.push_2xx(a.id, b.receiver.requests[0].request.txn, status(200))
        assert await a.links.send_bye(b.id, BYE) is True
        b.receiver.knows_dialog = False
        assert await a.links.send_bye(b.id, BYE) is False
        await eventually(lambda: b.receiver.acks and a.receiver.further)
        assert b.receiver.acks == [ack]
        assert a.receiver.further[0].sip == status(200)
        assert b.receiver.byes == [BYE, BYE]
        b.receiver.requests[0].respond(status(487), final=True)
        await ringing.until_end()
        for one, other in ((a, b), (b, a)):
            link = link_between(one, other)
            await eventually(lambda link=link: link.connection.quic.stream_count == 1)


async def test_legs_and_statement_arrive_as_they_were_sent() -> None:
    async with SocketNode(LOW) as a, SocketNode(HIGH) as b:
        offer = LegOffer(address=LegAddress(None, 12000), first_id=7, count=8, secret=b"s" * 32)
        answer = LegAnswer(
            address=LegAddress("2001:db8::1", 13000), own_id=9, index=3, secret=b"t" * 32
        )
        b.receiver.answer = answering(183, legs=(None, answer))
        owner = Owner()
        sent = Request(
            txn=new_txn(), sip=invite().sip, legs=(offer, None), statement=b"not checked here"
        )
        a.links.request(b.id, [b.endpoint], sent, owner)
        await owner.until(lambda o: bool(o.frames))
        assert b.receiver.requests[0].request == sent
        assert owner.frames[0].legs == (None, answer)


async def test_a_cancel_reaches_the_other_side_and_the_final_response_comes_back() -> None:
    async with SocketNode(LOW) as a, SocketNode(HIGH) as b:
        owner = Owner()
        request = invite()
        txn = a.links.request(b.id, [b.endpoint], request, owner)
        await owner.until(lambda o: o.accepted == 1)
        txn.cancel("SIP;cause=200;text=elsewhere")
        txn.cancel("twice")
        await eventually(lambda: b.receiver.cancels)
        b.receiver.requests[0].respond(status(487), final=True)
        await owner.until_end()
        assert b.receiver.cancels == ["SIP;cause=200;text=elsewhere"]
        assert (owner.responses, owner.failures) == ([487], [])


async def test_a_request_not_yet_sent_is_dropped_by_cancel() -> None:
    async with SocketNode(LOW) as a, SocketNode(HIGH) as b:
        owner = Owner()
        txn = a.links.request(b.id, [b.endpoint], invite(), owner)
        txn.cancel()
        assert owner.failures == [Failure.CANCELLED]
        other = a.call(b, b.endpoint)
        await other.until(lambda o: o.accepted == 1)
        assert len(b.receiver.requests) == 1


async def test_a_fresh_address_is_found_when_the_hint_is_stale() -> None:
    async with SocketNode(LOW) as a, SocketNode(HIGH) as b:
        a.book[b.id] = [b.endpoint]
        b.receiver.answer = answering(200)
        owner = a.call(b, Endpoint("127.0.0.1", 9))
        await owner.until_end(1.4)
        assert owner.responses == [200]
        assert a.lookups == [b.id]


async def test_another_key_at_the_address_is_refused() -> None:
    async with SocketNode(LOW) as a, SocketNode(HIGH) as b:
        owner = a.call(THIRD.id, b.endpoint)
        await owner.until_end()
        assert owner.failures == [Failure.UNREACHABLE]
        assert b.receiver.up == []
        assert a.links.peers() == ()


async def test_another_network_is_refused() -> None:
    async with SocketNode(LOW) as a, SocketNode(HIGH, network=Network.named("other")) as b:
        owner = a.call(b, b.endpoint)
        await owner.until_end()
        assert owner.failures == [Failure.UNREACHABLE]
        assert b.receiver.up == []


@on_both_loops
async def test_both_dialling_at_once_keep_the_link_of_the_lower_key() -> None:
    async with SocketNode(LOW) as a, SocketNode(HIGH) as b:
        a.receiver.answer = b.receiver.answer = answering(200)
        one, other = a.call(b, b.endpoint), b.call(a, a.endpoint)
        await one.until_end()
        await other.until_end()
        assert (one.responses, other.responses) == ([200], [200])
        await eventually(lambda: len(a.links.peers()) == len(b.links.peers()) == 1)
        await asyncio.sleep(0.1)
        assert [info.is_dialler for info in a.links.peers()] == [True]
        assert [info.is_dialler for info in b.links.peers()] == [False]
        assert len(b.receiver.requests) == len(a.receiver.requests) == 1
        again = b.call(a)
        await again.until_end()
        assert again.responses == [200]


@on_both_loops
async def test_a_link_cut_while_ringing_is_replaced_and_nothing_runs_twice() -> None:
    async with SocketNode(LOW) as a, SocketNode(HIGH) as b:
        b.receiver.answer = answering(180)
        owner = a.call(b, b.endpoint)
        await owner.until(lambda o: o.responses == [180])
        link_between(a, b).connection._fail("cut, and nobody is told")
        b.receiver.requests[0].respond(status(183), final=False)
        await owner.until(lambda o: o.responses == [180, 183])
        b.receiver.requests[0].respond(status(200), final=True)
        await owner.until_end()
        assert owner.responses == [180, 183, 200]
        assert [frame.seq for frame in owner.frames] == [1, 2, 3]
        assert len(b.receiver.requests) == 1


async def test_a_cancel_is_repeated_on_the_next_link() -> None:
    async with SocketNode(LOW) as a, SocketNode(HIGH) as b:
        owner = Owner()
        txn = a.links.request(b.id, [b.endpoint], invite(), owner)
        await owner.until(lambda o: o.accepted == 1)
        link_between(a, b).connection._fail("cut")
        txn.cancel("while away")
        await eventually(lambda: b.receiver.cancels)
        assert b.receiver.cancels == ["while away"]
        assert len(b.receiver.requests) == 1


async def test_a_restarted_peer_is_reached_and_does_not_run_old_requests() -> None:
    async with SocketNode(LOW) as a:
        async with SocketNode(HIGH) as b:
            port = b.endpoint.port
            ringing = a.call(b, b.endpoint)
            await ringing.until(lambda o: o.accepted == 1)
            b.mesh.close()  # dies without a word
        async with SocketNode(HIGH, port=port) as b:
            b.receiver.answer = answering(200)
            began = time.monotonic()
            fresh = a.call(b)
            await fresh.until_end()
            assert fresh.responses == [200]
            assert time.monotonic() - began < 6
            await ringing.until_end()
            assert ringing.failures == [Failure.LOST]
            assert len(b.receiver.requests) == 1


async def test_a_warm_link_to_a_dead_peer_fails_within_six_seconds() -> None:
    async with SocketNode(LOW) as a, SocketNode(HIGH) as b:
        b.receiver.answer = answering(200)
        await a.call(b, b.endpoint).until_end()
        b.mesh.close()
        began = time.monotonic()
        owner = a.call(b)
        await owner.until_end()
        assert owner.failures[0] in (Failure.NO_ANSWER, Failure.UNREACHABLE)
        assert time.monotonic() - began < 6


@on_both_loops
async def test_goodbye_closes_at_once_and_new_requests_are_refused() -> None:
    async with SocketNode(LOW) as a, SocketNode(HIGH) as b:
        ringing = a.call(b, b.endpoint)
        await ringing.until(lambda o: o.accepted == 1)
        await b.links.drain()
        await eventually(lambda: a.receiver.down == [b.id])
        refused = b.call(a, a.endpoint)
        await refused.until_end()
        assert refused.failures == [Failure.SHUTDOWN]


async def test_an_idle_link_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "IDLE_TIMEOUT", 0.05)
    async with SocketNode(LOW) as a, SocketNode(HIGH) as b:
        b.receiver.answer = answering(200)
        await a.call(b, b.endpoint).until_end()
        await eventually(lambda: a.receiver.down == [b.id] and b.receiver.down == [a.id])
        assert a.links.peers() == ()


async def test_a_node_is_identified_by_its_handshake() -> None:
    async with SocketNode(LOW) as a, SocketNode(HIGH, domains=["example.org"]) as b:
        identity = await a.links.identify([Endpoint("127.0.0.1", 9), b.endpoint])
        assert identity is not None
        node, hello = identity
        assert (node, hello.domains) == (b.id, ("example.org",))
        assert a.links.peers()[0].domains == ("example.org",)


async def test_ipv6_is_equal() -> None:
    async with SocketNode(LOW, host="::1") as a, SocketNode(HIGH, host="::1") as b:
        b.receiver.answer = answering(200)
        owner = a.call(b, b.endpoint)
        await owner.until_end()
        assert owner.responses == [200]
        assert b.receiver.requests[0].peer_ip == "::1"
        assert a.links.remote_ip(b.id) == "::1"


async def test_a_node_has_no_link_to_itself() -> None:
    async with SocketNode(LOW) as a:
        with pytest.raises(UsageError):
            a.call(a, a.endpoint)
        assert await a.links.identify([a.endpoint]) is None


async def test_the_link_of_one_peer_does_not_disturb_another() -> None:
    async with SocketNode(LOW) as a, SocketNode(HIGH) as b, SocketNode(THIRD) as c:
        c.receiver.answer = answering(180)
        kept = a.call(c, c.endpoint)
        await kept.until(lambda o: o.responses == [180])
        await b.call(a, a.endpoint).until(lambda o: o.accepted == 1)
        link_between(a, b).close(LinkError.MALFORMED, "test")
        c.receiver.requests[0].respond(status(200), final=True)
        await kept.until_end()
        assert kept.responses == [180, 200]
