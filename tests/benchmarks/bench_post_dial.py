"""Post-dial delay between two nodes: from the first INVITE to the 180, the challenge included.

Phones are bare SIP over UDP, so the time is the nodes' own. Cold calls are made right after the
caller's node was started: it has no link, no route and has verified nobody; cold by number, both
nodes also compute the other party's number (Argon2id) for the first time.
"""

import asyncio
import contextlib
import secrets
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from node.spawned import SpawnedNode, free_places, peer_count
from tests.benchmarks.figures import show, title
from tests.benchmarks.udp_phone import UdpPhone

WARM_GOAL_MS = 30.0
COLD_KEY_GOAL_MS = 200.0
COLD_NUMBER_GOAL_MS = 900.0
WARM_CALLS = 25
COLD_CALLS = 3
NODES = 3
MEET_WITHIN = 20.0
FOUND_WITHIN = 20.0
SETTLE = 2.0
PASSWORD = "a-password-of-benchmarks"
OPTIONS = ("--no-mdns", "--workers", "1")


class Stage:
    """Three nodes; callers live on the last, who is called on the second."""

    def __init__(self, nodes: Sequence[SpawnedNode]) -> None:
        self._nodes = nodes
        self._home, self._away = nodes[-1], nodes[1]
        self._numbers: list[str] = []

    async def prepare(self) -> None:
        """One pair of accounts for each call that is to be the first between its two."""
        for node in self._nodes:
            await node.ready()
        for number in range(COLD_CALLS):
            await self._home.ask("user", "add", f"caller{number}", "--password", PASSWORD)
            account = await self._away.ask("user", "add", f"callee{number}", "--password", PASSWORD)
            self._numbers.append(account["number"])
        for node in self._nodes:
            await node.until(lambda s: peer_count(s) >= NODES - 1, MEET_WITHIN, "among peers")
        async with asyncio.timeout(FOUND_WITHIN):
            for number in self._numbers:
                while (await self._home.command("resolve", number))[0] != 0:
                    await asyncio.sleep(0.2)

    @contextlib.asynccontextmanager
    async def called(self) -> AsyncIterator[None]:
        """The phones of those who are called are registered while the block lasts."""
        async with AsyncExitStack() as stack:
            for pair in range(COLD_CALLS):
                phone = UdpPhone(f"callee{pair}", PASSWORD, self._away.place)
                await stack.enter_async_context(phone)
                await phone.register()
            yield

    async def cold(self, *, by_number: bool) -> list[float]:
        """Delays of calls right after a start, milliseconds."""
        delays = []
        for pair in range(COLD_CALLS):
            await self._home.stop()
            await self._home.start()
            await self._home.ready()
            await self._home.until(lambda s: peer_count(s) >= NODES - 1, MEET_WITHIN, "joined")
            await asyncio.sleep(SETTLE)
            delays += await self._call(pair, by_number=by_number, times=1)
        return delays

    async def warm(self) -> list[float]:
        """Delays of calls after the first, milliseconds."""
        return (await self._call(0, by_number=True, times=WARM_CALLS + 1))[1:]

    async def _call(self, pair: int, *, by_number: bool, times: int) -> list[float]:
        caller = UdpPhone(f"caller{pair}", PASSWORD, self._home.place)
        host = self._home.place.ip if by_number else self._away.status["key_name"]
        user = self._numbers[pair] if by_number else f"callee{pair}"
        delays = []
        async with caller:
            for _ in range(times):
                dialled = await caller.dial(f"sip:{user}@{host}")
                if dialled.status != 180:
                    raise RuntimeError(f"the call was answered {dialled.status}")
                delays.append(dialled.delay * 1e3)
        return delays


def report(name: str, delays: Sequence[float], goal: float) -> None:
    """Print the median of some calls beside its goal, and the slowest."""
    ordered = sorted(delays)
    note = f"slowest of {len(ordered)}: {ordered[-1]:.0f}"
    show(name, ordered[len(ordered) // 2], "ms", goal=goal, note=note)


async def main() -> int:
    """Print the figures."""
    title("Post-dial delay between two of three nodes on one machine, INVITE to 180:")
    network = f"bench-{secrets.token_hex(4)}"
    with tempfile.TemporaryDirectory(prefix="ringmesh-bench-") as name:
        async with AsyncExitStack() as stack:
            nodes: list[SpawnedNode] = []
            for number, place in enumerate(free_places(NODES)):
                join = ("--join", nodes[0].place.mesh) if nodes else ()
                node = SpawnedNode(
                    f"node{number}",
                    place,
                    folder=Path(name),
                    network=network,
                    options=(*OPTIONS, *join),
                )
                nodes.append(await stack.enter_async_context(node))
            stage = Stage(nodes)
            await stage.prepare()
            await stack.enter_async_context(stage.called())
            report("cold, by number", await stage.cold(by_number=True), COLD_NUMBER_GOAL_MS)
            report("cold, by key name", await stage.cold(by_number=False), COLD_KEY_GOAL_MS)
            report("warm", await stage.warm(), WARM_GOAL_MS)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
