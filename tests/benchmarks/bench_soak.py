"""Mixed traffic for half an hour: memory that does not grow, and no call that stays behind.

Two nodes, a phone that calls and phones that take calls, are busy, or ring until they are given up;
half of all goes to the other node. Beside calls with and without description there are messages
and registrations, and a percent of the SIP datagrams is lost where nft may lose them. No sound is
sent. `--minutes`, `--rate` (of everything begun in a second) and `--loss` (percent) change that;
this benchmark runs only where it is named: `make bench ARGS="soak --minutes=30"`.
"""

import argparse
import asyncio
import itertools
import random
import secrets
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from node.spawned import SpawnedNode, free_places, peer_count
from tests.benchmarks.figures import cpu_seconds, show, skipped, title
from tests.support.cuts import can_cut
from tests.support.load_phone import LoadPhone, Manner
from tests.support.loss import losing
from tests.support.watch import held

GROWTH_GOAL = 1.05
"Largest memory after the warm-up, beside that at its end."
WARM_UP = 0.5
"Part of the time that is warm-up: tables, caches and traces fill, and the allocator's gaps."
TALK = 4.0
RINGS = 1.0
LONGEST = 70.0
"Seconds until a caller takes a call for lost whose answer did not come."
LOOK = 5.0
"Seconds between two looks at the memory."
OVER_WITHIN = 75.0
"Seconds until all that was begun is over; transactions linger for 32 s."
PUBLISHED = 3.0
"Seconds until the records of new accounts have arrived."
SETTINGS = "[limits]\ncalls_per_hour = 0\ntargets_per_hour = 0\n"
MIB = 2**20


@dataclass
class Traffic:
    """Everything that is begun, and what came of it."""

    caller: LoadPhone
    uris: dict[Manner, list[str]]
    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    under_way: set[asyncio.Task[None]] = field(default_factory=set)
    chance: random.Random = field(default_factory=lambda: random.Random(1))

    def begin(self) -> None:
        """Begin one thing, chosen at random."""
        kinds: list[tuple[int, str, Callable[[], Coroutine[Any, Any, int]], int]] = [
            (30, "call with sound", lambda: self._call(with_sdp=True), 200),
            (30, "call without", lambda: self._call(with_sdp=False), 200),
            (10, "given up", lambda: self.caller.give_up(self._to(Manner.RINGS), after=RINGS), 487),
            (10, "busy", lambda: self.caller.call(self._to(Manner.BUSY), talk=0), 486),
            (10, "message", lambda: self.caller.message(self._to(Manner.TAKES), "hello"), 200),
            (10, "registration", self.caller.register, 200),
        ]
        chosen = self.chance.choices(kinds, [kind[0] for kind in kinds])[0]
        task = asyncio.get_running_loop().create_task(self._follow(*chosen[1:]))
        self.under_way.add(task)
        task.add_done_callback(self.under_way.discard)

    async def _follow(
        self, name: str, work: Callable[[], Coroutine[Any, Any, int]], expected: int
    ) -> None:
        try:
            async with asyncio.timeout(LONGEST):
                status = await work()
        except TimeoutError:
            status = 0
        self.outcomes[name] += 1
        if status != expected:
            self.wrong[f"{name}: {status or 'no answer'}"] += 1

    def _call(self, *, with_sdp: bool) -> Coroutine[Any, Any, int]:
        talk = self.chance.uniform(0.5, 2 * TALK)
        return self.caller.call(self._to(Manner.TAKES), talk=talk, with_sdp=with_sdp)

    def _to(self, manner: Manner) -> str:
        return self.chance.choice(self.uris[manner])


@dataclass
class Memory:
    """What all processes of a node hold, over time."""

    node: SpawnedNode
    series: list[tuple[float, int]] = field(default_factory=list)

    def look(self, at: float) -> int:
        """Note it."""
        resident = held(self.node).resident
        self.series.append((at, resident))
        return resident

    def growth(self, since: float) -> float:
        """The most that was held after an instant, beside what was held then."""
        later = [resident for at, resident in self.series if at >= since]
        return max(later) / later[0]


async def put_load(
    traffic: Traffic, memories: list[Memory], *, minutes: float, rate: float
) -> None:
    """Begin `rate` things a second for so many minutes, and tell each minute how it goes."""
    began = time.monotonic()
    told, looked = 0.0, -LOOK
    for number in itertools.count(1):
        passed = time.monotonic() - began
        if passed >= 60 * minutes:
            return
        traffic.begin()
        if passed - looked >= LOOK:
            looked = passed
            sizes = [memory.look(passed) for memory in memories]
            if passed - told >= 60 or not told:
                told = passed or 1e-9
                sizes_told = ", ".join(f"{size / MIB:.1f}" for size in sizes)
                ends = sum(traffic.outcomes.values())
                print(
                    f"    {passed / 60:4.1f} min: {sizes_told} MiB, {ends:,} done, "
                    f"{len(traffic.under_way)} under way, {sum(traffic.wrong.values())} wrong",
                    flush=True,
                )
        await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))


async def still_held(node: SpawnedNode) -> dict[str, int]:
    """What of calls a node holds when it should hold nothing; waits for transactions to go."""

    def left(status: dict[str, Any]) -> dict[str, int]:
        relay = status["relay"]
        counts = {**status["sip"], "calls": status["calls"]}
        counts["sessions"] = sum(worker["sessions"] for worker in relay["workers"])
        counts["ports"] = relay["ports_in_use"] - len(relay["workers"])
        return {name: count for name, count in counts.items() if count}

    end = time.monotonic() + OVER_WITHIN
    while True:
        found = left(await node.until(lambda _: True, 10, "answering"))
        if not found or time.monotonic() > end:
            return found
        await asyncio.sleep(1)


async def soak(folder: Path, *, minutes: float, rate: float, loss: int) -> None:
    """Start nodes and phones, put the load on them, print the figures."""
    async with AsyncExitStack() as stack:
        nodes = await _nodes(folder, stack)
        callers, uris = await _phones(nodes, stack)
        await asyncio.sleep(PUBLISHED)
        traffic, memories = Traffic(callers[-1], uris), [Memory(node) for node in nodes]
        cpu = [cpu_seconds(node.pid) for node in nodes]
        with ExitStack() as losses:
            if loss and can_cut():
                losses.enter_context(losing([node.place for node in nodes], loss))
            refreshing = asyncio.create_task(_refresh(callers[:-1]))
            await put_load(traffic, memories, minutes=minutes, rate=rate)
            refreshing.cancel()
            if traffic.under_way:
                await asyncio.wait(traffic.under_way, timeout=OVER_WITHIN)
        for memory, before in zip(memories, cpu, strict=True):
            name = f"node {memory.node.name}"
            share = (cpu_seconds(memory.node.pid) - before) / (60 * minutes)
            growth, last = memory.growth(60 * minutes * WARM_UP), memory.series[-1][1] / MIB
            note = f"{last:.0f} MiB at the end, {share:.0%} of a core"
            show(f"{name}: memory after the warm-up", growth, "x", goal=GROWTH_GOAL, note=note)
            left = await still_held(memory.node)
            show(f"{name}: still held", sum(left.values()), "", goal=0, note=str(left or ""))
        note = ", ".join(f"{name} {count:,}" for name, count in traffic.outcomes.items())
        show("done", sum(traffic.outcomes.values()), "", note=note)
        show("never ended", len(traffic.under_way), "", goal=0)
        show("went otherwise", sum(traffic.wrong.values()), "", note=str(dict(traffic.wrong)))
        stuck = sum(phone.open_calls for phone in callers)
        show("calls that phones still hold", stuck, "", goal=0)


async def _nodes(folder: Path, stack: AsyncExitStack) -> list[SpawnedNode]:
    """Two nodes that know each other."""
    settings = folder / "node.toml"
    settings.write_text(SETTINGS)
    network, nodes = f"bench-{secrets.token_hex(4)}", list[SpawnedNode]()
    for name, place in zip("ab", free_places(2), strict=True):
        joins = ("--join", nodes[0].place.mesh) if nodes else ()
        options = ("--no-mdns", "--workers", "1", "--config", str(settings), *joins)
        node = SpawnedNode(name, place, folder=folder, network=network, options=options)
        nodes.append(await stack.enter_async_context(node))
    for node in nodes:
        await node.ready()
        await node.until(lambda status: peer_count(status) > 0, 15, "with a peer")
    return nodes


async def _phones(
    nodes: list[SpawnedNode], stack: AsyncExitStack
) -> tuple[list[LoadPhone], dict[Manner, list[str]]]:
    """A phone of each manner on each node and, last, the caller; and who is dialled how."""
    home = nodes[0].place.ip
    phones, uris = list[LoadPhone](), {manner: list[str]() for manner in Manner}
    for node in nodes:
        for manner in Manner:
            login = f"{manner.name.lower()}-{node.name}"
            account = await node.add_user(login)
            phones.append(LoadPhone(login, account["password"], node.place, manner=manner))
            uris[manner].append(f"sip:{account['number']}@{home}")
    account = await nodes[0].add_user("caller")
    phones.append(LoadPhone("caller", account["password"], nodes[0].place))
    for phone in phones:
        await stack.enter_async_context(phone)
        await phone.register()
    return phones, uris


async def _refresh(phones: list[LoadPhone]) -> None:
    """Registered phones stay registered."""
    while True:
        await asyncio.sleep(240)
        for phone in phones:
            await phone.register()


async def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=50.0, help="begun in a second")
    parser.add_argument("--loss", type=int, default=1, help="percent of the SIP datagrams")
    asked = parser.parse_args()
    title(f"Mixed traffic, {asked.rate:g} a second for {asked.minutes:g} minutes:")
    if asked.loss and not can_cut():
        skipped("loss of datagrams", "nft is absent, or this is not root")
    with tempfile.TemporaryDirectory(prefix="ringmesh-bench-") as name:
        await soak(Path(name), minutes=asked.minutes, rate=asked.rate, loss=asked.loss)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
