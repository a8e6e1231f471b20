"""Finding nodes that relay for strangers: in the table, and among those whom others name."""

from dht.messages import RELAYS, ContactEntry
from dht.named_relays import MAX_NAMED, NamedRelays
from dht.overlay_id import OverlayId
from dht.record import RelayOffer
from federation.model.address import Endpoint
from tests.support.dht_network import MemoryNetwork, MemoryNode
from tests.support.virtual_time import in_virtual_time

OFFER = RelayOffer(families=1, kbits_free=2000, sessions_free=20)


def entry(number: int, flags: int = RELAYS) -> ContactEntry:
    return ContactEntry(OverlayId(number.to_bytes(32, "big")), Endpoint("127.0.0.9", number), flags)


def test_only_willing_nodes_are_noted_and_so_many_of_them() -> None:
    named = NamedRelays()
    named.note([entry(1), entry(2, 0), entry(3)])
    assert named.newest(lambda one: True) == [entry(3), entry(1)]
    named.note([entry(number) for number in range(10, 10 + MAX_NAMED)])
    assert len(named.newest(lambda one: True)) == MAX_NAMED
    named.forget(entry(10))
    assert named.newest(lambda one: one.endpoint.port == 10) == []


async def met(asker: MemoryNode, *others: MemoryNode) -> None:
    for other in others:
        await asker.directory.join([other.endpoint])


def forgets(asker: MemoryNode, *others: MemoryNode) -> None:
    """Take nodes out of a table, as if there had been no room for them."""
    table = asker.directory._table
    for contact in list(table):
        if contact.key in {other.key.id for other in others}:
            table.remove_contact(contact)


@in_virtual_time
async def test_a_relay_that_only_others_know_is_found_asked_and_told_with_its_round_trip() -> None:
    network = MemoryNetwork()
    asker, between, relay, gone = [await network.node(number) for number in range(1, 5)]
    relay.directory.offer_relay(OFFER)
    gone.directory.offer_relay(OFFER)
    await met(between, relay, gone)
    await met(asker, between)
    forgets(asker, relay, gone)
    gone.is_up = False
    found = await asker.directory.relays.find(lambda endpoint: True)
    assert [one.node for one in found] == [relay.key.id]
    assert found[0].flags & RELAYS
    assert found[0].rtt is not None
    assert 0.02 <= found[0].rtt <= 0.08
    for node in network.nodes.values():
        await node.directory.close()


@in_virtual_time
async def test_who_is_no_longer_willing_says_so_itself_and_who_may_not_be_tried_is_not() -> None:
    network = MemoryNetwork()
    asker, between, former, far = [await network.node(number) for number in range(1, 5)]
    for node in (former, far):
        node.directory.offer_relay(OFFER)
    await met(between, former, far)
    former.directory.offer_relay(None)
    former.is_up = True
    await met(asker, between)
    forgets(asker, former, far)
    found = await asker.directory.relays.find(lambda endpoint: endpoint != far.endpoint)
    assert found == []
    for node in network.nodes.values():
        await node.directory.close()
