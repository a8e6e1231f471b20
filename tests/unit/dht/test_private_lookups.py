"""What the path sees of a lookup: who is asked, and nothing of what for."""

import asyncio

from dht import canonical
from dht.canonical import Value
from dht.finder import Found, NotFound
from dht.frame import Frame, FrameType
from dht.lookup import Lookup, Seed
from dht.messages import ContactEntry, Nodes, Observed, Part, encode_part, parse_part
from dht.overlay_id import OverlayId
from dht.record import Kind, positions, record_key
from federation.model.address import Endpoint
from federation.model.clocks import Monotonic
from tests.support.dht_network import TESTNET, MemoryNetwork, MemoryNode
from tests.support.virtual_loop import run_virtually


class Path:
    """Somebody on the path of one node: every datagram that it sends or gets."""

    def __init__(self, node: MemoryNode) -> None:
        self.node = node
        self.seen: list[bytes] = []
        node.network.tap = self._tap

    def _tap(self, data: bytes, source: Endpoint, to: Endpoint) -> None:
        if self.node.endpoint in (source, to):
            self.seen.append(data)

    def shows(self, secret: bytes) -> bool:
        return any(secret in data for data in self.seen)

    def clear_requests(self) -> list[list[Value]]:
        bodies = []
        for frame in map(Frame.parse, self.seen):
            if frame.type is FrameType.REQUEST and not frame.sealed:
                value, _ = canonical.unpack_padded(frame.body)
                assert isinstance(value, list)
                bodies.append(value)
        return bodies


async def a_town(count: int) -> list[MemoryNode]:
    """A crowd in which a newcomer does not know everybody before it looks something up."""
    network = MemoryNetwork()
    nodes = [await network.node(1)]
    for number in range(2, count + 1):
        node = await network.node(number)
        await node.directory.join([nodes[0].endpoint])
        nodes.append(node)
    await asyncio.sleep(120)
    return nodes


def forget(node: MemoryNode) -> None:
    """All but a few contacts become strangers, without their keys."""
    table = node.directory._table
    for contact in sorted(table, key=lambda contact: contact.id)[22:]:
        table.remove_contact(contact)
    node.directory._overlay._met._beside.clear()


def test_strangers_are_asked_under_seal_and_nothing_shows_what_for() -> None:
    async def run() -> None:
        nodes = await a_town(60)
        owner, seeker = nodes[5], nodes[40]
        owner.directory.publish_user("alice")
        assert await owner.directory.published(Kind.USER, "alice")
        forget(seeker)
        path = Path(seeker)
        search = await seeker.directory.explore(Kind.USER, owner.key.id, "alice")
        assert isinstance(search.result, Found)
        key = record_key(Kind.USER, owner.key.id, "alice", TESTNET)
        assert path.seen
        for secret in (*positions(key), search.result.records[0].envelope):
            assert not path.shows(secret)
        methods = {body[0] for body in path.clear_requests()}
        assert methods <= {1, 2}
        missing = await seeker.directory.find_user(owner.key.id, "nobody")
        assert missing == NotFound()
        absent = record_key(Kind.USER, owner.key.id, "nobody", TESTNET)
        assert not any(path.shows(position) for position in positions(absent))
        await seeker.network.close()

    run_virtually(run())


def test_without_seals_strangers_are_asked_in_the_clear() -> None:
    """The control of the test above: what it looks for would be seen."""

    async def run() -> None:
        nodes = await a_town(60)
        owner, seeker = nodes[5], nodes[40]
        owner.directory.publish_user("alice")
        assert await owner.directory.published(Kind.USER, "alice")
        forget(seeker)
        seeker.directory._finder._asking._sealed = False
        path = Path(seeker)
        assert isinstance(await seeker.directory.find_user(owner.key.id, "alice"), Found)
        key = record_key(Kind.USER, owner.key.id, "alice", TESTNET)
        assert any(path.shows(position) for position in positions(key))
        await seeker.network.close()

    run_virtually(run())


def test_a_find_node_answer_brings_the_seal_key_and_older_ones_do_not() -> None:
    entry = ContactEntry(OverlayId(bytes(32)), Endpoint("192.0.2.1", 7060))
    old, new = Nodes((entry,)), Nodes((entry,), bytes([7]) * 32)
    assert len(old.rest()) == 1
    assert new.rest()[1] == bytes([7]) * 32
    for nodes in (old, new):
        seen = Observed(entry.endpoint, bytes(16))
        assert parse_part(encode_part(Part(0, 1, seen, nodes))).answer == nodes


def a_lookup(radius: int) -> Lookup:
    return Lookup(
        bytes([0x40]) + bytes(31),
        own_id=OverlayId(bytes([255]) * 32),
        seeds=[
            Seed(ContactEntry(OverlayId(bytes([n + 1]) * 32), Endpoint(f"9.{n}.1.1", 1)))
            for n in range(3)
        ],
        wants_records=True,
        radius=radius,
        deadline=Monotonic(9.0),
    )


def test_the_place_named_in_the_clear_is_anywhere_in_the_region() -> None:
    radius = 1 << 240
    lookup = a_lookup(radius)
    target = int.from_bytes(lookup.target, "big")
    places = {lookup.near_target(bytes([n]) * 40) for n in range(1, 50)}
    assert len(places) == 49
    for place in places:
        assert place is not None
        assert 0 < int.from_bytes(place, "big") ^ target < radius
    assert a_lookup(0).near_target(bytes(40)) is None


def test_only_who_is_near_is_asked_for_records() -> None:
    lookup = a_lookup(1 << 240)
    assert lookup.may_hold(OverlayId(bytes([0x40]) + bytes(30) + b"\1"))
    assert not lookup.may_hold(OverlayId(bytes([0x80]) + bytes(31)))
    assert a_lookup(0).may_hold(OverlayId(bytes([0x80]) + bytes(31)))


def test_contacts_named_first_bring_the_walk_on_and_give_more_time() -> None:
    lookup = a_lookup(0)
    (ask, *_) = lookup.start(now=Monotonic(0.0))
    late = lookup.next_timer()
    friend = ContactEntry(OverlayId(bytes([0x41]) * 32), Endpoint("8.8.8.8", 1))
    asks = lookup.named(ask.id, contacts=[friend], now=Monotonic(0.1))
    assert [a.id for a in asks] == [friend.id]
    assert lookup.outcome is None
    assert lookup.next_timer() >= late
    assert lookup.named(friend.id, contacts=[], now=Monotonic(0.1)) == []
    stranger = OverlayId(bytes([0x99]) * 32)
    assert lookup.named(stranger, contacts=[friend], now=Monotonic(0.1)) == []
