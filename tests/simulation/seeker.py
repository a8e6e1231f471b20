"""Whole directories in a generated world: they publish and look up, with the real code."""

import asyncio

from dht.directory import Directory
from dht.table import Contact
from federation.model.clocks import Monotonic
from tests.simulation.responder import Town
from tests.simulation.standins import NETWORK, NONCE
from tests.simulation.world import Citizen
from tests.support.dht_network import SeededEntropy, check_inline, derive_quickly
from tests.support.virtual_loop import LoopClock

PINGS_PER_S = 50.0
WARM_LOOKUPS = 4
"Lookups of random places before anything is measured, as a node does at its start."


def a_directory(town: Town, citizen: Citizen, *, seed: int) -> Directory:
    """The real directory of a citizen, over the simulated wire, with nobody in its table yet."""
    return Directory(
        key=citizen.key,  # type: ignore[arg-type]
        nonce=NONCE,
        network=NETWORK,
        send=lambda data, to: town.wire.carry(data, citizen.endpoint, to),
        own_endpoints=lambda: (citizen.endpoint,),
        clock=LoopClock(asyncio.get_running_loop()),
        entropy=SeededEntropy(seed),
        derive=derive_quickly,
        offload=check_inline,
    )


def with_table(town: Town, citizen: Citizen, *, seed: int) -> Directory:
    """A directory whose table is the generated one; it knows how far its contacts are."""
    directory = a_directory(town, citizen, seed=seed)
    now = Monotonic(town.clock.monotonic())
    for other in town.world.table_of(citizen):
        contact = Contact(other.id, other.key.id, NONCE, other.endpoint, now=now)
        for _ in range(3):
            contact.heard(now=now, rtt=town.wire.rtt(citizen.endpoint, other.endpoint))
        directory._table.add_contact(contact)
    town.wire.attach(citizen.endpoint, directory.datagram_received)
    return directory


async def warm(town: Town, directory: Directory, *, seed: int) -> None:
    """A node's first minutes: it pings its contacts, and looks random places up.

    Of the pings it has their seal keys, of the lookups its estimate of the network's size.
    """
    for contact in directory._table:
        directory._tasks.spawn(_pinged(directory, contact))
        await asyncio.sleep(1 / PINGS_PER_S)
    entropy = SeededEntropy(seed)
    for _ in range(WARM_LOOKUPS):
        await directory._finder.nearest(type(directory.own_id)(entropy.token(32)))


async def _pinged(directory: Directory, contact: Contact) -> None:
    await directory._overlay.check(contact)
