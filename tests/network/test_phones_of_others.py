"""Phones by others on real nodes: registered by digest, calling and called across the mesh."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from node.phone.check import hear, measure_call, measure_echo
from node.phone.choices import Answer, Refuse, Tone
from node.phone.errors import CallFailed, RegistrationFailed
from node.phone.phone import Phone
from node.phone.tones import judge, read_wav
from tests.support.nodes import Account, NodeProcess, add_user, phone_of, running_nodes
from tests.support.ports import free_port
from tests.support.programs import needs, needs_pjsua2, running
from tests.support.sipp import Account as SippAccount
from tests.support.sipp import sipp

pytestmark = [pytest.mark.interop, needs_pjsua2, pytest.mark.asyncio(loop_scope="module")]
Mesh = tuple[list[NodeProcess], Account, Account]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mesh]:
    """Two nodes; alice on the first, bob on the second, each findable from the other."""
    folder = tmp_path_factory.mktemp("nodes")
    async with running_nodes(folder, 2) as nodes:
        alice, bob = await asyncio.gather(add_user(nodes[0], "alice"), add_user(nodes[1], "bob"))
        await nodes[0].finds(bob["number"])
        await nodes[1].finds(alice["number"])
        yield nodes, alice, bob


@needs("sipp")
@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_sipp_calls_by_digest(mesh: Mesh, tmp_path: Path, transport: str) -> None:
    _, alice, bob = mesh
    async with (
        phone_of(bob, policy=Answer(after=0.1)) as phone,
        sipp(
            tmp_path,
            "call",
            target=f"{alice['server']}:5060",
            accounts=[SippAccount("alice", alice["password"], bob["number"])],
            transport=transport,
            talk=1.5,
            say=440,
        ) as other,
    ):
        call = await phone.next_call(within=4)
        await call.wait_confirmed()
        verdict = await hear(call, 440, seconds=1)
        assert verdict.ok, verdict
        result = await other.result()
        assert (result.successful, result.failed) == (1, 0), result
        assert await call.wait_ended() == 200


@needs("sipp")
async def test_sipp_registers_and_is_called(mesh: Mesh, tmp_path: Path) -> None:
    nodes, alice, _ = mesh
    carol = await add_user(nodes[1], "carol")
    await nodes[0].finds(carol["number"])
    waiting, registering = tmp_path / "waiting", tmp_path / "registering"
    waiting.mkdir()
    registering.mkdir()
    port = free_port()
    account = SippAccount("carol", carol["password"], f"127.0.0.1:{port}")
    server = f"{carol['server']}:5060"
    async with sipp(
        registering, "register", target=server, accounts=[account], port=port
    ) as client:
        result = await client.result()
        assert result.successful == 1, result
    async with (
        phone_of(alice, codecs=("PCMU",)) as phone,
        sipp(waiting, "answer", echo=True, port=port),
    ):
        report = await measure_echo(phone, carol["number"], seconds=1)
        assert report.problems == ()
        for node in nodes:
            await node.has(calls=0)  # the BYE is answered before SIPp is ended


@needs("sipp")
async def test_control_sipp_with_a_wrong_password_fails(mesh: Mesh, tmp_path: Path) -> None:
    _, alice, bob = mesh
    async with sipp(
        tmp_path,
        "call",
        target=f"{alice['server']}:5060",
        accounts=[SippAccount("alice", "wrong", bob["number"])],
    ) as other:
        result = await other.result()
        assert result.exit_code != 0
        assert result.successful == 0


async def test_control_a_wrong_password_is_refused(mesh: Mesh) -> None:
    _, alice, _ = mesh
    async with Phone() as phone:
        with pytest.raises(RegistrationFailed) as failure:
            await phone.register("alice", "wrong", server=alice["server"])
        assert failure.value.status in (401, 403)


async def test_the_softphone_example(mesh: Mesh, tmp_path: Path) -> None:
    _, alice, bob = mesh
    heard = tmp_path / "heard.wav"
    async with (
        phone_of(bob, policy=Answer(after=0.1), playing=Tone(880)) as phone,
        running(
            *(sys.executable, "examples/softphone.py", "--server", alice["server"]),
            *("--login", "alice", "--password", alice["password"], "--call", bob["number"]),
            *("--tone", "440", "--record", str(heard), "--seconds", "1.5"),
        ) as softphone,
    ):
        call = await phone.next_call()
        await call.wait_confirmed()
        verdict = await hear(call, 440, seconds=1)
        assert verdict.ok, verdict
        assert await softphone.ends() == 0
        assert judge(read_wav(heard), 880).ok


async def test_one_call_after_another(mesh: Mesh) -> None:
    """Busy, given up, and then a call that stands: nothing of the former is in the latter's way."""
    nodes, alice, bob = mesh
    async with phone_of(alice) as alices, phone_of(bob, policy=Refuse(486)) as bobs:
        call = await alices.call(bob["number"])
        with pytest.raises(CallFailed) as failure:
            await call.wait_confirmed()
        assert failure.value.status == 486
        report = await measure_call(alices, bobs, bob["number"], seconds=1)
        assert report.problems == ()
    for node in nodes:
        await node.has(calls=0)
