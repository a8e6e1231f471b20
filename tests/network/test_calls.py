"""Calls between two real nodes with real phones: what both hear, see and are told."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from node.phone.check import hear, hear_both, measure_call, measure_echo
from node.phone.choices import Answer, Manual, Refuse, Ring, Tone
from node.phone.errors import RegistrationFailed
from node.phone.phone import Phone
from node.phone.tones import Limits
from tests.support.nodes import Account, NodeProcess, add_user, phone_of, running_nodes

NOISY = Limits(loss=0.05)
"Two busy cores lose a frame now and then; a leg that is cut loses all of them."
pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass
class Pair:
    """Two nodes, an account and a registered phone on each."""

    a: NodeProcess
    b: NodeProcess
    alice: Account
    bob: Account
    phone_a: Phone
    phone_b: Phone


@dataclass
class Nodes:
    """Two nodes with an account on each."""

    a: NodeProcess
    b: NodeProcess
    alice: Account
    bob: Account


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def nodes(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Nodes]:
    folder = tmp_path_factory.mktemp("pair")
    async with running_nodes(folder, 2) as (a, b):
        yield Nodes(a, b, await add_user(a, "alice"), await add_user(b, "bob"))


@pytest_asyncio.fixture(loop_scope="module")
async def pair(nodes: Nodes) -> AsyncIterator[Pair]:
    """Fresh phones for each test, so that one test's trouble stays its own."""
    async with phone_of(nodes.alice) as phone_a, phone_of(nodes.bob) as phone_b:
        yield Pair(nodes.a, nodes.b, nodes.alice, nodes.bob, phone_a, phone_b)
    for node in (nodes.a, nodes.b):
        await node.command("call", "hangup", "all")


async def idle(pair: Pair) -> None:
    """Both nodes have let go of every call."""
    await pair.a.has(calls=0)
    await pair.b.has(calls=0)


def key_uri(account: Account) -> str:
    return next(uri for uri in account["uri"] if uri.endswith(".ringmesh.alt"))


async def test_by_number(pair: Pair) -> None:
    """Found by number, heard both ways, and the callee sees who calls, vouched for."""
    report = await measure_call(
        pair.phone_a, pair.phone_b, _dial(pair, pair.bob["number"]), limits=NOISY
    )
    assert report.ok, str(report)
    assert report.shown.uri.startswith(f"sip:{pair.alice['number']}@")
    assert report.asserted is not None
    assert "verstat=TN-Validation-Passed" in report.asserted.uri
    await idle(pair)


async def test_by_key_name(pair: Pair) -> None:
    """A SIP URI whose domain is the other node's key."""
    report = await measure_call(pair.phone_a, pair.phone_b, key_uri(pair.bob), limits=NOISY)
    assert report.ok, str(report)
    await idle(pair)


async def test_the_callee_calls_back_what_it_saw(pair: Pair) -> None:
    first = await measure_call(
        pair.phone_a, pair.phone_b, key_uri(pair.bob), seconds=1, limits=NOISY
    )
    back = await measure_call(pair.phone_b, pair.phone_a, first.shown.uri, seconds=1, limits=NOISY)
    assert back.ok, str(back)
    await idle(pair)


async def test_the_callee_hangs_up(pair: Pair) -> None:
    await pair.phone_b.set_policy(Answer())
    call = await pair.phone_a.call(_dial(pair, pair.bob["number"]))
    answered = await pair.phone_b.next_call()
    await call.wait_confirmed()
    await answered.hang_up()
    await call.wait_ended()
    await idle(pair)


async def test_hold_and_resume(pair: Pair) -> None:
    """Nothing is heard while on hold, and everything again after."""
    await pair.phone_b.set_policy(Answer(), Tone(880))
    call = await pair.phone_a.call(_dial(pair, pair.bob["number"]), playing=Tone(440))
    answered = await pair.phone_b.next_call()
    await call.wait_confirmed()
    await call.hold()
    await answered.wait_media("remote_hold")
    held = await hear_both(call, answered, seconds=1, limits=NOISY)
    assert not held[0].ok
    assert not held[1].ok
    await call.resume()
    await answered.wait_media("active")
    resumed = await hear_both(call, answered, seconds=1, limits=NOISY)
    assert resumed[0].ok, str(resumed[0])
    assert resumed[1].ok, str(resumed[1])
    await call.hang_up()
    await answered.wait_ended()
    await idle(pair)


@pytest.mark.parametrize("method", ["rfc4733", "info"])
async def test_dtmf(pair: Pair, method: str) -> None:
    await pair.phone_b.set_policy(Answer())
    call = await pair.phone_a.call(_dial(pair, pair.bob["number"]))
    answered = await pair.phone_b.next_call()
    await call.wait_confirmed()
    await call.dtmf("14*", method)
    digits = await answered.wait_digits(3)
    assert "".join(digit.digit for digit in digits) == "14*"
    await call.hang_up()
    await answered.wait_ended()
    await idle(pair)


async def test_early_media_is_heard(pair: Pair) -> None:
    """What the callee plays before it answers reaches the caller."""
    await pair.phone_b.set_policy(Ring(early_media=True), Tone(880))
    call = await pair.phone_a.call(_dial(pair, pair.bob["number"]), playing=Tone(440))
    answered = await pair.phone_b.next_call()
    await call.wait_media("active")
    early = await hear(call, 880, seconds=1, limits=NOISY)
    assert early.ok, str(early)
    await answered.answer()
    await call.wait_confirmed()
    await call.hang_up()
    await answered.wait_ended()
    await idle(pair)


async def test_busy(pair: Pair) -> None:
    await pair.phone_b.set_policy(Refuse(486))
    call = await pair.phone_a.call(_dial(pair, pair.bob["number"]))
    assert await call.wait_ended() == 486
    await idle(pair)


async def test_the_caller_gives_up(pair: Pair) -> None:
    await pair.phone_b.set_policy(Ring())
    call = await pair.phone_a.call(_dial(pair, pair.bob["number"]))
    ringing = await pair.phone_b.next_call()
    await call.wait_ringing()
    await call.hang_up()
    assert await call.wait_ended() == 487
    assert await ringing.wait_ended() == 487
    await idle(pair)


async def test_nobody_has_that_login(pair: Pair) -> None:
    host = key_uri(pair.bob).partition("@")[2]
    call = await pair.phone_a.call(f"sip:nobody@{host}")
    assert await call.wait_ended() == 404
    await idle(pair)


async def test_nobody_has_that_number(pair: Pair) -> None:
    call = await pair.phone_a.call(_dial(pair, "029999999999999"))
    assert await call.wait_ended() == 404
    await idle(pair)


async def test_a_user_without_a_phone(pair: Pair) -> None:
    carol = await add_user(pair.b, "carol")
    call = await pair.phone_a.call(key_uri(carol))
    assert await call.wait_ended() == 480
    await idle(pair)


async def test_two_devices_ring_and_one_answers(pair: Pair) -> None:
    """The other one stops ringing."""
    async with phone_of(pair.bob) as second:
        await pair.phone_b.set_policy(Ring())
        await second.set_policy(Manual(), Tone(880))
        call = await pair.phone_a.call(_dial(pair, pair.bob["number"]), playing=Tone(440))
        first_rings, second_rings = await asyncio.gather(
            pair.phone_b.next_call(), second.next_call()
        )
        await second_rings.ring()
        await call.wait_ringing()
        await second_rings.answer()
        await call.wait_confirmed()
        assert await first_rings.wait_ended() in (487, 200)
        heard = await hear_both(call, second_rings, seconds=1, limits=NOISY)
        assert heard[0].ok, str(heard[0])
        assert heard[1].ok, str(heard[1])
        await call.hang_up()
        await second_rings.wait_ended()
    await idle(pair)


async def test_echo(pair: Pair) -> None:
    for target in ("*43", "echo"):
        report = await measure_echo(pair.phone_a, _dial(pair, target), seconds=1, limits=NOISY)
        assert report.ok, str(report)
    await idle(pair)


async def test_echo_of_the_other_node(pair: Pair) -> None:
    host = key_uri(pair.bob).partition("@")[2]
    report = await measure_echo(pair.phone_a, f"sip:echo@{host}", seconds=1, limits=NOISY)
    assert report.ok, str(report)
    await idle(pair)


async def test_within_one_node(pair: Pair) -> None:
    dora = await add_user(pair.a, "dora")
    async with phone_of(dora) as phone:
        for target in (dora["number"], "dora"):
            report = await measure_call(
                pair.phone_a, phone, _dial(pair, target), seconds=1, limits=NOISY
            )
            assert report.ok, str(report)
    await idle(pair)


async def test_over_tcp(pair: Pair) -> None:
    """A phone registered over TCP is called from one registered over UDP, and calls it."""
    emil = await add_user(pair.b, "emil")
    async with phone_of(emil, transport="tcp") as phone:
        there = await measure_call(pair.phone_a, phone, key_uri(emil), seconds=1, limits=NOISY)
        assert there.ok, str(there)
        back = await measure_call(phone, pair.phone_a, there.shown.uri, seconds=1, limits=NOISY)
        assert back.ok, str(back)
    await idle(pair)


async def test_a_message(pair: Pair) -> None:
    assert await pair.phone_a.send_message(key_uri(pair.bob), "grüße") == 200
    received = await pair.phone_b.next_message()
    assert received.text == "grüße"
    assert pair.alice["number"] in received.sender.uri


async def test_a_wrong_password_registers_nothing(pair: Pair) -> None:
    wrong = dict(pair.alice, password="not-the-password")
    with pytest.raises(RegistrationFailed):
        async with phone_of(wrong):
            pytest.fail("registered")


async def test_hang_up_by_the_operator(pair: Pair) -> None:
    """`call hangup` ends the call at both phones."""
    await pair.phone_b.set_policy(Answer())
    call = await pair.phone_a.call(_dial(pair, pair.bob["number"]))
    answered = await pair.phone_b.next_call()
    await call.wait_confirmed()
    listed = await pair.a.get("calls")
    assert [entry["state"] for entry in listed] == ["up"]
    await pair.a.ask("call", "hangup", listed[0]["id"])
    await call.wait_ended()
    await answered.wait_ended()
    await idle(pair)


async def test_attended_transfer(pair: Pair) -> None:
    """Alice speaks to Bob and to Fred, then joins them; she is out, they hear each other."""
    fred = await add_user(pair.b, "fred")
    async with phone_of(fred) as phone_f:
        await pair.phone_b.set_policy(Answer(), Tone(880))
        await phone_f.set_policy(Answer(), Tone(660))
        first = await pair.phone_a.call(key_uri(pair.bob))
        at_bob = await pair.phone_b.next_call()
        await first.wait_confirmed()
        second = await pair.phone_a.call(key_uri(fred))
        at_fred = await phone_f.next_call()
        await second.wait_confirmed()
        await first.transfer(second)
        successor = await at_fred.wait_successor()
        await successor.wait_confirmed()
        await second.wait_ended()
        await first.hang_up()
        now_at_bob = await at_bob.wait_successor()
        await now_at_bob.play(Tone(440))
        await successor.play(Tone(880))
        heard = await hear_both(now_at_bob, successor, seconds=1, limits=NOISY)
        assert heard[0].ok, str(heard[0])
        assert heard[1].ok, str(heard[1])
        await successor.hang_up()
    await idle(pair)


def _dial(pair: Pair, user: str) -> str:
    return f"sip:{user}@{pair.alice['server']}"
