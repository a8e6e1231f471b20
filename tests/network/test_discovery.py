"""Nodes find each other, remember each other, and take back what they have said."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from node.phone.check import measure_echo
from node.spawned import Place, free_places
from tests.support.nodes import NodeProcess, add_user, phone_of, running_nodes
from tests.support.talk import talk

MDNS_BOUND = 5.0
"Seconds; one on an idle machine."
QUIET = ("--workers", "1", "--no-mdns")


@contextlib.asynccontextmanager
async def a_node(
    folder: Path, name: str, network: str, place: Place, *options: str
) -> AsyncIterator[NodeProcess]:
    """One node that runs until the block ends, unless the test stops it."""
    node = NodeProcess(name, place, folder=folder, network=network, options=options)
    async with node:
        await node.ready()
        yield node


def a_network() -> str:
    return f"test-{secrets.token_hex(6)}"


async def known_to(node: NodeProcess) -> set[str]:
    """The ids of the nodes it knows."""
    return {peer["node_id"] for peer in await node.get("peers")}


async def id_of(node: NodeProcess) -> str:
    text: str = (await node.get("status"))["node_id"]
    return text


async def test_multicast_brings_two_together_and_keeps_networks_apart(tmp_path: Path) -> None:
    """Nobody is named to anybody. A node of another network hears the same multicast, and is even
    told where to join."""
    here, there = a_network(), a_network()
    first, second, third = free_places(3)
    async with (
        a_node(tmp_path, "a", here, first, "--workers", "1") as a,
        a_node(tmp_path, "x", there, third, "--workers", "1", "--join", first.mesh) as x,
    ):
        begin = time.monotonic()
        async with a_node(tmp_path, "b", here, second, "--workers", "1") as b:
            started = time.monotonic()
            await a.meets(1, MDNS_BOUND)
            await b.meets(1, MDNS_BOUND)
            print(
                f"mDNS: both knew each other {time.monotonic() - started:.2f} s after b was seen "
                f"ready, {time.monotonic() - begin:.2f} s after it was started"
            )
            assert await known_to(a) == {await id_of(b)}
            assert await known_to(b) == {await id_of(a)}
            await asyncio.sleep(1.0)
            assert await known_to(x) == set()
            bob = await add_user(b, "bob")
            await a.finds(bob["number"])
            assert (await x.command("resolve", bob["number"]))[0] == 1
            for node in (a, b, x):
                await node.stop_cleanly()


@pytest.mark.slow
async def test_one_of_three_is_enough_and_is_remembered(tmp_path: Path) -> None:
    """The third joins through the second alone, knows both, and finds them again by itself."""
    network = a_network()
    first, second, third = free_places(3)
    async with (
        a_node(tmp_path, "a", network, first, *QUIET) as a,
        a_node(tmp_path, "b", network, second, *QUIET, "--join", first.mesh) as b,
    ):
        await a.meets(1)
        alice = await add_user(a, "alice")
        async with a_node(tmp_path, "c", network, third, *QUIET) as c:
            assert await known_to(c) == set()
            await c.stop_cleanly()
            await c.start("--join", second.mesh)
            await c.ready()
            await c.meets(2)
            assert await known_to(c) == {await id_of(a), await id_of(b)}
            await c.finds(alice["number"])
            await c.stop_cleanly()
            # Nobody names a node now, and the one it joined through is gone.
            await b.stop_cleanly()
            begin = time.monotonic()
            await c.start()
            await c.ready()
            await c.until(lambda status: status["peers"] >= 1, 10, "with a remembered peer")
            print(f"remembered: a peer {time.monotonic() - begin:.2f} s after the start")
            assert await id_of(a) in await known_to(c)
            await c.finds(alice["number"])
            await c.stop_cleanly()


async def test_a_node_alone_is_a_local_exchange(tmp_path: Path) -> None:
    async with running_nodes(tmp_path, 1) as (node,):
        alice, bob = await add_user(node, "alice"), await add_user(node, "bob")
        async with phone_of(alice) as phone_a, phone_of(bob) as phone_b:
            for target in ("bob", bob["number"], bob["uri"][0].removeprefix("sip:")):
                uri = target if "@" in target else f"{target}@{alice['server']}"
                call = await talk(phone_a, phone_b, f"sip:{uri}")
                await call.is_heard()
                await call.hang_up()
            echo = await measure_echo(phone_a, f"sip:*43@{alice['server']}", seconds=1)
            assert echo.ok, str(echo)
            nobody = await phone_a.call(f"sip:029999999999999@{alice['server']}")
            assert await nobody.wait_ended() == 404
        await node.has(calls=0)


@pytest.mark.slow
async def test_a_removed_user_is_not_found_any_more(tmp_path: Path) -> None:
    """Removed while the node runs, and while it is stopped: the records are withdrawn."""
    async with running_nodes(tmp_path, 2) as (a, b):
        bob, carol = await add_user(b, "bob"), await add_user(b, "carol")
        for account in (bob, carol):
            await a.finds(account["number"])
        begin = time.monotonic()
        await b.ask("user", "remove", "bob")
        await is_gone(a, bob["number"])
        print(f"removed while running: gone elsewhere {time.monotonic() - begin:.2f} s after")
        await b.stop_cleanly()
        await b.ask("user", "remove", "carol")
        assert (await a.command("resolve", carol["number"]))[0] == 0, "b has told nobody yet"
        begin = time.monotonic()
        await b.start()
        await is_gone(a, carol["number"])
        print(f"removed while stopped: gone {time.monotonic() - begin:.2f} s after the next start")
        alice = await add_user(a, "alice")
        async with phone_of(alice) as phone:
            for target in (f"sip:{bob['number']}@{alice['server']}", carol["uri"][0]):
                call = await phone.call(target)
                assert await call.wait_ended() == 404


async def is_gone(node: NodeProcess, target: str) -> None:
    """Nobody is found any more."""
    async with asyncio.timeout(15):
        while (await node.command("resolve", target))[0] == 0:
            await asyncio.sleep(0.2)
