"""The callee's node does not answer: the caller is told so within six seconds, cold or warm."""

import os
import signal
import time
from pathlib import Path

import pytest

from node.phone.choices import Ring
from node.phone.phone import Phone
from tests.support.nodes import Account, add_user, phone_of, running_nodes
from tests.support.talk import talk

BOUND = 6.0
"Seconds a caller waits for its 480."
SLACK = 1.0
"For a busy machine."


async def is_told(phone: Phone, uri: str, what: str) -> None:
    """Dial where nobody answers; the 480 comes in time."""
    begin = time.monotonic()
    call = await phone.call(uri)
    status = await call.wait_ended(BOUND + 5)
    took = time.monotonic() - begin
    print(f"{what}: {status} after {took:.2f} s")
    assert status == 480
    assert took <= BOUND + SLACK


def dial(caller: Account, account: Account) -> str:
    return f"sip:{account['number']}@{caller['server']}"


@pytest.mark.slow
async def test_a_node_that_is_gone(tmp_path: Path) -> None:
    """Never called before; then called, so that the link looks warm, and killed again."""
    async with running_nodes(tmp_path, 2) as (a, b):
        alice, bob = await add_user(a, "alice"), await add_user(b, "bob")
        await a.finds(bob["number"])
        async with phone_of(alice) as phone_a:
            await b.kill()
            await is_told(phone_a, dial(alice, bob), "killed, cold")
            await is_told(phone_a, bob["uri"][0], "killed, cold, by key name")
            await b.start()
            await b.ready()
            await b.meets(1)
            async with phone_of(bob) as phone_b:
                call = await talk(phone_a, phone_b, dial(alice, bob))
                await call.hang_up()
                await a.has(calls=0)  # the answer to the BYE is back
                await b.kill()
                await is_told(phone_a, dial(alice, bob), "killed, warm")
            await a.has(calls=0)


@pytest.mark.slow
async def test_a_node_that_hangs(tmp_path: Path) -> None:
    """Its link looks warm, and its kernel takes every packet. Awake again it has lost nothing."""
    async with running_nodes(tmp_path, 2) as (a, b):
        alice, bob = await add_user(a, "alice"), await add_user(b, "bob")
        await a.finds(bob["number"])
        async with phone_of(alice) as phone_a, phone_of(bob) as phone_b:
            call = await talk(phone_a, phone_b, dial(alice, bob))
            await call.hang_up()
            await phone_b.set_policy(Ring())
            os.kill(b.pid, signal.SIGSTOP)
            try:
                await is_told(phone_a, dial(alice, bob), "stopped, warm")
            finally:
                os.kill(b.pid, signal.SIGCONT)
            await a.has(calls=0)
            await b.has(calls=0)
            call = await talk(phone_a, phone_b, dial(alice, bob))
            await call.is_heard()
            await call.hang_up()
