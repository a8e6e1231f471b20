"""A tenth of all SIP datagrams is lost, each way: no call is lost, and nothing stays behind."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.load_phone import LoadPhone
from tests.support.loss import losing, needs_filter
from tests.support.nodes import NodeProcess, add_user, running_nodes
from tests.support.watch import held

CALLS, WARM_UP = 500, 300
RATE = 50.0
"New calls a second."
TALK = 1.0
LOSS = 10
"Percent."
OVER_WITHIN = 45.0
"Seconds until nothing of a call is left: its transactions absorb for 32 s what comes late."
SETTINGS = "[trace]\ncalls = false\n"
"Traces of ended calls are kept on purpose, tens of MB of them."
GROWTH = 24 * 2**20
"Bytes that all of a node's processes may hold more than after the warm-up: 48 KiB a call."


def is_empty(status: dict[str, Any]) -> bool:
    """Whether a node holds nothing of any call; each worker keeps its one port for legs."""
    relay = status["relay"]
    sessions = sum(worker["sessions"] for worker in relay["workers"])
    idle = relay["ports_in_use"] == len(relay["workers"])
    return not status["calls"] and not sessions and idle and not any(status["sip"].values())


async def calls(caller: LoadPhone, aims: list[str], count: int) -> Counter[int]:
    """Call the aims in turn, some with a description and some without; what came of it."""
    tasks = []
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            call = caller.call(aims[number % len(aims)], talk=TALK, with_sdp=number % 4 < 2)
            tasks.append(group.create_task(call))
            await asyncio.sleep(1 / RATE)
    return Counter(task.result() for task in tasks)


@needs_filter
@pytest.mark.slow
async def test_no_call_is_lost_and_nothing_leaks(tmp_path: Path) -> None:
    """Half of the calls stay in one node, half go to another; half have sound."""
    settings = tmp_path / "node.toml"
    settings.write_text(SETTINGS)
    options = ("--no-mdns", "--workers", "1", "--config", str(settings))
    async with (
        running_nodes(tmp_path, 2, options=options) as (a, b),
        AsyncExitStack() as stack,
    ):
        nodes: list[NodeProcess] = [a, b]
        phones = []
        for node, login in ((a, "alice"), (a, "amy"), (b, "bob")):
            account = await add_user(node, login)
            phone = LoadPhone(login, account["password"], node.place)
            phones.append(await stack.enter_async_context(phone))
        await a.finds(account["number"])
        caller, *callees = phones
        aims = [f"sip:amy@{a.place.ip}", f"sip:{account['number']}@{a.place.ip}"]
        assert [await phone.register() for phone in phones] == [200] * len(phones)
        assert await calls(caller, aims, WARM_UP) == {200: WARM_UP}
        before = [held(node) for node in nodes]
        with losing([node.place for node in nodes], LOSS):
            assert await calls(caller, aims, CALLS) == {200: CALLS}
            for node in nodes:
                await node.until(is_empty, OVER_WITHIN, "empty of every call")
        for phone in callees:
            each = (WARM_UP + CALLS) // 2
            assert (phone.counted.offered, phone.counted.answered) == (each, each)
            assert (phone.counted.ended, phone.open_calls) == (each, 0)
        for node, then in zip(nodes, before, strict=True):
            now = held(node)
            print(f"{node.name} holds {(now.resident - then.resident) / 2**20:+.1f} MiB")
            assert now.resident - then.resident < GROWTH
            assert now.descriptors <= then.descriptors
