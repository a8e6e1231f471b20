"""Who rings when an account has several devices, flows or ways, by SIPp at the ends of two nodes.

Alice on the first node calls bob on the second. Each device has a ladder; one with none may not
be rung.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from federation.model.address import Endpoint
from tests.support.ladders import (
    ACCEPTS,
    CALLS,
    SIP_PORT,
    TALKS,
    asked_for,
    caller,
    device,
    play,
    refused,
    register,
    registered,
)
from tests.support.nodes import Account, NodeProcess, add_user, running_nodes
from tests.support.ports import free_port
from tests.support.programs import needs
from tests.support.sip_client import sip_client

pytestmark = [pytest.mark.interop, needs("sipp"), pytest.mark.asyncio(loop_scope="module")]

REFUSES = "< INVITE\n> {status}\n< ACK\n"
LATER = "< INVITE\n> 180\n. 200\n> {status}\n< ACK\n"
GIVEN_UP = "< INVITE\n> 180\n< CANCEL\n> 200\n> 487 INVITE\n< ACK\n"
CHALLENGES = '< INVITE\n> 407\n  Proxy-Authenticate: Digest realm="{realm}", nonce="n"\n< ACK\n'
LEFT_ALONE = ""


@dataclass(frozen=True)
class Device:
    ladder: str
    contact: str = ""
    "What stands behind the URI."


CASES: dict[str, tuple[str, list[Device]]] = {
    "the next by q after the preferred one": (
        CALLS,
        [Device(TALKS, ";q=0.3"), Device(LATER.format(status=404), ";q=0.9")],
    ),
    "the preferred one alone": (
        CALLS,
        [Device(LEFT_ALONE, ";q=0.3"), Device(TALKS, ";q=0.9")],
    ),
    "all of one q at once, the first to answer takes it": (
        CALLS,
        [Device(GIVEN_UP), Device("< INVITE\n> 180\n. 200\n> 200 offer\n< ACK\n< BYE\n> 200")],
    ),
    "the caller gives up": (
        "> INVITE offer\n< 180\n< 180\n> CANCEL\n< 200\n< 487\n> ACK",
        [Device(GIVEN_UP), Device(GIVEN_UP), Device(LEFT_ALONE, ";q=0.1")],
    ),
    "the best refusal is the answer": (
        refused(484),
        [Device(REFUSES.format(status=500)), Device(REFUSES.format(status=404)),
         Device(LATER.format(status=484))],
    ),
    "603 ends it for all": (
        refused(603),
        [Device(GIVEN_UP), Device(LATER.format(status=603)), Device(LEFT_ALONE, ";q=0.1")],
    ),
    "all challenges are passed on": (
        "> INVITE offer\n< 407\n  Message: realm=.one.*realm=.two|realm=.two.*realm=.one\n> ACK",
        [Device(CHALLENGES.format(realm="one")), Device(CHALLENGES.format(realm="two"))],
    ),
    "no wider than Max-Breadth": (
        "> INVITE offer\n  Max-Breadth: 1\n< 440\n> ACK", [Device(LEFT_ALONE), Device(LEFT_ALONE)],
    ),
    "the other flow after 430": (
        CALLS,
        [Device(TALKS, ';+sip.instance="<urn:uuid:b>";reg-id=1'),
         Device(REFUSES.format(status=430), ';+sip.instance="<urn:uuid:b>";reg-id=2')],
    ),
    "one flow of a device": (
        CALLS,
        [Device(LEFT_ALONE, ';+sip.instance="<urn:uuid:b>";reg-id=1'),
         Device(TALKS, ';+sip.instance="<urn:uuid:b>";reg-id=2')],
    ),
}  # fmt: skip

FORWARDED = "> INVITE offer\n< 180?\n< 181\n< 180?\n< 200\n> ACK\n. 100\n> BYE\n< 200\n"
OFF = "user forward bob --off"
FEATURES = {
    "busy": ("bob", "user forward bob --busy carol", OFF, FORWARDED,
             REFUSES.format(status=486), TALKS),
    "no answer": ("bob", "user forward bob --no-answer carol --after 1", OFF, FORWARDED,
                  GIVEN_UP, TALKS),
    "always": ("bob", "user forward bob --always carol", OFF, FORWARDED, LEFT_ALONE, TALKS),
    "do not disturb": ("bob", "user dnd bob on", "user dnd bob off", refused(486),
                       LEFT_ALONE, LEFT_ALONE),
    "a group in turn": ("sales", "group add sales --in-turn --members bob,carol",
                        "group remove sales", CALLS, LATER.format(status=486), TALKS),
}  # fmt: skip
"Who is called, what is set and undone by commands, and ladders of the caller, of bob and carol."


@dataclass
class World:
    nodes: list[NodeProcess]
    alice: Account
    bob: Account
    carol: Account

    async def is_idle(self) -> None:
        for node in self.nodes:
            await node.has(calls=0)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with running_nodes(tmp_path_factory.mktemp("nodes"), 2) as nodes:
        first, second = nodes
        alice, bob, carol = await asyncio.gather(
            add_user(first, "alice"), add_user(second, "bob"), add_user(second, "carol")
        )
        await first.finds(bob["number"])
        yield World(nodes, alice, bob, carol)


@pytest.mark.parametrize("name", CASES)
async def test_devices_of_an_account(world: World, tmp_path: Path, name: str) -> None:
    calls, devices = CASES[name]
    async with registered(world.bob, *(each.contact for each in devices)) as ports:
        ends = zip(devices, ports, strict=True)
        await play(
            tmp_path,
            caller(world.alice, calls, world.bob["number"]),
            *(device(world.bob, each.ladder, port) for each, port in ends),
        )
    await world.is_idle()


async def test_a_flow_whose_connection_is_gone_is_not_tried(world: World, tmp_path: Path) -> None:
    """Bob's newest flow was a TCP connection (RFC 5626 5.3)."""
    bob = world.bob
    own = "sip:[field0]@[local_ip]:[local_port];transport=tcp"
    flow = f'<{own}>;+sip.instance="<urn:uuid:b>";reg-id=2'
    joins = f"> REGISTER\n  Contact: {flow}\n  Supported: path, outbound\n  Expires: 300\n< 200\n"
    joins += "  Require: outbound\n"
    async with registered(bob, ';+sip.instance="<urn:uuid:b>";reg-id=1') as (port,):
        await play(tmp_path, caller(bob, joins, "bob", transport="tcp"))
        await world.nodes[1].has(registrations=2)
        await play(
            tmp_path,
            caller(world.alice, CALLS, bob["number"]),
            device(bob, TALKS, port),
        )
    await world.is_idle()


@pytest.mark.parametrize("kind", ["pub-gruu", "temp-gruu"])
async def test_a_gruu_rings_one_device(world: World, tmp_path: Path, kind: str) -> None:
    """RFC 5627: it leads from the other node to the one device that it names."""
    bob, server = world.bob, Endpoint(world.bob["server"], SIP_PORT)
    async with registered(bob, ';+sip.instance="<urn:uuid:mobile>"') as (mobile,):
        desk = free_port(server.host)
        async with sip_client(server, port=desk) as phone:
            contact = f'<sip:bob@{phone.own}>;+sip.instance="<urn:uuid:desk>"'
            answer = await register(phone, bob, contact)
        (own,) = [each for each in answer.contacts if each.uri.port == desk]
        gruu = (own.param(kind) or "").removeprefix("sip:")
        await play(
            tmp_path,
            caller(world.alice, CALLS, gruu),
            device(bob, asked_for(f"sip:bob@{server.host}:{desk}") + ACCEPTS, desk),
            device(bob, LEFT_ALONE, mobile),
        )
    await world.is_idle()


async def test_a_call_takes_the_path_of_its_registration(world: World, tmp_path: Path) -> None:
    """RFC 3327: a proxy stands before the device, which nothing else leads to."""
    bob, server = world.bob, Endpoint(world.bob["server"], SIP_PORT)
    port = free_port(server.host)
    async with registered(bob):
        async with sip_client(server, port=port) as proxy:
            path = ("Path", f"<sip:{proxy.own};lr>")
            await register(proxy, bob, "<sip:bob@192.0.2.7:5070>", path)
        arrives = asked_for("sip:bob@192.0.2.7:5070") + f"  Route: <sip:{proxy.own};lr>\n"
        await play(
            tmp_path,
            caller(world.alice, CALLS, bob["number"]),
            device(bob, arrives + ACCEPTS, port),
        )
    await world.is_idle()


@pytest.mark.parametrize("name", FEATURES)
async def test_what_was_set_by_command(world: World, tmp_path: Path, name: str) -> None:
    aim, command, undo, calls, bobs, carols = FEATURES[name]
    bob, carol, second = world.bob, world.carol, world.nodes[1]
    answer = await second.ask(*command.split())
    number = answer["number"] if aim == "sales" else bob["number"]
    if aim == "sales":
        await world.nodes[0].finds(number)
    try:
        async with registered(bob, "") as (port,), registered(carol, "") as (other,):
            await play(
                tmp_path,
                caller(world.alice, calls, number),
                device(bob, bobs, port),
                device(carol, carols, other),
            )
    finally:
        await second.ask(*undo.split())
    await world.is_idle()
