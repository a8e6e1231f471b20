"""Messages on real nodes: kept for who is not there, over a crash, and delivered once in order."""

import json
from pathlib import Path

import pytest

from node.phone.errors import PhoneTimeout
from tests.support.nodes import NodeProcess, add_user, phone_of, running_nodes
from tests.support.programs import needs_pjsua2

pytestmark = [needs_pjsua2, pytest.mark.slow]
TEXTS = ["first", "zw\u00f6lf", "third"]


async def waiting(node: NodeProcess, login: str) -> int:
    code, answer, complaint = await node.command("message", "list", login, "--json")
    assert code == 0, complaint
    return len(json.loads(answer))


async def test_messages_outlive_a_crash_and_arrive_once_and_in_order(tmp_path: Path) -> None:
    async with running_nodes(tmp_path, 2) as (a, b):
        alice, bob = await add_user(a, "alice"), await add_user(b, "bob")
        await a.finds(bob["number"])
        for text in TEXTS:
            code, answer, complaint = await a.command(
                "message", "send", "alice", bob["number"], text
            )
            assert (code, answer.strip()) == (0, "kept until a device registers"), complaint
        assert await waiting(b, "bob") == len(TEXTS)
        await b.kill()
        await b.start()
        await b.ready()
        assert await waiting(b, "bob") == len(TEXTS)
        async with phone_of(bob) as phone:
            for text in TEXTS:
                message = await phone.next_message()
                assert message.text == text
                assert alice["number"] in message.sender.uri
            await phone.unregister()
            assert await waiting(b, "bob") == 0
            await phone.register("bob", bob["password"], server=bob["server"])
            with pytest.raises(PhoneTimeout):
                await phone.next_message(within=1.0)
            await b.meets(1)
            await a.finds(bob["number"])
            code, answer, complaint = await a.command(
                "message", "send", "alice", bob["number"], "now", "--json"
            )
            assert code == 0, complaint
            assert json.loads(answer)["kept"] is False
            assert (await phone.next_message()).text == "now"
        code, _, complaint = await a.command("message", "send", "alice", "nobody", "x")
        assert code == 1
        assert "nobody" in complaint
