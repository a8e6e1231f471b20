"""Trunks with real programs: Kamailio as provider and as PBX, phones that measure the sound."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from node.phone.check import measure_call
from node.phone.choices import Answer, Tone
from node.phone.errors import CallFailed
from tests.support.baresip import Line, baresip
from tests.support.kamailio import LOGIN, PASSWORD, REALM, Kamailio, kamailio
from tests.support.nodes import Account, NodeProcess, add_user, phone_of, running_nodes
from tests.support.programs import needs, needs_pjsua2

pytestmark = [pytest.mark.interop, needs_pjsua2, pytest.mark.asyncio(loop_scope="module")]
DID, ABROAD = "+49301234567", "+442079460000"
WITHIN = 15.0
Mesh = tuple[list[NodeProcess], Account, Account]
Pbx = tuple[Kamailio, dict[str, Any]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mesh]:
    """Two nodes: the first has the trunks and the user bob, the second the user alice."""
    folder = tmp_path_factory.mktemp("nodes")
    async with running_nodes(folder, 2) as nodes:
        bob, alice = await asyncio.gather(add_user(nodes[0], "bob"), add_user(nodes[1], "alice"))
        await nodes[1].finds(bob["number"])
        yield nodes, bob, alice


def sip_address(node: NodeProcess) -> str:
    return f"{node.place.ip}:{node.place.sip_port}"


async def has_state(node: NodeProcess, name: str, state: str) -> dict[str, Any]:
    """Wait until a trunk is in that state."""
    shown: dict[str, Any] = {}
    try:
        async with asyncio.timeout(WITHIN):
            while shown.get("state") != state:
                await asyncio.sleep(0.1)
                shown = await node.ask("trunk", "show", name)
    except TimeoutError:
        pytest.fail(f"trunk {name} is not {state}: {shown}")
    return shown


async def test_a_pbx_registers_with_three_parameters_and_is_called_from_another_node(
    mesh: Mesh,
) -> None:
    """One contact for all; the extension behind the number is called as well."""
    nodes, _, alice = mesh
    pbx = await nodes[0].ask("trunk", "add", "office", "--pbx")
    await nodes[1].finds(pbx["number"])
    try:
        async with (
            phone_of(alice) as caller,
            phone_of(pbx, policy=Answer(), playing=Tone(880)) as callee,
        ):
            await has_state(nodes[0], "office", "registered")
            for target in (pbx["number"], f"{pbx['number']}*123"):
                report = await measure_call(caller, callee, target)
                assert report.problems == ()
    finally:
        await nodes[0].ask("trunk", "remove", "office")


@needs("baresip")
async def test_baresip_stands_for_a_pbx(mesh: Mesh, tmp_path: Path) -> None:
    nodes, bob, _ = mesh
    pbx = await nodes[0].ask("trunk", "add", "desk", "--pbx", "--mode", "single")
    line = Line(pbx["login"], pbx["password"], sip_address(nodes[0]))
    try:
        async with phone_of(bob) as caller, baresip(tmp_path, line=line, frequency=880) as other:
            await has_state(nodes[0], "desk", "registered")
            call = await caller.call(f"sip:desk@{sip_address(nodes[0])}")
            await other.event("CALL_ESTABLISHED")
            await call.wait_confirmed()
            await call.hang_up()
            await other.event("CALL_CLOSED")
    finally:
        await nodes[0].ask("trunk", "remove", "desk")


@contextlib.asynccontextmanager
async def kamailio_pbx(node: NodeProcess, folder: Path, mode: str) -> AsyncIterator[Pbx]:
    """Kamailio as a PBX at a fixed address of the trunk `firm`."""
    async with kamailio(folder, sip_address(node), is_pbx=True) as pbx:
        options = ("--pbx", "--static", pbx.address, "--mode", mode)
        added = await node.ask("trunk", "add", "firm", *options)
        try:
            await has_state(node, "firm", "reachable")
            tested = await node.ask("trunk", "test", "firm")
            assert [step["ok"] for step in tested["steps"]] == [True, True]
            yield pbx, added
        finally:
            await node.ask("trunk", "remove", "firm")


@needs("kamailio")
async def test_kamailio_is_a_pbx_with_its_people(mesh: Mesh, tmp_path: Path) -> None:
    """Per user: each of three is called from another node, and calls there; a fourth is not."""
    nodes, _, alice = mesh
    people = ("123", "124", "125")
    async with (
        kamailio_pbx(nodes[0], tmp_path / "k", "per-user") as (pbx, added),
        contextlib.AsyncExitStack() as stack,
    ):
        await nodes[1].finds(added["number"])
        caller = await stack.enter_async_context(phone_of(alice))
        desks = {}
        for person in people:
            desks[person] = await stack.enter_async_context(phone_of(pbx.account(person)))
        for number, (person, desk) in enumerate(desks.items()):
            target, tone = f"{added['number']}*{person}", 700 + 100 * number
            report = await measure_call(caller, desk, target, seconds=0.8, callee_tone=tone)
            assert report.problems == ()
        with pytest.raises(CallFailed) as caught:
            await (await caller.call(f"{added['number']}*199")).wait_confirmed()
        assert caught.value.status == 404
        report = await measure_call(
            desks["125"], caller, f"sip:{alice['number']}@{pbx.address}", seconds=0.8
        )
        assert report.problems == ()


@needs("kamailio")
async def test_kamailio_is_a_pbx_behind_one_address(mesh: Mesh, tmp_path: Path) -> None:
    """Single: whoever calls the trunk gets its attendant, who calls the other node as well."""
    nodes, _, alice = mesh
    async with (
        kamailio_pbx(nodes[0], tmp_path / "k", "single") as (pbx, added),
        phone_of(alice) as far,
        phone_of(pbx.account("firm")) as attendant,
    ):
        await nodes[1].finds(added["number"])
        report = await measure_call(far, attendant, added["number"], seconds=0.8)
        assert report.problems == ()
        report = await measure_call(
            attendant, far, f"sip:{alice['number']}@{pbx.address}", seconds=0.8
        )
        assert report.problems == ()


@needs("kamailio")
async def test_kamailio_is_a_provider(mesh: Mesh, tmp_path: Path) -> None:
    """The node registers there; calls go out by prefix, and come in by number, from node to node.

    Bob has the number; while he forwards, his calls come from the other node and go there.
    """
    nodes, bob, alice = mesh
    options = ["--login", LOGIN, "--password", PASSWORD, "--prefix", "00=+", "--prefix", "+"]
    options += ["--domain", REALM, "--did", f"{DID}=bob"]
    async with kamailio(tmp_path / "k", sip_address(nodes[0])) as provider:
        await nodes[0].ask(
            "trunk", "add", "telco", "--provider", "--server", provider.address, *options
        )
        try:
            await has_state(nodes[0], "telco", "registered")
            tested = await nodes[0].ask("trunk", "test", "telco")
            assert tested["works"]
            assert {step["step"] for step in tested["steps"]} >= {"dns", "reachable", "credentials"}
            async with (
                phone_of(bob) as caller,
                phone_of(provider.account(ABROAD), policy=Answer(), playing=Tone(880)) as abroad,
            ):
                report = await measure_call(
                    caller, abroad, f"sip:00{ABROAD[1:]}@{sip_address(nodes[0])}"
                )
                assert report.problems == ()
            async with (
                phone_of(provider.account(ABROAD)) as abroad,
                phone_of(bob, policy=Answer(), playing=Tone(880)) as callee,
            ):
                report = await measure_call(abroad, callee, f"sip:{DID}@{provider.address}")
                assert report.problems == ()
            async with (
                phone_of(provider.account(ABROAD), policy=Answer(), playing=Tone(880)) as abroad,
                phone_of(alice, policy=Answer(), playing=Tone(880)) as far,
            ):
                await nodes[0].ask("user", "forward", "bob", "--always", alice["number"])
                report = await measure_call(abroad, far, f"sip:{DID}@{provider.address}")
                assert report.problems == ()
                await nodes[0].ask("user", "forward", "bob", "--always", ABROAD)
                report = await measure_call(far, abroad, bob["number"])
                assert report.problems == ()
            for node in nodes:
                await node.has(calls=0)
        finally:
            await nodes[0].ask("user", "forward", "bob", "--off")
            await nodes[0].ask("trunk", "remove", "telco")


@needs("kamailio")
async def test_what_does_not_work_is_told(mesh: Mesh, tmp_path: Path) -> None:
    nodes, _, _ = mesh
    node = nodes[0]
    async with kamailio(tmp_path / "k", sip_address(node)) as provider:
        await node.ask(
            "trunk", "add", "wrong", "--provider", "--server", provider.address,
            "--login", LOGIN, "--password", "not it",
        )  # fmt: skip
        try:
            shown = await has_state(node, "wrong", "refused")
            assert shown["reason"] == f"{provider.address} refuses the login or password"
            code, said, _ = await node.command("trunk", "test", "wrong")
            assert code == 1
            assert "credentials" in said
            assert "FAILS" in said
        finally:
            await node.ask("trunk", "remove", "wrong")
