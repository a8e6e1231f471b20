"""Every make of phone calls every other across two nodes, and is called; both are measured."""

import asyncio
from pathlib import Path

import pytest

from node.phone.phone import Transport
from tests.interop.makes.conftest import NEEDED, Mesh
from tests.support.baresip import Baresip, baresip
from tests.support.handsets import (
    TONES,
    Handset,
    Make,
    Pjsua2,
    Way,
    handset,
    hear_each_other,
    hear_each_other_again,
    hears,
    hears_nothing,
    line_of,
    together,
)
from tests.support.linphone import Linphone

pytestmark = NEEDED


@pytest.mark.parametrize(
    ("caller", "callee", "transports", "way", "by_info"),
    [
        ("pjsua2", "baresip", ("udp", "tcp"), "plain", False),
        ("baresip", "pjsua2", ("tls", "tls"), "sdes", True),
        ("baresip", "linphone", ("tcp", "udp"), "plain", False),
        ("linphone", "baresip", ("tls", "tls"), "sdes", False),
        ("linphone", "pjsua2", ("tcp", "udp"), "plain", False),
        ("pjsua2", "linphone", ("tls", "tls"), "sdes", True),
    ],
)
async def test_ringing_sound_digits_and_holding(
    mesh: Mesh,
    tmp_path: Path,
    caller: Make,
    callee: Make,
    transports: tuple[Transport, Transport],
    way: Way,
    by_info: bool,
) -> None:
    """`by_info`: digits of those that can go by INFO; those of baresip never do."""
    here, there = transports
    async with together(
        handset(caller, mesh.alice, tmp_path, transport=here, way=way, by_info=by_info),
        handset(callee, mesh.bob, tmp_path, transport=there, way=way, by_info=by_info),
    ) as (one, other):
        await one.dial(mesh.dialled("alice", "bob"))
        await one.rings()
        await asyncio.gather(other.answer(), one.talks())
        if isinstance(other, Pjsua2):
            assert other.call.remote.uri.startswith(f"sip:{mesh.alice['number']}@")
            assert other.call.asserted is not None
        await hear_each_other(one, other)
        await asyncio.gather(one.press("5"), other.press("7"))
        assert [await one.pressed(), await other.pressed()] == ["7", "5"]
        holders = ((one, other), (other, one)) if way == "plain" else ((one, other),)
        for holder, held in holders:
            await holds(holder, held)
            await hear_each_other_again(one, other)
        await other.hang_up()
        await one.ended()
    await mesh.is_idle()


async def holds(holder: Handset, held: Handset) -> None:
    """Nothing is heard during a hold, but what linphone plays to whom it holds."""
    await holder.hold()
    await hears_nothing(holder)
    if not isinstance(holder, Linphone):
        await hears_nothing(held)
    elif isinstance(held, Pjsua2):
        await hears(held, TONES["linphone"])
    await holder.resume()


@pytest.mark.parametrize(
    ("caller", "callee", "ways"),
    [
        ("baresip", "linphone", ("dtls", "dtls")),
        ("pjsua2", "baresip", ("ice", "ice")),
        ("baresip", "linphone", ("ice", "ice")),
        ("linphone", "pjsua2", ("ice", "ice")),
        ("pjsua2", "baresip", ("ice", "plain")),
        ("baresip", "linphone", ("plain", "ice")),
        ("linphone", "pjsua2", ("plain", "ice")),
    ],
)
async def test_ice_and_dtls(
    mesh: Mesh, tmp_path: Path, caller: Make, callee: Make, ways: tuple[Way, Way]
) -> None:
    """With ICE at one end alone the anchors carry the sound.

    That end is never baresip: without ICE at the other end it says nothing, node or not.
    """
    async with together(
        handset(caller, mesh.alice, tmp_path, way=ways[0]),
        handset(callee, mesh.bob, tmp_path, way=ways[1]),
    ) as (one, other):
        await one.dial(mesh.dialled("alice", "bob"))
        await asyncio.gather(other.answer(), one.talks())
        await hear_each_other(one, other)
        for phone, way in zip((one, other), ways, strict=True):
            if isinstance(phone, Baresip) and way == "ice":
                assert "mnat: ice (connected=yes)" in await phone.command("audio_debug")
        await other.hang_up()
        await one.ended()
    await mesh.is_idle()


@pytest.mark.parametrize(
    ("caller", "callee"),
    [
        ("pjsua2", "baresip"),
        ("pjsua2", "linphone"),
        ("linphone", "pjsua2"),
        ("linphone", "baresip"),
    ],
)
async def test_a_late_offer(mesh: Mesh, tmp_path: Path, caller: Make, callee: Make) -> None:
    """No description in the INVITE, the answer in the ACK; pjsua2 asks so again inside the call."""
    async with together(
        handset(caller, mesh.alice, tmp_path, offers_late=True),
        handset(callee, mesh.bob, tmp_path),
    ) as (one, other):
        await one.dial(mesh.dialled("alice", "bob"))
        await asyncio.gather(other.answer(), one.talks())
        if isinstance(other, Pjsua2):
            assert other.call.invite is not None
            assert "m=audio" not in other.call.invite.raw
        await hear_each_other(one, other)
        if isinstance(one, Pjsua2):
            await one.call.renegotiate(offer=False)
            await hear_each_other(one, other)
        await other.hang_up()
        await one.ended()
    await mesh.is_idle()


async def test_messages(mesh: Mesh, tmp_path: Path) -> None:
    """Each make writes to each other."""
    async with (
        handset("pjsua2", mesh.alice, tmp_path) as first,
        handset("linphone", mesh.bob, tmp_path) as second,
        baresip(
            tmp_path, line=line_of(mesh.carol), modules=("contact",),
            contact=mesh.dialled("carol", "alice"), shows_sip=True,
        ) as third,
    ):  # fmt: skip
        assert isinstance(first, Pjsua2)
        assert isinstance(second, Linphone)
        for callee, reader in (("bob", second), ("carol", third)):
            assert await first.phone.send_message(mesh.dialled("alice", callee), "grüße") == 200
            await reader.read("grüße")
        for callee, reader in (("alice", first), ("carol", third)):
            await second.tell(f"chat {mesh.dialled('bob', callee)} from linphone")
            await reader.read("from linphone")
        await third.write("from baresip")
        await first.read("from baresip")
