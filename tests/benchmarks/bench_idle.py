"""What a node takes that has nothing to do: memory, CPU, and what it says to two peers.

Its links to both peers are up, as after a call to each, since idle links cost more than none.
"""

import asyncio
import secrets
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

from node.spawned import SpawnedNode, free_places, peer_count
from tests.benchmarks.figures import cpu_seconds, proportional_mib, show, title
from tests.benchmarks.udp_phone import UdpPhone
from tests.support.processes import descendants

MEMORY_GOAL_MIB = 140.0
CPU_GOAL_PERCENT = 1.0
TRAFFIC_GOAL = 300.0
PEERS = 2
SETTLE = 5.0
SECONDS = 20.0
MEET_WITHIN = 20.0
PASSWORD = "a-password-of-benchmarks"


async def main() -> int:
    """Print the figures."""
    title(f"An idle node with 2 workers and links to {PEERS} peers, over {SECONDS:g} s:")
    network = f"bench-{secrets.token_hex(4)}"
    with tempfile.TemporaryDirectory(prefix="ringmesh-bench-") as name:
        async with AsyncExitStack() as stack:
            nodes: list[SpawnedNode] = []
            for number, place in enumerate(free_places(PEERS + 1)):
                join = ("--join", nodes[0].place.mesh) if nodes else ()
                options = ("--workers", "1" if number else "2", *join)
                node = SpawnedNode(
                    f"node{number}", place, folder=Path(name), network=network, options=options
                )
                nodes.append(await stack.enter_async_context(node))
            for node in nodes:
                await node.ready()
            for node in nodes:
                await node.until(lambda s: peer_count(s) >= PEERS, MEET_WITHIN, "among peers")
            await link_to(nodes[0], nodes[1:])
            await asyncio.sleep(SETTLE)
            await measure(nodes[0])
    return 0


async def link_to(node: SpawnedNode, others: list[SpawnedNode]) -> None:
    """Bring links up by calls to nobody at each of the others."""
    await node.ask("user", "add", "caller", "--password", PASSWORD)
    async with UdpPhone("caller", PASSWORD, node.place) as phone:
        for other in others:
            dialled = await phone.dial(f"sip:nobody@{other.status['key_name']}")
            if dialled.status != 404:
                raise RuntimeError(f"a call to nobody was answered {dialled.status}")


async def measure(node: SpawnedNode) -> None:
    """Print what it takes."""
    pids = (node.pid, *sorted(descendants(node.pid)))
    cpu, began, mesh = cpu_seconds(*pids), time.monotonic(), await traffic(node)
    await asyncio.sleep(SECONDS)
    took = time.monotonic() - began
    used, said = cpu_seconds(*pids) - cpu, await traffic(node) - mesh
    sizes = [proportional_mib(pid) for pid in pids]
    workers = ", ".join(f"{size:.0f}" for size in sizes[1:])
    note = f"{sizes[0]:.0f} control plane; others {workers}"
    show("memory (PSS) of all processes", sum(sizes), "MiB", goal=MEMORY_GOAL_MIB, note=note)
    show("CPU of all processes", used / took * 100, "% of core", goal=CPU_GOAL_PERCENT)
    show("mesh traffic, both directions", said / took, "B/s", goal=TRAFFIC_GOAL)


async def traffic(node: SpawnedNode) -> int:
    """Bytes of UDP payload over the mesh socket so far."""
    mesh = (await node.ask("status"))["mesh"]
    return int(mesh["bytes_sent"] + mesh["bytes_received"])


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
