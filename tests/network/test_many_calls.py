"""Hundreds of calls at once between two nodes, and what is left of them."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.load_phone import LoadPhone
from tests.support.many_calls import ManyPhone
from tests.support.nodes import NodeProcess, add_user, running_nodes

CALLS = 500
RATE = 100.0
"New calls a second."
RING_WITHIN = 40.0
ON_TRUNK, TRUNK_RATE = 200, 40.0
GROWTH = 60.0
"MB that a node may keep of 500 calls that are over."


def memory(node: NodeProcess) -> float:
    """Resident MB of the node's main process."""
    for line in Path(f"/proc/{node.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmRSS")


async def free(node: NodeProcess) -> None:
    """It holds no call, no relay session, no port but those of its workers."""

    def is_free(status: dict[str, Any]) -> bool:
        relay = status["relay"]
        sessions = sum(worker["sessions"] for worker in relay["workers"])
        idle = relay["ports_in_use"] == len(relay["workers"])
        return not status["calls"] and not sessions and idle

    await node.until(is_free, 20, "free of every call")
    assert all(not peer.get("open") for peer in await node.get("peers"))


@pytest.mark.slow
async def test_five_hundred_ring_at_once(tmp_path: Path) -> None:
    """Each reaches 180 over one link, all ring together, all are cancelled, nothing remains."""
    async with running_nodes(tmp_path, 2) as (a, b):
        alice, bob = await add_user(a, "alice"), await add_user(b, "bob")
        await a.finds(bob["number"])
        async with (
            ManyPhone("alice", alice["password"], a.place) as caller,
            ManyPhone("bob", bob["password"], b.place) as callee,
        ):
            await caller.register()
            await callee.register()
            before = memory(a), memory(b)
            begin = time.monotonic()
            uri = f"sip:{bob['number']}@{alice['server']}"
            invites = await caller.ring_all(uri, CALLS, rate=RATE, within=RING_WITHIN)
            print(f"{CALLS} calls ring {time.monotonic() - begin:.1f} s after the first INVITE")
            assert len(callee.ringing) == CALLS
            for node in (a, b):
                status = await node.get("status")
                assert status["calls"] == CALLS
            during = memory(a), memory(b)
            begin = time.monotonic()
            await caller.cancel_all(invites, within=RING_WITHIN)
            print(f"all cancelled {time.monotonic() - begin:.1f} s after the first CANCEL")
            assert not callee.ringing
            await free(a)
            await free(b)
            after = memory(a), memory(b)
            for name, *sizes in zip(("a", "b"), before, during, after, strict=True):
                print(name, "MB before, during, after:", *(f"{size:.0f}" for size in sizes))
            assert after[0] - before[0] < GROWTH
            assert after[1] - before[1] < GROWTH


@pytest.mark.slow
async def test_two_hundred_calls_on_one_trunk(tmp_path: Path) -> None:
    """A PBX on one node takes 200 calls of another node at a time, each for another extension."""
    async with running_nodes(tmp_path, 2) as (a, b):
        alice, pbx = await add_user(a, "alice"), await b.ask("trunk", "add", "office", "--pbx")
        while not (number := (await b.get("trunks", "office"))["number"]):
            await asyncio.sleep(0.1)
        await a.finds(number)
        async with (
            LoadPhone("alice", alice["password"], a.place) as caller,
            LoadPhone("office", pbx["password"], b.place) as trunk,
        ):
            assert [await phone.register() for phone in (caller, trunk)] == [200, 200]
            tasks, talk = [], ON_TRUNK / TRUNK_RATE + 12
            async with asyncio.TaskGroup() as group:
                for extension in range(ON_TRUNK):
                    uri = f"sip:{number}*{1000 + extension}@{a.place.ip}"
                    tasks.append(group.create_task(caller.call(uri, talk=talk)))
                    await asyncio.sleep(1 / TRUNK_RATE)
                for node in (a, b):
                    await node.has(calls=ON_TRUNK)
                shown = await b.get("trunks", "office")
                assert shown["calls"] == ON_TRUNK
            assert {task.result() for task in tasks} == {200}
            assert (trunk.counted.answered, trunk.counted.ended) == (ON_TRUNK, ON_TRUNK)
            await free(a)
            await free(b)
