"""The operator finds a call by any of its names, while it is up and afterwards."""

import asyncio
from pathlib import Path

import pytest

from federation.model.clocks import UnixTime
from node.control import RefusedError
from node.storage.call_records import CallRecord, CallRecords
from node.storage.database import Database
from node.storage.storage import Storage
from node.trace_desk import MAX_ID, TraceDesk
from node.tracing.tap import Tap
from node.tracing.traces import CallTraces
from tests.support.edges import World


def record(world: World, number: int, call_id: str, *, age: float = 0.0) -> CallRecord:
    now = UnixTime(world.clock.unix() + 1 - age)
    return CallRecord(
        id=f"18c{int(age)}-{number}",
        call_id=call_id,
        caller="alice",
        target="bob",
        account="alice",
        peer=None,
        started_at=now,
        answered_at=None,
        ended_at=now,
        status=486,
        reason="486",
    )


async def test_a_call_has_three_names(tmp_path: Path) -> None:
    world = World("A")
    alice = world.phone("A", "alice")
    edge = world["A"].edge
    tap: Tap = edge._parts.tap
    traces = CallTraces()
    tap.read_by(traces.take)
    storage = Storage(Database.open(tmp_path))
    storage.start()
    desk = TraceDesk(edge, tap, traces, storage, world.clock)
    try:
        alice.register()
        await asyncio.sleep(0.1)
        sent = alice.invite("sip:*43@" + alice.server)
        await asyncio.sleep(0.1)
        call_id = sent.talk().call_id
        (call,) = edge.calls()
        live = await desk.trace(call.id)
        assert (live["call_id"], live["under_way"]) == (call_id, True)
        assert (await desk.trace(call_id))["parties"] == live["parties"]
        sent.talk().send("BYE")
        await asyncio.sleep(0.1)
        records = CallRecords(storage)
        records.add(record(world, int(call.id), "of an earlier run", age=9000.0))
        records.add(record(world, int(call.id), call_id))
        edge.journal._unwritten.clear()
        for name in (call.id, f"18c0-{call.id}", call_id):
            ended = await desk.trace(name)
            assert (ended["call_id"], ended["under_way"]) == (call_id, False), name
        for wrong, status in (("999", 404), ("", 400), ("x" * (MAX_ID + 1), 400)):
            with pytest.raises(RefusedError) as refused:
                await desk.trace(wrong)
            assert refused.value.status == status
        with pytest.raises(RefusedError, match=r"trace\.calls = true"):
            await TraceDesk(edge, tap, None, storage, world.clock).trace(call_id)
    finally:
        await storage.close()
        await edge.close()
