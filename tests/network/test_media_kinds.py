"""ICE and DTLS-SRTP are carried unopened between nodes, by real phones that speak them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from node.phone.tones import Limits, judge
from tests.support.baresip import Line, baresip
from tests.support.nodes import Account, NodeProcess, add_user, running_nodes
from tests.support.programs import needs

pytestmark = [pytest.mark.interop, needs("baresip"), pytest.mark.asyncio(loop_scope="module")]
Mesh = tuple[list[NodeProcess], Account, Account]
NOISY = Limits(loss=0.05)
TALK = 1.5
"Seconds of talk after the answer: ICE and DTLS need their first moments."


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mesh]:
    """Two nodes; alice on the first, bob on the second."""
    folder = tmp_path_factory.mktemp("nodes")
    async with running_nodes(folder, 2) as nodes:
        alice, bob = await asyncio.gather(add_user(nodes[0], "alice"), add_user(nodes[1], "bob"))
        await nodes[0].finds(bob["number"])
        yield nodes, alice, bob


def line_of(account: Account) -> Line:
    return Line(account["login"], account["password"], account["server"])


@pytest.mark.parametrize(
    ("media", "modules"),
    [
        (";medianat=ice", ("ice",)),
        (";mediaenc=dtls_srtp;medianat=ice;rtcp_mux=yes", ("srtp", "dtls_srtp", "ice")),
    ],
    ids=["ice", "ice+dtls+mux"],
)
async def test_both_ends_speak_it(
    mesh: Mesh, tmp_path: Path, media: str, modules: tuple[str, ...]
) -> None:
    """Heard at both ends; the nodes hold no key."""
    nodes, alice, bob = mesh
    here, there = tmp_path / "alice", tmp_path / "bob"
    here.mkdir()
    there.mkdir()
    async with (
        baresip(here, line=line_of(alice), frequency=440, media=media, modules=modules) as caller,
        baresip(there, line=line_of(bob), frequency=880, media=media, modules=modules) as callee,
    ):
        await caller.dial(f"sip:{bob['number']}@{alice['server']}")
        await callee.event("CALL_ESTABLISHED")
        await asyncio.sleep(TALK)  # real phones talk in real time
        await caller.hang_up()
        await callee.event("CALL_CLOSED")
        for phone, tone in ((caller, 880), (callee, 440)):
            verdict = judge(phone.heard(), tone, limits=NOISY)
            assert verdict.ok, f"{verdict}\n{phone.program.output}"
    for node in nodes:
        await node.has(calls=0)


@pytest.mark.parametrize(
    ("media", "modules"),
    [("", ()), (";mediaenc=dtls_srtp;medianat=ice;rtcp_mux=yes", ("srtp", "dtls_srtp", "ice"))],
    ids=["plain", "ice+dtls+mux"],
)
async def test_video(mesh: Mesh, tmp_path: Path, media: str, modules: tuple[str, ...]) -> None:
    """VP8 beside the sound: both ends decode the other's frames, and lose next to none."""
    nodes, alice, bob = mesh
    here, there = tmp_path / "alice", tmp_path / "bob"
    here.mkdir()
    there.mkdir()
    media, modules = f"{media};video_codecs=VP8", (*modules, "vp8", "fakevideo")
    async with (
        baresip(here, line=line_of(alice), frequency=440, media=media, modules=modules) as caller,
        baresip(there, line=line_of(bob), frequency=880, media=media, modules=modules) as callee,
    ):
        await caller.dial(f"sip:{bob['number']}@{alice['server']}")
        await callee.event("CALL_ESTABLISHED")
        await asyncio.sleep(2 * TALK)  # real phones talk in real time
        for phone in (caller, callee):
            seen = await phone.video()
            assert seen.sent >= 10 * TALK, seen
            # The first frames may go before the other end is ready, or before DTLS is done.
            assert seen.decoded >= 10 * TALK, f"{seen}\n{phone.program.output[-4000:]}"
            assert seen.key_frames >= 1
            assert seen.lost <= 2, seen
        await caller.hang_up()
        await callee.event("CALL_CLOSED")
        for phone, tone in ((caller, 880), (callee, 440)):
            verdict = judge(phone.heard(), tone, limits=NOISY)
            assert verdict.ok, f"{verdict}\n{phone.program.output}"
    for node in nodes:
        await node.has(calls=0)
