"""Attacks that need more than one answer: crowds of ids, floods, forged sources, made-up claims."""

import asyncio
import socket
import struct

import pytest

from dht.finder import Found
from dht.frame import AMPLIFICATION
from dht.messages import FindNode, Get, Ping, Store
from dht.record import Kind, positions, record_key
from dht.table import GROUP_PER_BUCKET, GROUP_PER_TABLE
from federation.model.address import Endpoint, network_group
from federation.model.identity import AccountKey
from tests.support.dht_network import quick_number
from tests.support.dht_zoo import ZOO, Door, Town, ZooNode, own_host, until, watched_loop
from tests.support.dht_zoo_crowds import (
    ClaimHolder,
    Eclipse,
    ManyFaces,
    ground_keys,
    made_up_claims,
)
from tests.support.dht_zoo_peers import ENTROPY, Friends, Peer

BUDGET_S = 8.0
MOST_CPU_S = 0.05


async def acquaint(peers: list[Peer], nodes: list[ZooNode]) -> None:
    for peer in peers:
        await peer.open()
        await asyncio.gather(*(peer.introduce(node) for node in nodes))


async def test_ids_ground_to_lie_nearest_do_not_hide_a_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Six ids at each place of a key, nearer than any honest node, who name only each other."""
    async with Town(disguised=True) as town:
        nodes = await town.crowd(16)
        owner = nodes[0]
        key = record_key(Kind.USER, owner.key.id, "alice", ZOO)
        friends = Friends(honest=nodes)
        group: list[Peer] = [
            Eclipse(town, friends, 0, own_host(100 + n), key=key_, nonce=nonce)
            for n, (key_, nonce) in enumerate(ground_keys(key, nodes, 6))
        ]
        await acquaint(group, nodes)
        for position in positions(key):
            place = int.from_bytes(position, "big")
            nearest = min(friends.peers, key=lambda peer: peer.id.number ^ place)
            assert all(
                nearest.id.number ^ place < node.directory.own_id.number ^ place for node in nodes
            )
        owner.directory.publish_user("alice")
        assert await owner.directory.published(Kind.USER, "alice")
        with watched_loop(monkeypatch) as watch:
            for seeker in nodes[1:6]:
                found = await seeker.directory.find_user(owner.key.id, "alice", budget=BUDGET_S)
                assert isinstance(found, Found)
        assert watch.errors == []
        assert watch.worst[0] < MOST_CPU_S, watch.worst
        assert min(peer.asked for peer in group) > 0


async def test_many_ids_of_one_network_get_few_places() -> None:
    """Forty nodes of one /24 answer as they should; a table takes ten, a bucket two."""
    async with Town(disguised=True) as town:
        nodes = await town.crowd(4)
        friends = Friends(honest=nodes)
        crowd = [Peer(town, friends, 500 + n, f"127.240.7.{n + 1}") for n in range(40)]
        await acquaint(crowd, nodes)
        group = network_group(crowd[0].endpoint.ip)
        await until(lambda: all(peer.asked >= len(nodes) for peer in crowd))
        for node in nodes:
            table = node.directory._table
            mates = [c for c in table if network_group(c.endpoint.ip) == group]
            assert 0 < len(mates) <= GROUP_PER_TABLE
            for bucket in table.buckets:
                inside = [c for c in bucket.nodes.values() if c in mates]
                assert len(inside) <= GROUP_PER_BUCKET


async def test_a_flood_of_requests_leaves_nothing_and_holds_nobody_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Thousands of requests, right and wrong, from one place, while others are served."""
    async with Town(disguised=True) as town:
        nodes = await town.crowd(8)
        victim = nodes[0]
        victim.directory.publish_user("alice")
        assert await victim.directory.published(Kind.USER, "alice")
        friends = Friends(honest=nodes)
        flooder = Peer(town, friends, 500, own_host(100))
        await flooder.open()
        cookie = await flooder.cookie_of(victim)
        await town.settle()
        to = bytes(victim.directory.own_id)
        before, limited = victim.directory.stats(), victim.directory.stats().traffic.limited
        with watched_loop(monkeypatch) as watch:
            for n in range(2_000):
                request = (Ping(0), FindNode(ENTROPY.token(32)), Get(ENTROPY.token(32)),
                           Store(ENTROPY.token(500)))[n % 4]  # fmt: skip
                proof = cookie if n % 3 else bytes(16)
                data = flooder.request(request, to=to, cookie=proof)
                flooder.send(data if n % 7 else ENTROPY.token(400), victim.endpoint)
                if n % 40 == 39:
                    heard = victim.received
                    await until(lambda heard=heard: victim.received >= heard + 40)  # type: ignore[misc]
                if n % 200 == 199:
                    seeker = nodes[1 + n % 7]
                    found = await seeker.directory.find_user(
                        victim.key.id, "alice", budget=BUDGET_S
                    )
                    assert isinstance(found, Found)
        after = victim.directory.stats()
        assert after.traffic.limited - limited > 500
        assert after.records == before.records
        assert after.contacts <= len(nodes)
        assert len(victim.directory._tasks._tasks) < 50
        assert watch.errors == []
        assert watch.worst[0] < MOST_CPU_S, watch.worst


def forged(data: bytes, source: Endpoint, to: Endpoint) -> bytes:
    """An IPv4 packet that says it comes from `source`; the kernel fills the IP checksum."""
    udp = struct.pack("!HHHH", source.port, to.port, 8 + len(data), 0) + data
    ip = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, socket.IPPROTO_UDP, 0,
        source.packed, to.packed,
    )  # fmt: skip
    return ip + udp


class Bystander(Door):
    """Somebody whose address is forged: counts what comes."""

    def __init__(self, town: Town, host: str) -> None:
        super().__init__(town, host)
        self.bytes = 0

    def take(self, data: bytes, source: Endpoint) -> None:
        self.bytes += len(data)


async def test_forged_sources_gain_nothing() -> None:
    """Whom a request pretends to come from gets three times its bytes at most, and no state."""
    try:
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    except PermissionError:
        pytest.skip("forging a source needs the right to raw sockets (CAP_NET_RAW)")
    async with Town(disguised=True) as town:
        nodes = await town.crowd(6)
        victim = nodes[0]
        await town.settle()
        attacker = Peer(town, Friends(honest=nodes), 500, own_host(100))
        await attacker.open()
        bystander = Bystander(town, own_host(150))
        await bystander.open()
        town.doors.append(bystander)
        to = bytes(victim.directory.own_id)
        before = victim.directory.stats()
        heard = victim.received
        sent = 0
        with raw:
            for request in (Ping(0), FindNode(bytes(32)), Get(bytes(32)), Store(bytes(500))) * 8:
                data = attacker.request(request, to=to)
                sent += len(data)
                packet = forged(data, bystander.real, victim.real)
                raw.sendto(packet, (victim.real.host, 0))
                await asyncio.sleep(0.002)
        await until(lambda: victim.received >= heard + 32)
        await town.settle()
        after = victim.directory.stats()
        assert 0 < bystander.bytes <= AMPLIFICATION * sent
        assert (after.contacts, after.records) == (before.contacts, before.records)
        assert bystander.endpoint not in victim.directory._overlay._greeting
        assert after.waiting <= before.waiting


async def test_made_up_claims_do_not_bury_the_true_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hostile holders show other claims at each question; nobody stores or passes them on."""
    account = AccountKey(bytes([77]) * 32)
    number = quick_number(account.id)
    monkeypatch.setattr(ClaimHolder, "number", number)
    monkeypatch.setattr(ClaimHolder, "claims", made_up_claims(240))
    async with Town(disguised=True) as town:
        nodes = await town.crowd(10)
        nodes[0].directory.publish_number(number, account)
        assert await nodes[0].directory.published(Kind.NUMBER, number, account.id)
        friends = Friends(honest=nodes)
        holders: list[Peer] = [
            ClaimHolder(town, friends, 500 + n, own_host(100 + n)) for n in range(6)
        ]
        await acquaint(holders, nodes)
        await town.settle()
        with watched_loop(monkeypatch) as watch:
            for seeker in nodes[2:6]:
                found = await seeker.directory.find_number(number, budget=BUDGET_S)
                assert isinstance(found, Found)
                assert [record.owner for record in found.records] == [account.id]
            await town.settle()
        key = record_key(Kind.NUMBER, None, number, ZOO)
        for node in nodes:
            held = node.directory._store.at_key(key, now=node.directory._clock.unix())
            assert {record.owner for record in held} <= {account.id}
        assert watch.errors == []
        assert watch.worst[0] < MOST_CPU_S, watch.worst


async def test_one_question_costs_one_check_of_an_id() -> None:
    """Whoever is asked may not have sixty other ids computed, nor push honest ones out of turn."""
    async with Town(disguised=True) as town:
        nodes = await town.crowd(4)
        await town.settle()
        node = nodes[0]
        verdicts = len(node.directory._overlay._ids._verdicts)
        friends = Friends(honest=nodes)
        liars = [ManyFaces(town, friends, 500 + n, own_host(100 + n)) for n in range(3)]
        for liar in liars:
            await liar.open()
            node.directory.add_candidate(liar.endpoint)
        await until(lambda: all(liar.asked for liar in liars))
        late = await town.node(40)
        assert await late.directory.join([node.endpoint]) >= 1
        await town.settle()
        computed = len(node.directory._overlay._ids._verdicts) - verdicts
        asked = sum(liar.asked for liar in liars)
        assert computed <= asked + 1
