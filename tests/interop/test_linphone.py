"""linphone on real nodes, with phones of others at the far end, and tones measured."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from node.phone.call import Call
from node.phone.check import hear
from node.phone.choices import Answer, Tone
from node.phone.tones import Limits, Verdict, judge
from tests.support.baresip import Line, baresip
from tests.support.linphone import linphone
from tests.support.nodes import Account, NodeProcess, add_user, phone_of, running_nodes
from tests.support.programs import needs, needs_pjsua2

pytestmark = [
    pytest.mark.interop, needs("linphonec"), needs_pjsua2, pytest.mark.asyncio(loop_scope="module")
]  # fmt: skip
Mesh = tuple[list[NodeProcess], Account, Account]
NOISY = Limits(loss=0.3, onset=3.0)
"linphone records from its start on: silence before and after the call is no loss of it."


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mesh]:
    """Two nodes; alice on the first, bob on the second."""
    async with running_nodes(tmp_path_factory.mktemp("nodes"), 2) as nodes:
        alice, bob = await asyncio.gather(add_user(nodes[0], "alice"), add_user(nodes[1], "bob"))
        await nodes[0].finds(bob["number"])
        await nodes[1].finds(alice["number"])
        yield nodes, alice, bob


def line_of(account: Account, transport: str = "udp") -> Line:
    return Line(account["login"], account["password"], account["server"], transport)


async def heard_soon(call: Call, frequency: int) -> Verdict:
    """Listen until the tone is there: linphone begins to say it when it next looks at its input."""
    for _ in range(4):
        verdict = await hear(call, frequency, seconds=1)
        if verdict.ok:
            break
    return verdict


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_it_calls_pjsua2_with_digits_and_hold(
    mesh: Mesh, tmp_path: Path, transport: str
) -> None:
    _, alice, bob = mesh
    line = line_of(alice, transport)
    async with (
        phone_of(bob, policy=Answer(after=0.2), playing=Tone(880)) as phone,
        linphone(tmp_path, line, frequency=440) as other,
    ):
        await other.dial(f"sip:{bob['number']}@{alice['server']}")
        call = await phone.next_call()
        await call.wait_confirmed()
        assert call.remote.uri.startswith(f"sip:{alice['number']}@")
        verdict = await heard_soon(call, 440)
        assert verdict.ok, verdict
        await other.tell("5")
        assert [digit.digit for digit in await call.wait_digits(1)] == ["5"]
        await other.hold()
        await call.wait_media("remote_hold")
        await other.resume()
        await call.wait_media("active")
        await other.hang_up()
        assert await call.wait_ended() == 200
        await other.quit()
        assert judge(other.heard(), 880, limits=NOISY).frequency == pytest.approx(880, abs=5)


async def test_baresip_calls_it_with_sdes(mesh: Mesh, tmp_path: Path) -> None:
    _, alice, bob = mesh
    here, there = tmp_path / "alice", tmp_path / "bob"
    here.mkdir()
    there.mkdir()
    async with (
        baresip(
            here, line=line_of(alice), frequency=440, media=";mediaenc=srtp-mand", modules=("srtp",)
        ) as caller,
        linphone(there, line_of(bob), frequency=880, media="srtp") as callee,
    ):
        await caller.dial(f"sip:{bob['number']}@{alice['server']}")
        await callee.answer()
        await asyncio.sleep(2)  # real phones talk in real time
        await caller.hang_up()
        await caller.event("CALL_CLOSED")
        await callee.says("ended")
        await callee.quit()
        assert judge(caller.heard(), 880, limits=NOISY).ok
        assert judge(callee.heard(), 440, limits=NOISY).frequency == pytest.approx(440, abs=5)


async def test_messages_both_ways(mesh: Mesh, tmp_path: Path) -> None:
    _, alice, bob = mesh
    async with (
        phone_of(bob) as phone,
        linphone(tmp_path, line_of(alice), frequency=440) as other,
    ):
        await other.tell(f"chat sip:{bob['number']}@{alice['server']} from linphone")
        message = await phone.next_message()
        assert message.text == "from linphone"
        assert await phone.send_message(alice["number"], "from pjsua2") == 200
        await other.says("from pjsua2")
