"""Negative control: each attack succeeds against kademlia's classes as shipped, and not here.

An attack is one function that is given a victim and says whether it came through. If one of them
ever failed against the stock classes, it would prove nothing about ours.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
from kademlia.crawling import ValueSpiderCrawl
from kademlia.node import Node, NodeHeap
from kademlia.protocol import KademliaProtocol
from kademlia.routing import KBucket, RoutingTable
from kademlia.storage import ForgetfulStorage

from dht import messages
from dht.finder import Found
from dht.frame import AMPLIFICATION, NO_COOKIE, UNKNOWN_RECIPIENT, Frame, FrameType, padding_for
from dht.messages import ContactEntry, FindNode, Get, Nodes, Ping, Records, Store
from dht.overlay_id import OverlayId
from dht.record import Kind
from federation.model.address import Endpoint
from federation.model.identity import NodeKey
from tests.support.dht_network import TESTNET, MemoryNetwork, MemoryNode
from tests.support.dht_records import a_record
from tests.support.virtual_loop import START, run_virtually

ATTACKER = Endpoint("9.9.9.9", 9999)
KEY = bytes([7]) * 20


class Wire:
    """A transport that keeps what is sent, and answers from a script."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, Any]] = []

    def sendto(self, data: bytes, address: Any) -> None:
        self.sent.append((data, address))


def a_stock_node() -> tuple[KademliaProtocol, Wire]:
    protocol = KademliaProtocol(Node(bytes([1]) * 20), ForgetfulStorage(), 20)
    wire = Wire()
    protocol.connection_made(wire)
    return protocol, wire


def stock_id(n: int) -> bytes:
    return n.to_bytes(2, "big") * 10


class OurVictim:
    """One of our nodes, and a stranger who sends it signed requests."""

    def __init__(self, node: MemoryNode) -> None:
        self.node, self.got, self.sent = node, list[tuple[bytes, Endpoint]](), 0
        node.network.tap = lambda data, source, to: self.got.append((data, to))

    def ask(
        self,
        request: messages.Request,
        key: NodeKey,
        source: Endpoint = ATTACKER,
        cookie: bytes = NO_COOKIE,
    ) -> None:
        body = messages.canonical.pack(request.body())
        body += bytes(padding_for(len(body), has_cookie=cookie != NO_COOKIE))
        is_ping = isinstance(request, Ping)
        to = UNKNOWN_RECIPIENT if is_ping else bytes(self.node.directory.own_id)
        frame = Frame(
            type=FrameType.REQUEST,
            txid=bytes(8),
            sender=key.id,
            nonce=bytes(8),
            to=to,
            cookie=cookie,
            body=body,
        )
        data = frame.signed(key, TESTNET)
        self.sent += len(data)
        self.node.directory.datagram_received(data, source)


def with_our_victim(work: Callable[[OurVictim], Awaitable[bool]]) -> bool:
    async def run() -> bool:
        network = MemoryNetwork()
        victim = OurVictim(await network.node(1))
        result = await work(victim)
        await network.close()
        return result

    return run_virtually(run())


def strangers(count: int) -> list[NodeKey]:
    return [NodeKey(n.to_bytes(32, "big")) for n in range(1, count + 1)]


# Attacks: (against stock, against ours), each True if it came through


async def stock_is_overwritten() -> bool:
    protocol, _ = a_stock_node()
    protocol.rpc_store(("8.8.8.8", 1), stock_id(2), KEY, "the owner's")
    protocol.rpc_store(tuple(ATTACKER), stock_id(3), KEY, "the attacker's")
    return protocol.storage.get(KEY) == "the attacker's"


async def ours_is_overwritten() -> bool:
    """A record in the victim's name, signed by somebody else, is handed to a holder."""
    network = MemoryNetwork()
    holder, owner = await network.node(1), await network.node(2)
    await owner.directory.join([holder.endpoint])
    owner.directory.publish_user("alice")
    await owner.directory.published(Kind.USER, "alice")
    (true,) = [r for r in holder.directory._store if r.label == "alice"]
    thief = NodeKey(bytes([9]) * 32)
    forged = a_record(label="alice", key=thief, now=START + 60)
    envelope = forged.envelope.replace(bytes(thief.id), bytes(owner.key.id))
    victim = OurVictim(holder)
    victim.ask(Ping(0), thief)
    cookie = messages.parse_part(Frame.parse(victim.got[-1][0]).body).observed.cookie
    victim.ask(Store(envelope), thief, cookie=cookie)
    await asyncio.sleep(1)
    held = [r for r in holder.directory._store if r.label == "alice"]
    result = await holder.directory.find_user(owner.key.id, "alice")
    await network.close()
    assert len(envelope) == len(forged.envelope)
    return held != [true] or result != Found((true,))


async def stock_table_is_filled() -> bool:
    """256 ids from one address, none of which was ever asked anything."""
    protocol, _ = a_stock_node()
    for n in range(256):
        protocol.rpc_ping(tuple(ATTACKER), stock_id(n * 255))
    return sum(len(bucket) for bucket in protocol.router.buckets) > 20


async def ours_table_is_filled() -> bool:
    network = MemoryNetwork()
    victim = OurVictim(await network.node(1))
    for key in strangers(256):
        victim.ask(Ping(0), key)
        victim.ask(FindNode(bytes(32)), key)
    await asyncio.sleep(30)
    known = victim.node.directory.contacts()
    await network.close()
    return bool(known)


async def stock_reflects() -> bool:
    """One small request from a spoofed address draws many datagrams to it."""
    protocol, wire = a_stock_node()
    for n in range(200):
        protocol.storage[n.to_bytes(20, "big")] = "x" * 400
    request = 60
    protocol.rpc_ping(tuple(ATTACKER), stock_id(5))
    await asyncio.sleep(0)
    sent = sum(len(data) for data, to in wire.sent if to == tuple(ATTACKER))
    for pending, timer in protocol._outstanding.values():
        timer.cancel()
        pending.cancel()
    return sent > AMPLIFICATION * request


async def ours_reflects() -> bool:
    network = MemoryNetwork()
    victim = OurVictim(await network.node(1))
    for n in range(20):
        victim.node.directory.publish_user(f"user{n}")
    await asyncio.sleep(5)
    worst = 0.0
    for request in (Ping(0), FindNode(bytes(32)), Get(bytes(32)), Store(bytes(800))):
        victim.got.clear()
        victim.sent = 0
        victim.ask(request, NodeKey(bytes([9]) * 32))
        await asyncio.sleep(5)
        back = sum(len(data) for data, to in victim.got if to == ATTACKER)
        worst = max(worst, back / victim.sent)
    await network.close()
    return worst > AMPLIFICATION


class Scripted:
    """What a stock crawl calls: the first peer asked is hostile, the others hold the value."""

    def __init__(self, hostile: object) -> None:
        self.hostile, self.asked = hostile, 0

    async def call_find_value(self, peer: Node, node: Node) -> tuple[bool, object]:
        self.asked += 1
        return (True, self.hostile) if peer.id == stock_id(1) else (True, {"value": "true"})

    async def call_store(self, *_: object) -> None:
        """The crawl's cache store."""


async def stock_lookup_is_broken_by(answer: object) -> bool:
    peers = [Node(stock_id(n), f"8.8.{n}.8", 1) for n in range(1, 4)]
    crawl = ValueSpiderCrawl(Scripted(answer), Node(KEY), peers, 20, 3)
    try:
        return await crawl.find() != "true"
    except (KeyError, TypeError, ValueError, AttributeError):
        return True


async def ours_lookup_is_broken_by(answer: messages.Answer) -> bool:
    """One of five nodes answers every get with this; the record is asked for at another."""
    network = MemoryNetwork()
    nodes = [await network.node(n) for n in range(1, 6)]
    for node in nodes[1:]:
        await node.directory.join([nodes[0].endpoint])
    await asyncio.sleep(5)
    nodes[1].directory.look_up = lambda request, asker: answer  # type: ignore[method-assign]
    result = await nodes[4].directory.find_address(nodes[2].key.id)
    await network.close()
    return not isinstance(result, Found)


async def stock_breaks_on_a_bogus_map() -> bool:
    return await stock_lookup_is_broken_by({"bogus": 1})


async def stock_breaks_on_five_fields() -> bool:
    return await stock_lookup_is_broken_by([(stock_id(9), "8.8.8.8", 1, 2, 3)])


async def ours_breaks_on_nonsense() -> bool:
    return await ours_lookup_is_broken_by(Records((b"\x81\xa5bogus\x01", bytes(900)), ()))


async def ours_breaks_on_another_method() -> bool:
    return await ours_lookup_is_broken_by(Nodes(()))


async def stock_resolves_names() -> bool:
    """A host name in a contact goes to `sendto`, which resolves it inside the event loop."""
    protocol, wire = a_stock_node()
    crawl = ValueSpiderCrawl(protocol, Node(KEY), [Node(stock_id(1), "evil.example", 1)], 20, 3)
    running = asyncio.ensure_future(crawl.find())
    await asyncio.sleep(0.1)
    running.cancel()
    for pending, timer in protocol._outstanding.values():
        timer.cancel()
        pending.cancel()
    return any(address[0] == "evil.example" for _, address in wire.sent)


async def ours_sends_to_forbidden_places() -> bool:
    """There is no room for names in a contact; the nearest thing are addresses of our own LAN."""
    network = MemoryNetwork()
    one, two = await network.node(1), await network.node(2)
    await two.directory.join([one.endpoint])
    await asyncio.sleep(5)
    lan = {Endpoint("192.168.1.1", 53), Endpoint("224.0.0.1", 53), Endpoint("10.0.0.1", 22)}
    named = tuple(ContactEntry(OverlayId(bytes([n]) * 32), e) for n, e in enumerate(lan))
    one.directory.look_up = lambda request, asker: Records((), named)  # type: ignore[method-assign]
    sent: set[Endpoint] = set()
    network.tap = lambda data, source, to: sent.add(to)
    await two.directory.find_user(one.key.id, "nobody")
    await network.close()
    return bool(sent & lan)


async def stock_forgets_for_one_loss() -> bool:
    protocol, _ = a_stock_node()
    peer = Node(stock_id(2), "8.8.8.8", 1)
    protocol.router.add_contact(peer)
    protocol.handle_call_response((False, None), peer)
    return protocol.router.is_new_node(peer)


async def ours_forgets_for_one_loss() -> bool:
    network = MemoryNetwork()
    one, two = await network.node(1), await network.node(2)
    await two.directory.join([one.endpoint])
    await asyncio.sleep(5)
    network.loss = 1.0
    (contact,) = two.directory._table
    await two.directory._overlay.ask(contact.endpoint, Ping(0), recipient=contact.id, sends=1)
    known = two.directory.contacts()
    network.loss = 0.0
    await network.close()
    return not known


async def stock_extends_lives() -> bool:
    """A holder's hourly republish makes an old value young again, so nothing ever expires."""
    storage = ForgetfulStorage(ttl=100)
    storage.data[KEY] = (-1_000_000.0, "old")
    value = dict(storage.iter_older_than(0)).get(KEY)
    if value is not None:
        storage[KEY] = value
    return storage.get(KEY) == "old"


async def ours_extends_lives() -> bool:
    """However often a record is handed over, it ends when its publisher said."""
    network = MemoryNetwork()
    holder, owner = await network.node(1), await network.node(2)
    await owner.directory.join([holder.endpoint])
    await asyncio.sleep(5)
    await network.stop(owner)
    (record,) = [r for r in holder.directory._store if r.publisher == owner.key.id]
    for _ in range(3):
        await asyncio.sleep(2_000)
        holder.directory._store.put(record)
    await asyncio.sleep(2_000)
    held = holder.directory._store.at_key(record.key, now=holder.clock.unix())
    await network.close()
    return bool(held)


Attack = Callable[[], Coroutine[Any, Any, bool]]
ATTACKS: list[tuple[Attack, Attack]] = [
    (stock_is_overwritten, ours_is_overwritten),
    (stock_table_is_filled, ours_table_is_filled),
    (stock_reflects, ours_reflects),
    (stock_breaks_on_a_bogus_map, ours_breaks_on_nonsense),
    (stock_breaks_on_five_fields, ours_breaks_on_another_method),
    (stock_resolves_names, ours_sends_to_forbidden_places),
    (stock_forgets_for_one_loss, ours_forgets_for_one_loss),
    (stock_extends_lives, ours_extends_lives),
]


@pytest.mark.parametrize("attack", [stock for stock, _ in ATTACKS])
def test_against_stock_classes_the_attack_comes_through(attack: Attack) -> None:
    assert run_virtually(attack())


@pytest.mark.parametrize("attack", [ours for _, ours in ATTACKS])
def test_here_it_does_not(attack: Attack) -> None:
    assert not run_virtually(attack())


# Canaries: names of kademlia that we override, or that the comparison relies on


@pytest.mark.parametrize(
    ("owner", "names"),
    [
        (KBucket, "split add_node remove_node touch_last_updated has_in_range get_nodes head"),
        (
            RoutingTable,
            "flush split_bucket lonely_buckets add_contact remove_contact get_bucket_for "
            "find_neighbors is_new_node",
        ),
        (Node, "same_home_as distance_to __iter__"),
        (NodeHeap, "push remove get_uncontacted have_contacted_all mark_contacted"),
        (KademliaProtocol, "rpc_ping rpc_store rpc_find_node rpc_find_value call_store"),
        (KademliaProtocol, "welcome_if_new handle_call_response call_find_value"),
        (ValueSpiderCrawl, "find _find _nodes_found _handle_found_values"),
        (ForgetfulStorage, "get iter_older_than __setitem__ cull"),
    ],
)
def test_names_of_kademlia_are_still_there(owner: type, names: str) -> None:
    assert all(callable(getattr(owner, name, None)) for name in names.split())


def test_attributes_of_kademlia_are_still_what_we_take_them_for() -> None:
    """Set by constructors, so a class does not show them."""
    bucket = KBucket(0, 9, 4)
    assert (bucket.range, bucket.ksize, len(bucket)) == ((0, 9), 4, 0)
    assert (dict(bucket.nodes), dict(bucket.replacement_nodes)) == ({}, {})
    node = Node(bytes([1]) * 20, "8.8.8.8", 1)
    assert (node.id, node.long_id) == (bytes([1]) * 20, int.from_bytes(bytes([1]) * 20, "big"))
    table = RoutingTable(None, 4, node)
    assert (table.node, table.ksize, len(table.buckets)) == (node, 4, 1)
    protocol, _ = a_stock_node()
    assert (protocol._outstanding, protocol._wait_timeout) == ({}, 5)
