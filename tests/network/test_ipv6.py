"""IPv6 is equal to IPv4: phones, the mesh and the sound between nodes."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from federation.model.address import Endpoint
from node.phone.tones import Limits, Sound, judge
from node.spawned import Place
from tests.support.baresip import Baresip, Line, baresip
from tests.support.nodes import (
    Account,
    NodeProcess,
    add_user,
    offset_places,
    running_nodes,
)
from tests.support.programs import needs
from tests.support.sip_client import sip_client
from tests.support.sipp import Account as SippAccount
from tests.support.sipp import sipp

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="module")]
LOW, HIGH = 440, 880
NOISY = Limits(loss=0.05)
TALK = 1.5


@dataclass
class World:
    """Two nodes that listen on ::1 alone, told apart by their ports."""

    a: NodeProcess
    b: NodeProcess
    alice: Account
    bob: Account


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder = tmp_path_factory.mktemp("ipv6")
    async with running_nodes(folder, 2, places=offset_places("::1", 2)) as (a, b):
        found = World(a, b, await add_user(a, "alice"), await add_user(b, "bob"))
        await a.finds(found.bob["number"])
        yield found


def line(account: Account, server: str | None = None, transport: str = "udp") -> Line:
    return Line(account["login"], account["password"], server or account["server"], transport)


def heard(sound: Sound, frequency: int) -> None:
    verdict = judge(sound, frequency, limits=NOISY)
    assert verdict.ok, str(verdict)


async def talk(caller: Baresip, callee: Baresip, target: str) -> None:
    """A call in which the caller hears HIGH and the callee LOW."""
    await caller.dial(target)
    await caller.event("CALL_ESTABLISHED")
    await callee.event("CALL_ESTABLISHED")
    await asyncio.sleep(TALK)
    await caller.hang_up()
    for phone in (caller, callee):
        await phone.event("CALL_CLOSED")
    heard(caller.heard(), HIGH)
    heard(callee.heard(), LOW)


async def test_what_a_person_is_told(world: World) -> None:
    """Addresses in brackets, with the port where it is not the usual one."""
    own = Endpoint("::1", world.b.place.sip_port)
    assert world.bob["server"] == str(own)
    assert world.b.status["addresses"] == [world.b.place.mesh]
    (peer,) = await world.a.get("peers")
    assert peer["address"] == world.b.place.mesh


async def test_registered_over_udp(world: World) -> None:
    server = Endpoint("::1", world.a.place.sip_port)
    async with sip_client(server) as phone:
        answer = await phone.register("alice", world.alice["password"])
        assert answer.status == 200
        via = answer.top_via
        assert (via.param("received") or "").strip("[]") in ("::1", "")
        shown = await world.a.get("users", "alice")
        assert [device["address"] for device in shown["devices"]] == [str(phone.own)]
        assert (await phone.register("alice", world.alice["password"], expires=0)).status == 200


@needs("baresip")
@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_call_across_the_mesh_is_heard(
    world: World, tmp_path: Path, transport: str
) -> None:
    """Phones, link and sealed legs, all over IPv6."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    alice, bob = line(world.alice, transport=transport), line(world.bob, transport=transport)
    async with (
        baresip(tmp_path / "a", line=alice, ip="::1", frequency=LOW) as caller,
        baresip(tmp_path / "b", line=bob, ip="::1", frequency=HIGH) as callee,
    ):
        await talk(caller, callee, f"sip:{world.bob['number']}@{world.alice['server']}")
    await world.a.has(calls=0)
    await world.b.has(calls=0)


@needs("baresip")
async def test_the_echo(world: World, tmp_path: Path) -> None:
    async with baresip(tmp_path, line=line(world.alice), ip="::1", frequency=LOW) as phone:
        await phone.dial(f"sip:*43@{world.alice['server']}")
        await phone.event("CALL_ESTABLISHED")
        await asyncio.sleep(TALK)
        await phone.hang_up()
        await phone.event("CALL_CLOSED")
        heard(phone.heard(), LOW)


@needs("sipp")
async def test_sipp_registers(world: World, tmp_path: Path) -> None:
    server = Endpoint("::1", world.a.place.sip_port)
    account = SippAccount("alice", world.alice["password"], "[::1]:5099")
    async with sipp(
        tmp_path, "register", target=str(server), accounts=[account], ip="::1"
    ) as client:
        result = await client.result()
        assert (result.successful, result.failed) == (1, 0), result.errors


@dataclass(frozen=True, slots=True)
class Everywhere(Place):
    """All addresses of both families; others are told the IPv6 one."""

    @property
    def mesh(self) -> str:
        return str(Endpoint("::1", 7060 + self.port_offset))


@needs("baresip")
async def test_a_node_of_both_families_joins_them(tmp_path: Path) -> None:
    """A phone over IPv4 talks to one over IPv6, whose node has no IPv4 at all."""
    places = [Everywhere("", offset_places("", 1)[0].port_offset), offset_places("::1", 2)[1]]
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    async with running_nodes(tmp_path, 2, places=places) as (both, one):
        alice, bob = await add_user(both, "alice"), await add_user(one, "bob")
        at_both = str(Endpoint("127.0.0.1", both.place.sip_port))
        async with (
            baresip(tmp_path / "a", line=line(alice, at_both), frequency=LOW) as caller,
            baresip(tmp_path / "b", line=line(bob), ip="::1", frequency=HIGH) as callee,
        ):
            await both.finds(bob["number"])
            await talk(caller, callee, f"sip:{bob['number']}@{at_both}")
        (peer,) = await both.get("peers")
        assert (peer["linked"], peer["address"]) == (True, one.place.mesh)
