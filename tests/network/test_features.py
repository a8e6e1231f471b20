"""Forwarding and ring groups set by command, on real nodes, with sound measured, and the record."""

import asyncio
import json
from pathlib import Path
from typing import Any

from node.phone.check import measure_call
from node.phone.tones import Limits
from tests.support.nodes import NodeProcess, add_user, phone_of, running_nodes

NOISY = Limits(loss=0.05)


async def told(node: NodeProcess, *arguments: str) -> Any:
    """What a command prints as JSON."""
    code, out, err = await node.command(*arguments, "--json")
    assert code == 0, err
    return json.loads(out)


async def test_a_group_on_another_node_and_what_it_sends_on(tmp_path: Path) -> None:
    async with running_nodes(tmp_path, 3) as (a, b, c):
        alice = await add_user(a, "alice")
        bob = await add_user(b, "bob")
        carol = await add_user(c, "carol")
        sales = await told(b, "group", "add", "sales", "--members", "bob")
        async with phone_of(alice) as caller, phone_of(bob) as member, phone_of(carol) as far:
            number = f"sip:{sales['number']}@{alice['server']}"
            report = await measure_call(caller, member, number, seconds=1, limits=NOISY)
            assert report.ok, str(report)
            await told(b, "user", "dnd", "bob", "on")
            await told(b, "user", "forward", "sales", "--busy", carol["number"])
            report = await measure_call(caller, far, number, seconds=1, limits=NOISY)
            assert report.ok, str(report)
            for node in (a, b, c):
                await node.has(calls=0)
        async with asyncio.timeout(10):  # a record follows the last counters of its media
            while len(calls := await told(b, "call", "log", "--account", "sales")) < 2:
                await asyncio.sleep(0.2)
        assert [call["other_account"] for call in calls] == [None, "bob"]
        assert {(call["direction"], call["path"], call["status"]) for call in calls} == {
            ("in", "node", 200)
        }
        assert all(call["codec"] and call["from_caller"]["packets"] for call in calls)
        await _leaves_a_trace(b, calls[-1])


async def _leaves_a_trace(node: NodeProcess, call: dict[str, Any]) -> None:
    """An ended call is found by its record's id and by its Call-ID, as values and as text."""
    trace = await told(node, "call", "trace", call["id"])
    assert (trace["call_id"], trace["under_way"], trace["whole"]) == (call["call_id"], False, True)
    ways = [(each["direction"], each["transport"], each["summary"]) for each in trace["messages"]]
    assert ways[0][:2] == ("in", "QUIC")
    assert any(way == "out" and by != "QUIC" for way, by, _ in ways), "the phone's side is there"
    assert any(summary.startswith("BYE sip:") for _, _, summary in ways)
    code, text, err = await node.command("call", "trace", call["call_id"], "--text")
    assert code == 0, err
    assert "200 OK (INVITE)" in text
    assert f"Call-ID: {call['call_id']}" in text
    code, _, err = await node.command("call", "trace", "no-such-call")
    assert (code, "nothing is kept of a call" in err) == (1, True)
