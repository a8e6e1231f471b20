"""Calls whose workers, nodes or links are taken from under them."""

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.cuts import Cut, cutting
from tests.support.nodes import Account, NodeProcess, add_user, phone_of, running_nodes
from tests.support.talk import BROKEN, Talk, talk

GAP = 2.0
"Seconds of silence at most while a worker is replaced; 0.2 are usual on an idle machine."


def dial(caller: Account, account: Account) -> str:
    return f"sip:{account['number']}@{caller['server']}"


async def workers(node: NodeProcess) -> list[dict[str, Any]]:
    status = await node.until(lambda _: True, 5, "answering")
    found: list[dict[str, Any]] = status["relay"]["workers"]
    return found


async def busy_worker(node: NodeProcess, besides: int | None = None) -> int:
    """The process that carries a call, other than `besides`."""
    pids = [w["pid"] for w in await workers(node) if w["sessions"] and w["pid"] != besides]
    assert len(pids) == 1, await workers(node)
    pid: int = pids[0]
    return pid


async def held(node: NodeProcess) -> tuple[int, int]:
    """Relay sessions and port pairs that the node holds."""
    relay = (await node.until(lambda _: True, 5, "answering"))["relay"]
    return sum(worker["sessions"] for worker in relay["workers"]), relay["ports_in_use"]


async def freed(node: NodeProcess, within: float = 10.0) -> None:
    """Wait until the node holds nothing of any call; each worker keeps its one port for legs."""

    def is_free(status: dict[str, Any]) -> bool:
        relay = status["relay"]
        sessions = sum(worker["sessions"] for worker in relay["workers"])
        idle = relay["ports_in_use"] == len(relay["workers"])
        return not status["calls"] and not sessions and idle

    await node.until(is_free, within, "free of every call")


async def replaced(broken: Talk, other: Talk, node: NodeProcess, pid: int) -> None:
    """Kill one worker: its call is heard again soon, the other one never notices."""
    sessions = await held(node)

    async def strike() -> None:
        await asyncio.sleep(1.0)
        os.kill(pid, signal.SIGKILL)

    wounded, unharmed, _ = await asyncio.gather(
        broken.heard(4.0, BROKEN), other.heard(4.0), strike()
    )
    for who, verdict in zip(("caller", "callee"), wounded, strict=True):
        print(f"worker killed: {who} heard nothing for {verdict.longest_gap:.2f} s")
        assert verdict.ok, f"{who}: {verdict}"
        assert verdict.longest_gap <= GAP, f"{who}: {verdict.longest_gap} s of silence"
    for who, verdict in zip(("caller", "callee"), unharmed, strict=True):
        assert verdict.ok, f"the other call's {who}: {verdict}"
    await broken.is_heard()
    assert await held(node) == sessions
    assert pid not in [worker["pid"] for worker in await workers(node)]


@pytest.mark.slow
async def test_a_relay_worker_is_killed(tmp_path: Path) -> None:
    """A call between nodes and one within a node: each survives its worker, and the other's."""
    async with running_nodes(tmp_path, 2, options=("--no-mdns", "--workers", "2")) as (a, b):
        alice, carol, dora = [await add_user(a, login) for login in ("alice", "carol", "dora")]
        bob = await add_user(b, "bob")
        await a.finds(bob["number"])
        async with (
            phone_of(alice) as phone_a,
            phone_of(bob) as phone_b,
            phone_of(carol) as phone_c,
            phone_of(dora) as phone_d,
        ):
            between = await talk(phone_a, phone_b, dial(alice, bob))
            first = await busy_worker(a)
            within = await talk(phone_c, phone_d, dial(carol, dora))
            second = await busy_worker(a, besides=first)
            await replaced(between, within, a, first)
            await replaced(within, between, a, second)
            assert [worker["restarts"] for worker in await workers(a)] == [1, 1]
            await between.hang_up()
            await within.hang_up()
        await freed(a)
        await freed(b)


async def test_a_link_is_cut_and_restored(tmp_path: Path) -> None:
    """Sound goes on without signalling; a hang-up during the cut arrives when it is over.

    Where packets cannot be filtered, the callee's node is stopped instead (SIGSTOP): its workers
    still carry sound.
    """
    async with running_nodes(tmp_path, 2) as (a, b):
        alice, bob = await add_user(a, "alice"), await add_user(b, "bob")
        await a.finds(bob["number"])
        async with (
            phone_of(alice) as phone_a,
            phone_of(bob) as phone_b,
            cutting(a.place, b.place) as link,
        ):
            call = await talk(phone_a, phone_b, dial(alice, bob))
            try:
                if link is not None:
                    await link.cut()
                else:
                    os.kill(b.pid, signal.SIGSTOP)
                await call.is_heard(3.0)
                await call.caller.hang_up()
                await asyncio.sleep(1.0)
                assert not call.callee.has_ended
            finally:
                if link is not None:
                    await link.restore()
                else:
                    os.kill(b.pid, signal.SIGCONT)
            restored = time.monotonic()
            await call.callee.wait_ended(20)
            print(f"link restored: BYE arrived after {time.monotonic() - restored:.1f} s")
            await freed(a)
            await freed(b)


async def killed(call: Talk, node: NodeProcess) -> None:
    """The callee's node is killed; the caller is told, though nobody hangs up."""
    await node.kill()
    begin = time.monotonic()
    await call.caller.wait_ended(60)
    print(f"node killed: the caller was told after {time.monotonic() - begin:.1f} s")


async def cut_for_long(call: Talk, link: Cut, *nodes: NodeProcess) -> None:
    """Both nodes give the link up; sound goes on, and a hang-up arrives after the cut."""
    await link.cut()
    async with asyncio.timeout(60):
        for node, other in (nodes, nodes[::-1]):
            other_id = (await other.get("status"))["node_id"]
            while any(p["linked"] for p in await node.get("peers") if p["node_id"] == other_id):
                await asyncio.sleep(0.5)
    await call.is_heard(2.0)
    await call.callee.hang_up()
    await asyncio.sleep(7.0)  # longer than the callee's node tries to pass its BYE on
    assert not call.caller.has_ended
    await link.restore()
    begin = time.monotonic()
    await call.caller.wait_ended(20)
    print(f"long cut restored: the hang-up arrived after {time.monotonic() - begin:.1f} s")


@pytest.mark.slow
async def test_a_node_is_killed_and_another_cut_off(tmp_path: Path) -> None:
    """Two calls of one node, side by side: each ends in bounded time, and nothing is left."""
    async with running_nodes(tmp_path, 3) as (a, b, c):
        alice, carol = await add_user(a, "alice"), await add_user(a, "carol")
        bob, dora = await add_user(b, "bob"), await add_user(c, "dora")
        for account in (bob, dora):
            await a.finds(account["number"])
        async with (
            phone_of(alice) as phone_a,
            phone_of(bob) as phone_b,
            phone_of(carol) as phone_c,
            phone_of(dora) as phone_d,
            cutting(a.place, c.place) as link,
        ):
            first = await talk(phone_a, phone_b, dial(alice, bob))
            second = await talk(phone_c, phone_d, dial(carol, dora))
            works = [killed(first, b)]
            if link is not None:
                works.append(cut_for_long(second, link, a, c))
            await asyncio.gather(*works)
            if link is None:
                await second.hang_up()
            await freed(a)
            await freed(c)
