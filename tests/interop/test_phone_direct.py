"""Two phones without a server: the harness must hear what is there and miss what is not."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator

import pytest

from node.phone.check import CALLEE_TONE, CALLER_TONE, hear, hear_both, measure_call, measure_echo
from node.phone.choices import Answer, Manual, Refuse, Ring, Silence, Tone
from node.phone.errors import (
    CallFailed,
    PhoneDied,
    PhoneMissing,
    PhoneRefused,
    PhoneTimeout,
    RegistrationFailed,
)
from node.phone.phone import Phone
from tests.support.programs import needs_pjsua2

pytestmark = [pytest.mark.interop, needs_pjsua2]
Pair = tuple[Phone, Phone]


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    async with Phone(name="alice") as alice, Phone(name="bob") as bob:
        yield alice, bob


async def test_both_ends_hear_each_other(pair: Pair) -> None:
    alice, bob = pair
    report = await measure_call(alice, bob, bob.uri)
    assert report.problems == ()
    assert report.by_caller is not None
    assert report.by_callee is not None
    assert report.by_caller.frequency == pytest.approx(CALLEE_TONE, rel=0.005)
    assert report.by_callee.frequency == pytest.approx(CALLER_TONE, rel=0.005)
    assert report.by_caller.level == pytest.approx(-12, abs=1)
    assert report.post_dial_delay is not None
    assert report.set_up_time is not None
    assert report.post_dial_delay < 0.2 <= report.set_up_time < 2
    assert report.shown is not None
    assert report.shown.uri == "sip:alice@127.0.0.1"
    assert report.as_json()["ok"] is True
    assert len(report.lines()) == 6


@pytest.mark.parametrize("codec", ["PCMA", "G722"])
async def test_other_codecs(codec: str) -> None:
    async with Phone(codecs=(codec,)) as alice, Phone(codecs=(codec,)) as bob:
        report = await measure_call(alice, bob, bob.uri, seconds=1)
        assert report.problems == ()
        assert report.caller_rtp is not None
        assert report.caller_rtp.codec.startswith(codec)


async def test_phones_without_a_common_codec_fail_to_talk() -> None:
    async with Phone(codecs=("PCMA",)) as alice, Phone(codecs=("PCMU",)) as bob:
        report = await measure_call(alice, bob, bob.uri, seconds=1)
        assert report.status == 488
        assert report.problems == ("the call ended: 488 Not Acceptable Here",)


async def test_a_call_over_tcp(pair: Pair) -> None:
    alice, bob = pair
    report = await measure_call(alice, bob, f"{bob.uri};transport=tcp", seconds=1)
    assert report.problems == ()
    answered = bob.events
    assert any("SIP/2.0/TCP" in line.get("raw", "") for line in answered)


async def test_hold_is_silent_and_resume_is_not(pair: Pair) -> None:
    alice, bob = pair
    await bob.set_policy(Answer(), Tone(CALLEE_TONE))
    call = await alice.call(bob.uri, playing=Tone(CALLER_TONE))
    await call.wait_confirmed()
    answered = await bob.next_call()
    await answered.wait_confirmed()
    assert all(verdict.ok for verdict in await hear_both(call, answered, seconds=0.7))
    await call.hold()
    await answered.wait_media("remote_hold")
    held = await hear_both(call, answered, seconds=0.7)
    assert [verdict.frequency for verdict in held] == [None, None]
    await call.resume()
    await answered.wait_media("active")
    assert all(verdict.ok for verdict in await hear_both(call, answered, seconds=0.7))
    await answered.hang_up()
    assert await call.wait_ended() == 200


@pytest.mark.parametrize("method", ["rfc4733", "info"])
async def test_dtmf(pair: Pair, method: str) -> None:
    alice, bob = pair
    await bob.set_policy(Answer())
    call = await alice.call(bob.uri)
    await call.wait_confirmed()
    await call.dtmf("19*#", "info" if method == "info" else "rfc4733", duration=0.1)
    digits = await (await bob.next_call()).wait_digits(4)
    assert [(digit.digit, digit.method) for digit in digits] == [(d, method) for d in "19*#"]


async def test_busy(pair: Pair) -> None:
    alice, bob = pair
    await bob.set_policy(Refuse(486))
    call = await alice.call(bob.uri)
    with pytest.raises(CallFailed) as failure:
        await call.wait_confirmed()
    assert failure.value.status == 486
    assert await (await bob.next_call()).wait_ended() == 486


async def test_a_caller_who_gives_up(pair: Pair) -> None:
    alice, bob = pair
    await bob.set_policy(Ring())
    call = await alice.call(bob.uri)
    await call.wait_ringing()
    with pytest.raises(PhoneTimeout):
        await call.wait_confirmed(within=0.3)
    await call.hang_up()
    assert call.status == 487
    assert await (await bob.next_call()).wait_ended() == 487


async def test_answering_by_hand(pair: Pair) -> None:
    alice, bob = pair
    await bob.set_policy(Manual())
    call = await alice.call(bob.uri, headers={"X-Test": "yes"})
    answered = await bob.next_call()
    assert answered.invite is not None
    assert answered.invite.value("X-Test") == "yes"
    assert call.times.ringing is None
    await answered.ring()
    await call.wait_ringing()
    await answered.answer()
    await call.wait_confirmed()
    await call.hang_up()
    assert await answered.wait_ended() == 200


async def test_the_callee_sees_who_is_asserted(pair: Pair) -> None:
    alice, bob = pair
    await bob.set_policy(Refuse(603))
    identity = '"A" <sip:0234@node>'
    await alice.call(bob.uri, headers={"P-Asserted-Identity": identity})
    answered = await bob.next_call()
    assert answered.asserted is not None
    assert (answered.asserted.name, answered.asserted.uri) == ("A", "sip:0234@node")
    assert answered.remote.uri == "sip:alice@127.0.0.1"


async def test_early_media_is_heard_before_the_answer(pair: Pair) -> None:
    alice, bob = pair
    await bob.set_policy(Ring(early_media=True), Tone(620))
    call = await alice.call(bob.uri)
    await call.wait_media("active")
    assert (await hear(call, 620, seconds=0.7)).ok
    assert call.times.confirmed is None
    await call.hang_up()


async def test_a_blind_transfer(pair: Pair) -> None:
    alice, bob = pair
    async with Phone(name="carol", policy=Answer(), playing=Tone(700)) as carol:
        await bob.set_policy(Answer())
        call = await alice.call(bob.uri)
        await call.wait_confirmed()
        answered = await bob.next_call()
        await answered.transfer(carol.uri)
        successor = await call.wait_successor()
        await successor.wait_confirmed()
        assert (await hear(successor, 700, seconds=0.7)).ok
        assert (await carol.next_call()).remote.uri == "sip:alice@127.0.0.1"


async def test_an_attended_transfer(pair: Pair) -> None:
    alice, bob = pair
    async with Phone(name="carol", policy=Answer(), playing=Tone(700)) as carol:
        await bob.set_policy(Answer())
        call = await alice.call(bob.uri)
        await call.wait_confirmed()
        answered = await bob.next_call()
        consultation = await bob.call(carol.uri)
        await consultation.wait_confirmed()
        first = await carol.next_call()
        await answered.transfer(consultation)
        successor = await call.wait_successor()
        await successor.wait_confirmed()
        assert (await first.wait_successor()).state != "disconnected"
        await consultation.wait_ended()


async def test_messages_both_ways(pair: Pair) -> None:
    alice, bob = pair
    assert await alice.send_message(bob.uri, "grüß dich") == 200
    message = await bob.next_message()
    assert (message.text, message.sender.uri) == ("grüß dich", "sip:alice@127.0.0.1")
    assert await bob.send_message(alice.uri, "dich auch") == 200
    assert (await alice.next_message()).text == "dich auch"


async def test_a_call_that_takes_the_place_of_one_long_over_is_answered(pair: Pair) -> None:
    """Calls have one of four places in turn; the fifth is put where the first was."""
    alice, bob = pair
    for phone in pair:
        await phone.set_policy(Answer(after=0.05))
    for caller, callee in ((alice, bob), (bob, alice), (bob, alice), (bob, alice), (alice, bob)):
        call = await caller.call(callee.uri)
        await call.wait_confirmed()
        await call.hang_up()
        await (await callee.next_call()).wait_ended()


async def test_four_calls_at_once_and_not_a_fifth(pair: Pair) -> None:
    alice, bob = pair
    await bob.set_policy(Answer(), Tone(CALLEE_TONE))
    calls = [await alice.call(bob.uri, playing=Tone(CALLER_TONE)) for _ in range(4)]
    for call in calls:
        await call.wait_confirmed()
    with pytest.raises(PhoneRefused, match="4 calls"):
        await alice.call(bob.uri)
    verdicts = await asyncio.gather(*(hear(call, CALLEE_TONE, seconds=0.7) for call in calls))
    assert all(verdict.ok for verdict in verdicts), verdicts


# what must not pass
async def test_control_a_wrong_frequency_is_noticed(pair: Pair) -> None:
    alice, bob = pair
    await bob.set_policy(Answer(), Tone(1000))
    call = await alice.call(bob.uri, playing=Tone(CALLER_TONE))
    await call.wait_confirmed()
    verdict = await hear(call, CALLEE_TONE, seconds=0.7)
    assert "heard 1000 Hz where 880 Hz was expected" in verdict.problems


async def test_control_a_silent_end_is_noticed(pair: Pair) -> None:
    alice, bob = pair
    await bob.set_policy(Answer(), Silence())
    call = await alice.call(bob.uri, playing=Tone(CALLER_TONE))
    await call.wait_confirmed()
    answered = await bob.next_call()
    await answered.wait_confirmed()
    by_caller, by_callee = await hear_both(call, answered, seconds=0.7)
    assert by_callee.ok
    assert by_caller.frequency is None


async def test_control_a_blocked_direction_is_noticed() -> None:
    async with Phone(drop_received=100) as alice, Phone() as bob:
        report = await measure_call(alice, bob, bob.uri, seconds=1)
    assert report.problems == ("caller: nothing was heard, not the expected 880 Hz",)
    assert report.by_callee is not None
    assert report.by_callee.ok


async def test_control_loss_is_noticed() -> None:
    async with Phone(drop_received=15) as alice, Phone() as bob:
        report = await measure_call(alice, bob, bob.uri, seconds=2)
    assert report.by_caller is not None
    assert 0.04 < report.by_caller.loss < 0.4
    assert any(problem.startswith("caller: loss") for problem in report.problems)


async def test_control_an_echo_is_no_other_end(pair: Pair) -> None:
    alice, bob = pair
    await bob.set_policy(Answer(), Tone(CALLEE_TONE))
    report = await measure_echo(alice, bob.uri, seconds=0.7)
    assert not report.ok


async def test_nobody_answers_at_a_closed_port(pair: Pair) -> None:
    alice, bob = pair
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        deaf.bind(("127.0.0.1", 0))
        target = f"sip:x@127.0.0.1:{deaf.getsockname()[1]}"
        report = await measure_call(alice, bob, target, within=0.5)
    assert report.problems == ("an answer did not happen within 0.5 s",)


# bad usage and bad luck
@pytest.mark.parametrize(
    "arguments",
    [
        {"local_ip": "::1"},
        {"local_ip": "nonsense"},
        {"local_ip": "192.0.2.1"},
        {"codecs": ("opus",)},
        {"drop_received": 101},
    ],
)
async def test_phones_that_cannot_be(arguments: dict[str, object]) -> None:
    with pytest.raises(PhoneRefused):
        async with Phone(**arguments):  # type: ignore[arg-type]
            pass


async def test_requests_that_make_no_sense(pair: Pair) -> None:
    alice, bob = pair
    for target in ("sip:", "sip:a b@c", "http://x", "alice"):
        with pytest.raises(PhoneRefused):
            await alice.call(target)
    with pytest.raises(PhoneRefused, match="not registered"):
        await alice.unregister()
    await bob.set_policy(Ring())
    call = await alice.call(bob.uri)
    await call.wait_ringing()
    with pytest.raises(PhoneRefused):
        await call.hold()
    with pytest.raises(PhoneRefused, match="DTMF"):
        await call.dtmf("x")
    with pytest.raises(PhoneRefused):
        await call.stats()
    with pytest.raises(PhoneRefused, match="calls"):
        await alice.register("a", "b", server="127.0.0.1:9")
    await call.hang_up()
    with pytest.raises(PhoneRefused, match="ended"):
        await call.dtmf("1")
    report = await measure_call(alice, bob, bob.uri, seconds=0.7)
    assert report.ok, "after all that the phone still works"


async def test_a_registrar_that_is_not_there() -> None:
    async with Phone() as alice:
        with socket.socket() as port:
            port.bind(("127.0.0.1", 0))
            server = f"127.0.0.1:{port.getsockname()[1]}"
            with pytest.raises((RegistrationFailed, PhoneTimeout)):
                await alice.register("alice", "x", server=server, transport="tcp", within=2)
            with pytest.raises((RegistrationFailed, PhoneTimeout)):
                await alice.register("alice", "x", server=server, within=0.5)


async def test_without_the_wheel_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(PhoneMissing, match="pip install"):
        await Phone().start()


async def test_a_phone_that_dies_ends_every_wait(pair: Pair) -> None:
    alice, bob = pair
    await bob.set_policy(Ring())
    call = await alice.call(bob.uri)
    waiting = asyncio.create_task(call.wait_confirmed())
    await asyncio.sleep(0)
    assert alice.pid is not None
    os.kill(alice.pid, signal.SIGKILL)
    with pytest.raises(PhoneDied):
        await waiting
    with pytest.raises(PhoneDied):
        await alice.call(bob.uri)


async def test_a_phone_does_not_outlive_its_program() -> None:
    program = (
        "import asyncio\nfrom node.phone.phone import Phone\n"
        "async def main():\n"
        "    async with Phone() as phone:\n"
        "        print(phone.pid, flush=True)\n"
        "        await asyncio.sleep(60)\n"
        "asyncio.run(main())"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    pid = int(await process.stdout.readline())
    process.kill()
    await process.wait()
    deadline = time.monotonic() + 5
    with contextlib.suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.kill(pid, 0)
            await asyncio.sleep(0.02)
        os.kill(pid, signal.SIGKILL)
        pytest.fail("the phone's process lives on")
