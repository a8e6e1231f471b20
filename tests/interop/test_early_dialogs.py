"""SIPp at both ends of two real nodes: what passes before the 200 (RFC 3262, RFC 3311)."""

from pathlib import Path

import pytest

from tests.support.nodes import add_user, running_nodes
from tests.support.ports import free_port
from tests.support.programs import needs
from tests.support.sipp import Account, sipp

pytestmark = pytest.mark.interop


@needs("sipp")
@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_prack_update_and_info_pass_between_nodes(tmp_path: Path, transport: str) -> None:
    async with running_nodes(tmp_path, 2) as (first, second):
        alice, bob = await add_user(first, "alice"), await add_user(second, "bob")
        await first.finds(bob["number"])
        for name in ("register", "answer", "call"):
            (tmp_path / name).mkdir()
        port = free_port("127.0.0.1")
        device = Account("bob", bob["password"], f"127.0.0.1:{port}")
        async with sipp(
            tmp_path / "register",
            "register",
            target=f"{bob['server']}:5060",
            accounts=[device],
            port=port,
        ) as registering:
            assert (await registering.result()).successful == 1
        async with (
            sipp(tmp_path / "answer", "early_answer", port=port) as callee,
            sipp(
                tmp_path / "call",
                "early_call",
                target=f"{alice['server']}:5060",
                accounts=[Account("alice", alice["password"], bob["number"])],
                transport=transport,
            ) as caller,
        ):
            result = await caller.result()
            assert (result.successful, result.failed) == (1, 0), result.errors
            answered = await callee.result()
            assert (answered.successful, answered.failed) == (1, 0), answered.errors
        await first.has(calls=0)
        await second.has(calls=0)
