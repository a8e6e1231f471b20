"""What outlives the end of a node, and what must not."""

import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.nodes import Account, NodeProcess, add_user, phone_of, running_nodes
from tests.support.talk import Talk, talk

TOLD_WITHIN = 15.0
"Seconds from a start after a crash until everybody knows that the calls are over."


def dial(caller: Account, account: Account) -> str:
    return f"sip:{account['number']}@{caller['server']}"


@pytest.mark.slow
async def test_phones_are_called_again_without_registering_anew(tmp_path: Path) -> None:
    """After a clean stop, and after a crash, of the node they are registered at."""
    async with running_nodes(tmp_path, 2) as (a, b):
        alice, bob = await add_user(a, "alice"), await add_user(b, "bob")
        await a.finds(bob["number"])
        async with phone_of(alice) as phone_a, phone_of(bob) as phone_b:
            await b.has(registrations=1)
            for end in (b.stop_cleanly, b.kill):
                await end()
                await b.start()
                await b.ready()
                assert b.status["registrations"] == 1
                await b.meets(1)
                call = await talk(phone_a, phone_b, dial(alice, bob))
                await call.is_heard()
                await call.hang_up()


async def crash(node: NodeProcess, *calls: Talk) -> None:
    """Kill a node and start it again: every party of these calls is told, nothing is resumed."""
    await node.kill()
    await node.start()
    begin = time.monotonic()
    for call in calls:
        for end in (call.caller, call.callee):
            await end.wait_ended(TOLD_WITHIN)
    print(f"{node.name} crashed: all were told {time.monotonic() - begin:.1f} s after its start")
    await node.ready()


async def freed(node: NodeProcess) -> None:
    """The node holds nothing of any call."""

    def is_free(status: dict[str, Any]) -> bool:
        sessions = sum(worker["sessions"] for worker in status["relay"]["workers"])
        return not status["calls"] and not sessions

    await node.until(is_free, 15, "free of every call")


@pytest.mark.slow
async def test_a_crash_ends_the_calls_that_were_up(tmp_path: Path) -> None:
    """The caller's node, then the callee's; a call within the node beside it."""
    async with running_nodes(tmp_path, 2) as (a, b):
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
            within = await talk(phone_c, phone_d, dial(carol, dora))
            await between.is_heard()
            await crash(a, between, within)
            await freed(a)
            await freed(b)
            await a.meets(1)
            again = await talk(phone_a, phone_b, dial(alice, bob))
            await again.is_heard()
            await crash(b, again)
            await freed(a)
            await freed(b)
