"""How soon it is noticed that contacts are gone, and what asking costs while none is."""

import asyncio

from dht.maintenance import CHECK_EVERY_S, CHECK_SOONER_S
from tests.support.dht_network import MemoryNetwork, MemoryNode
from tests.support.virtual_loop import run_virtually

NODES = 20


async def a_network() -> tuple[MemoryNetwork, list[MemoryNode]]:
    network = MemoryNetwork()
    nodes = [await network.node(number) for number in range(1, NODES + 1)]
    for node in nodes[1:]:
        await node.directory.join([nodes[0].endpoint])
    await asyncio.sleep(60)
    return network, nodes


def dead_share(nodes: list[MemoryNode], gone: list[MemoryNode]) -> float:
    dead = {node.endpoint for node in gone}
    known = [c.endpoint for node in nodes for c in node.directory.contacts()]
    return sum(endpoint in dead for endpoint in known) / len(known)


def test_half_gone_is_noticed_within_two_minutes() -> None:
    """Nobody looks anything up: the checks alone find who is gone, at a quicker pace then.

    A contact is checked when it was not heard for a minute.
    """

    async def run() -> None:
        network, nodes = await a_network()
        alive, gone = nodes[::2], nodes[1::2]
        for node in gone:
            await network.stop(node)
        assert dead_share(alive, gone) > 0.3
        await asyncio.sleep(120)
        assert dead_share(alive, gone) < 0.05
        await network.close()

    run_virtually(run())


def test_while_everybody_answers_one_check_goes_out_at_a_time() -> None:
    async def run() -> None:
        network, nodes = await a_network()
        sent = nodes[0].directory._overlay.traffic.datagrams_out
        await asyncio.sleep(300)
        assert nodes[0].directory._overlay.traffic.datagrams_out - sent < 300 / CHECK_SOONER_S
        assert CHECK_SOONER_S < CHECK_EVERY_S
        await network.close()

    run_virtually(run())
