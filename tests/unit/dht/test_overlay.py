"""One directory, spoken to frame by frame: what strangers get and what they cannot do."""

import asyncio
from dataclasses import replace

import pytest

from dht import canonical, messages
from dht.cookie import GLOBAL_BURST, UNPROVEN_BURST
from dht.frame import (
    AMPLIFICATION,
    OVERHEAD,
    UNKNOWN_RECIPIENT,
    Frame,
    FrameType,
    padding_for,
)
from dht.messages import FindNode, Get, Nodes, Ping, Pong, Records, Store, Stored
from dht.record import Kind
from federation.model.address import Endpoint
from federation.model.identity import NodeKey
from tests.support.dht_network import TESTNET, MemoryNetwork
from tests.support.dht_records import a_record
from tests.support.dht_wire import STRANGER, THERE, Wire
from tests.support.virtual_loop import START, run_virtually


async def a_wire() -> Wire:
    network = MemoryNetwork()
    node = await network.node(1)
    await asyncio.sleep(1)
    return Wire(node)


def test_a_stranger_is_answered_within_three_times_its_bytes() -> None:
    async def run() -> None:
        wire = await a_wire()
        for number in range(2, 26):
            await wire.node.network.node(number)
            await wire.node.network.nodes[Endpoint(f"127.0.0.{number + 1}", 7060)].directory.join(
                [wire.node.endpoint]
            )
        local = Endpoint("127.0.0.250", 9999)
        await asyncio.sleep(5)
        for request in (Ping(0), FindNode(bytes(32)), Get(bytes(32))):
            wire.got.clear()
            frames = wire.request(request, source=local)
            assert len(frames) == 1
            assert len(wire.got[0]) <= AMPLIFICATION * wire.sent
            frames[0].verify(TESTNET)
            assert frames[0].to == STRANGER.id
            part = messages.parse_part(frames[0].body)
            assert part.observed.endpoint == local
            if isinstance(part.answer, Nodes):
                assert len(part.answer.contacts) == 20
        await wire.node.network.close()

    run_virtually(run())


def test_local_contacts_are_not_named_to_strangers() -> None:
    async def run() -> None:
        wire = await a_wire()
        other = await wire.node.network.node(2)
        await other.directory.join([wire.node.endpoint])
        await asyncio.sleep(1)
        assert len(wire.node.directory.contacts()) == 1
        (reply,) = wire.request(FindNode(bytes(32)))
        answer = messages.parse_part(reply.body).answer
        assert isinstance(answer, Nodes)
        assert answer.contacts == ()
        await wire.node.network.close()

    run_virtually(run())


def test_nothing_is_inserted_from_a_request() -> None:
    """With or without a cookie: only who answers our own ping becomes a contact."""

    async def run() -> None:
        wire = await a_wire()
        cookie = wire.cookie()
        for request in (Ping(0), FindNode(bytes(32)), Get(bytes(32))):
            wire.request(request)
            wire.request(request, cookie=cookie)
        await asyncio.sleep(5)
        assert wire.node.directory.contacts() == ()
        await wire.node.network.close()

    run_virtually(run())


def test_a_store_needs_a_cookie_and_is_otherwise_challenged() -> None:
    async def run() -> None:
        wire = await a_wire()
        record = a_record(key=STRANGER, now=START)
        (challenge,) = wire.request(Store(record.envelope))
        assert challenge.type is FrameType.CHALLENGE
        assert len(wire.got[0]) <= wire.sent
        cookie = messages.parse_challenge(challenge.body)
        assert wire.request(Store(record.envelope), cookie=cookie) == []
        await asyncio.sleep(0.01)
        frames = [Frame.parse(data) for data in wire.got]
        (reply,) = [frame for frame in frames if frame.type is FrameType.REPLY]
        assert messages.parse_part(reply.body).answer == Stored(messages.STORED, 0)
        assert wire.node.directory.stats().records == 2
        await wire.node.network.close()

    run_virtually(run())


@pytest.mark.parametrize(
    ("source", "why"),
    [(Endpoint("9.9.9.7", 9998), "port"), (Endpoint("9.9.9.8", 9999), "address")],
)
def test_a_cookie_belongs_to_its_address(source: Endpoint, why: str) -> None:
    async def run() -> None:
        wire = await a_wire()
        (answer,) = wire.request(Ping(0), cookie=wire.cookie(), source=source)
        assert answer.type is FrameType.CHALLENGE, why
        assert len(wire.got[0]) <= AMPLIFICATION * wire.sent
        await wire.node.network.close()

    run_virtually(run())


def test_what_earns_silence() -> None:
    """Garbage, other recipients, forged senders, our own key, another network's frames."""

    async def run() -> None:
        wire = await a_wire()
        before = wire.node.directory.stats().traffic.malformed
        assert wire.raw(b"\x08" + bytes(399)) == []
        assert wire.raw(b"\x08") == []
        assert wire.raw(bytes(1300)) == []
        assert wire.request(Ping(0), to=bytes([1]) * 32) == []
        assert wire.request(Ping(0), key=NodeKey(bytes([78]) * 32)) == []
        own = Wire(wire.node, wire.node.key)
        assert own.request(Ping(0)) == []
        assert wire.node.directory.stats().traffic.malformed - before == 4
        await wire.node.network.close()

    run_virtually(run())


def test_what_is_refused_by_name() -> None:
    """A method or body we do not know, a body sealed to another key."""

    async def run() -> None:
        wire = await a_wire()
        body = canonical.pack([9, 1]) + bytes(400 - OVERHEAD - 3)
        frame = Frame(
            type=FrameType.REQUEST,
            txid=bytes(8),
            sender=STRANGER.id,
            nonce=bytes(8),
            to=bytes(wire.node.directory.own_id),
            body=body,
        )
        (refusal,) = wire.raw(frame.signed(STRANGER, TESTNET))
        assert refusal.type is FrameType.REFUSAL
        assert messages.parse_refusal(refusal.body) == messages.MALFORMED
        (refusal,) = wire.raw(replace(frame, sealed=True).signed(STRANGER, TESTNET))
        assert messages.parse_refusal(refusal.body) == messages.CANNOT_OPEN
        (refusal,) = wire.request(FindNode(bytes(32)), to=UNKNOWN_RECIPIENT)
        assert messages.parse_refusal(refusal.body) == messages.MALFORMED
        (pong,) = wire.request(Ping(0), to=UNKNOWN_RECIPIENT)
        assert isinstance(messages.parse_part(pong.body).answer, Pong)
        await wire.node.network.close()

    run_virtually(run())


def test_floods_are_limited_by_network_and_in_all() -> None:
    """One /24 gets its burst; many spoofed networks get challenges, which cost no signature."""

    async def run() -> None:
        wire = await a_wire()
        answered = sum(len(wire.request(Ping(0))) for _ in range(int(GLOBAL_BURST) + 50))
        assert GLOBAL_BURST <= answered <= GLOBAL_BURST + 5
        assert wire.node.directory.stats().traffic.limited >= 45
        kinds: dict[FrameType, int] = {}
        body = canonical.pack(Ping(0).body())
        body += bytes(padding_for(len(body), has_cookie=False))
        data = Frame(
            type=FrameType.REQUEST,
            txid=bytes(8),
            sender=STRANGER.id,
            nonce=bytes(8),
            to=UNKNOWN_RECIPIENT,
            body=body,
        ).signed(STRANGER, TESTNET)
        for n in range(int(UNPROVEN_BURST) + 100):
            (frame,) = wire.raw(data, Endpoint(f"50.{n // 250}.{n % 250}.1", 5))
            kinds[frame.type] = kinds.get(frame.type, 0) + 1
        assert kinds[FrameType.CHALLENGE] >= 100
        assert wire.node.directory.stats().contacts == 0
        await wire.node.network.close()

    run_virtually(run())


def test_what_is_asked_between_contacts_is_sealed() -> None:
    """Once nodes know each other no label or record can be read on the path."""

    async def run() -> None:
        network = MemoryNetwork()
        one, two = await network.node(1), await network.node(2)
        await two.directory.join([one.endpoint])
        await asyncio.sleep(30)  # own places were looked up again, which is no secret
        seen: list[bytes] = []
        network.tap = lambda data, source, to: seen.append(data)
        one.directory.publish_user("alice-in-clear")
        await one.directory.published(Kind.USER, "alice-in-clear")
        await two.directory.find_user(one.key.id, "alice-in-clear")
        await asyncio.sleep(1)
        kinds = {(Frame.parse(data).type, Frame.parse(data).sealed) for data in seen}
        assert kinds == {(FrameType.REQUEST, True), (FrameType.REPLY, True)}
        assert not any(b"alice-in-clear" in data for data in seen)
        await network.close()

    run_virtually(run())


def test_a_peer_that_restarted_with_another_seal_key_is_still_asked() -> None:
    async def run() -> None:
        network = MemoryNetwork()
        one, two = await network.node(1), await network.node(2)
        await two.directory.join([one.endpoint])
        await asyncio.sleep(5)
        one.directory._overlay._desk._sealing = type(one.directory._overlay._desk._sealing)(
            entropy=one.directory._overlay._entropy
        )
        two.directory.publish_user("bob")
        assert await two.directory.published(Kind.USER, "bob")
        await network.close()

    run_virtually(run())


def test_a_liar_cannot_answer_for_another() -> None:
    """A reply from another key, another address or to another request changes nothing."""

    async def run() -> None:
        wire = await a_wire()
        target = Endpoint("127.0.0.99", 7060)
        wire.got.clear()
        wire.node.directory.add_candidate(target)
        await asyncio.sleep(0)
        ping = Frame.parse(wire.got[0])
        seen = messages.Observed(wire.node.endpoint, bytes(16))
        pong = Pong(0, bytes([1]) * 32, 0, int(START * 1000))
        body = messages.encode_part(messages.Part(0, 1, seen, pong))
        honest = Frame(
            type=FrameType.REPLY,
            txid=ping.txid,
            sender=STRANGER.id,
            nonce=bytes(8),
            to=bytes(wire.node.key.id),
            body=body,
        )
        records = messages.encode_part(messages.Part(0, 1, seen, Records((), ())))
        for frame, source in (
            (replace(honest, txid=bytes(8)), target),
            (honest, THERE),
            (replace(honest, to=bytes(32)), target),
            (replace(honest, body=records), target),
            (replace(honest, body=b"\x91\x01"), target),
            (replace(honest, sealed=True), target),
        ):
            wire.node.directory.datagram_received(frame.signed(STRANGER, TESTNET), source)
        forged = replace(honest).signed(NodeKey(bytes([5]) * 32), TESTNET)
        wire.node.directory.datagram_received(forged, target)
        await asyncio.sleep(0.01)
        assert wire.node.directory.contacts() == ()
        wire.node.directory.datagram_received(honest.signed(STRANGER, TESTNET), target)
        await asyncio.sleep(0.01)
        assert [c.node for c in wire.node.directory.contacts()] == [STRANGER.id]
        await wire.node.network.close()

    run_virtually(run())
