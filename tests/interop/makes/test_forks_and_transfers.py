"""Calls that ring twice, cross themselves or go on to somebody else, between makes of phones."""

import asyncio
import time
from pathlib import Path

import pytest

from node.phone.check import hear, hear_both
from node.phone.choices import Answer, Ring, Tone
from node.phone.tones import Limits
from tests.interop.makes.conftest import NEEDED, Mesh
from tests.support.handsets import TONES, Make, handset, hear_each_other, hears, together
from tests.support.linphone import Linphone
from tests.support.nodes import phone_of

pytestmark = NEEDED
FAIR = Limits(loss=0.05)
LOW, HIGH = 550, 1100
"Hz: what two devices of one account say."


@pytest.mark.parametrize("make", ["pjsua2", "baresip", "linphone"])
async def test_the_one_that_answers_is_heard_after_the_other(
    mesh: Mesh, tmp_path: Path, make: Make
) -> None:
    """Two devices say something before they answer; the one whose sound came through does not."""
    early = Ring(early_media=True)
    async with (
        phone_of(mesh.bob, policy=early, playing=Tone(LOW)) as low,
        phone_of(mesh.bob, policy=early, playing=Tone(HIGH)) as high,
        handset(make, mesh.alice, tmp_path) as caller,
    ):
        await caller.dial(mesh.dialled("alice", "bob"))
        ringing = dict(
            zip((LOW, HIGH), await asyncio.gather(low.next_call(), high.next_call()), strict=True)
        )
        first = await hears(caller, LOW, HIGH)
        second = LOW + HIGH - first
        await ringing[second].answer()
        await caller.talks()
        assert await ringing[first].wait_ended() == 487
        await hears(caller, second)
        verdict = await hear(ringing[second], TONES[make], seconds=0.5, limits=FAIR)
        assert verdict.ok, verdict
        await caller.hang_up()
        await ringing[second].wait_ended()
    await mesh.is_idle()


async def test_re_invites_that_cross(mesh: Mesh) -> None:
    """Both are refused with 491 by the other end, nothing is lost of the sound, and one works."""
    async with (
        phone_of(mesh.alice) as alice,
        phone_of(mesh.bob, policy=Answer(), playing=Tone(880)) as bob,
    ):
        call = await alice.call(mesh.dialled("alice", "bob"), playing=Tone(440))
        taken = await bob.next_call()
        await call.wait_confirmed()
        at = time.monotonic() + 0.1
        heard, *_ = await asyncio.gather(
            hear_both(call, taken, seconds=1, limits=FAIR),
            call.renegotiate(at=at),
            taken.renegotiate(at=at),
        )
        assert all(verdict.ok for verdict in heard), heard
        for end in (call, taken):
            assert end.responses[-1].first_line.startswith("SIP/2.0 491 ")
            assert end.media == "active"
        await taken.hold()
        await call.wait_media("remote_hold")
        await taken.resume()
        await call.wait_media("active")
        heard = await hear_both(call, taken, seconds=0.5, limits=FAIR)
        assert all(verdict.ok for verdict in heard), heard
        await call.hang_up()
        await taken.wait_ended()
    await mesh.is_idle()


@pytest.mark.parametrize(
    ("transferor", "transferee", "target", "calls"),
    [
        (("pjsua2", "alice"), ("baresip", "bob"), ("linphone", "dora"), True),
        (("baresip", "alice"), ("linphone", "bob"), ("pjsua2", "carol"), True),
        (("linphone", "bob"), ("pjsua2", "alice"), ("baresip", "carol"), False),
    ],
)
async def test_a_blind_transfer(
    mesh: Mesh,
    tmp_path: Path,
    transferor: tuple[Make, str],
    transferee: tuple[Make, str],
    target: tuple[Make, str],
    calls: bool,
) -> None:
    """To somebody on the transferor's node or the transferee's, by who calls or who was called."""
    names = (transferor[1], transferee[1])
    people = [
        handset(make, getattr(mesh, who), tmp_path)
        for make, who in (transferor, transferee, target)
    ]
    async with together(*people) as (first, second, third):
        caller, callee = (first, second) if calls else (second, first)
        await caller.dial(mesh.dialled(*names) if calls else mesh.dialled(*reversed(names)))
        await asyncio.gather(callee.answer(), caller.talks())
        await hear_each_other(first, second)
        await asyncio.gather(
            first.transfer(mesh.dialled(transferor[1], target[1])),
            second.transferred(),
            third.answer(),
        )
        await hear_each_other(second, third)
        await third.hang_up()
        await second.ended()
    await mesh.is_idle()


async def test_an_attended_transfer_of_linphone_by_pjsua2(mesh: Mesh, tmp_path: Path) -> None:
    """The INVITE of linphone replaces the call that pjsua2 had made first (RFC 3891)."""
    async with (
        phone_of(mesh.carol, policy=Answer(), playing=Tone(550)) as carol,
        phone_of(mesh.alice) as alice,
        handset("linphone", mesh.bob, tmp_path) as bob,
    ):
        assert isinstance(bob, Linphone)
        first = await alice.call(mesh.dialled("alice", "bob"))
        await bob.answer()
        await first.wait_confirmed()
        second = await alice.call(mesh.dialled("alice", "carol"))
        await second.wait_confirmed()
        await first.transfer(second)
        replacing = await (await carol.next_call()).wait_successor()
        await bob.transferred()
        await second.wait_ended()
        await replacing.play(Tone(550))
        await hears(bob, 550)
        verdict = await hear(replacing, TONES["linphone"], seconds=0.5, limits=FAIR)
        assert verdict.ok, verdict
        await replacing.hang_up()
    await mesh.is_idle()
