"""Trunks by SIPp: as a PBX that registers for all behind it, as a provider, and as a stranger.

Alice is on the first node; bob and both trunks are on the second, which may call other networks.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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
    End,
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
PROVIDER, ELSEWHERE = "127.0.9.10", "127.0.9.11"
"Addresses that no node has."
ABROAD = "442079460000"
DID_OF_DESK, DID_OF_BOB = "49301234567", "49301234568"
STAYS = "> 200 offer\n< ACK\n< BYE\n> 200\n"
"Takes a call that somebody else ends."
SETTINGS = '[sip]\noutbound = true\noutbound_networks = ["127.0.9.0/24"]\n'


@dataclass
class World:
    nodes: list[NodeProcess]
    alice: Account
    bob: Account
    firm: Account

    @property
    def second(self) -> NodeProcess:
        return self.nodes[1]

    @asynccontextmanager
    async def the_pbx(self) -> AsyncIterator[int]:
        """The port at which the PBX has registered for all that is behind it (RFC 6140)."""
        port = free_port(self.firm["server"])
        async with registered(self.firm):
            async with sip_client(Endpoint(self.firm["server"], SIP_PORT), port=port) as phone:
                gin = (("Require", "gin"), ("Proxy-Require", "gin"))
                await register(phone, self.firm, f"<sip:{phone.own};bnc>", *gin)
            yield port

    def elsewhere(self, ladder: str, *, ip: str, port: int = 0, aim: str = "") -> End:
        """An end that has no account."""
        return End(ladder=ladder, node=self.bob["server"], ip=ip, port=port, login="x", aim=aim)

    async def is_idle(self) -> None:
        for node in self.nodes:
            await node.has(calls=0)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder = tmp_path_factory.mktemp("nodes")
    (folder / "node.toml").write_text(SETTINGS)
    config = ("--config", str(folder / "node.toml"))
    async with running_nodes(folder, 2, each=((), config)) as nodes:
        alice, bob, firm = await asyncio.gather(
            add_user(nodes[0], "alice"),
            add_user(nodes[1], "bob"),
            nodes[1].ask("trunk", "add", "firm", "--pbx", "--mode", "per-user", "--max-calls", "1"),
        )
        await asyncio.gather(
            nodes[0].finds(firm["number"]),
            nodes[1].ask("did", "map", f"+{DID_OF_DESK}", "firm*123"),
            nodes[1].ask("did", "map", f"+{DID_OF_BOB}", "bob"),
        )
        yield World(nodes, alice, bob, firm)


@pytest_asyncio.fixture(loop_scope="module")
async def telco(world: World, tmp_path: Path) -> AsyncIterator[list[int]]:
    """The ports of two servers of a provider's trunk; the first has just said that it is there."""
    servers = [free_port(PROVIDER), free_port(PROVIDER)]
    options = ["--prefix", "+", "--prefix", "00=+", "--source", PROVIDER]
    options += ["--emergency", "--max-calls", "1", "--domain", "provider.test"]
    for port in servers:
        options += ["--server", f"{PROVIDER}:{port}"]
    there = world.elsewhere("< OPTIONS\n> 200\n", ip=PROVIDER, port=servers[0])
    async with asyncio.TaskGroup() as group:
        group.create_task(play(tmp_path, there))
        await world.second.ask("trunk", "add", "telco", "--provider", *options)
    yield servers
    await world.second.ask("trunk", "remove", "telco")


async def test_one_registration_for_all_behind_a_pbx(world: World, tmp_path: Path) -> None:
    async with world.the_pbx() as port:
        for who, dialled, user in (
            (world.alice, f"{world.firm['number']}*124", "124"),
            (world.bob, "firm", "firm"),
        ):
            ladder = asked_for(f"sip:{user}@{world.firm['server']}:{port}") + ACCEPTS
            await play(tmp_path, caller(who, CALLS, dialled), device(world.firm, ladder, port))
    await world.is_idle()


async def test_a_call_goes_to_the_next_server_by_the_rules(
    world: World, telco: list[int], tmp_path: Path
) -> None:
    called = asked_for(rf"sip:\+{ABROAD}@provider.test")
    called += rf"  From: <sip:\+{DID_OF_BOB}@provider.test>" + "\n"
    first, second = telco
    await play(
        tmp_path,
        caller(world.bob, CALLS, f"00{ABROAD}"),
        world.elsewhere(called + "> 503\n< ACK\n", ip=PROVIDER, port=first),
        world.elsewhere(called + ACCEPTS, ip=PROVIDER, port=second),
    )
    await world.is_idle()


async def test_limits_hold_for_all_but_emergencies(
    world: World, telco: list[int], tmp_path: Path
) -> None:
    """A call from the provider to a desk of the PBX takes the one call of each of both trunks."""
    async with world.the_pbx() as port, asyncio.TaskGroup() as group:
        desk = asked_for(f"sip:123@{world.firm['server']}:{port}") + STAYS
        up = play(
            tmp_path,
            world.elsewhere(
                "> INVITE offer open\n< 200\n> ACK\n< BYE\n> 200",
                ip=PROVIDER,
                aim=f"+{DID_OF_DESK}",
            ),
            device(world.firm, desk, port),
        )
        group.create_task(up)
        await world.second.has(calls=1)
        await play(tmp_path, caller(world.alice, refused(486), f"{world.firm['number']}*124"))
        await play(tmp_path, caller(world.bob, refused(480), f"00{ABROAD}"))
        sos = asked_for("sip:112@provider.test") + ACCEPTS
        await play(
            tmp_path,
            caller(world.bob, CALLS, "112"),
            world.elsewhere(sos, ip=PROVIDER, port=telco[0]),
        )
        await world.second.ask("call", "hangup", "all")
    await world.is_idle()


async def test_a_stranger_calls_a_number(world: World, tmp_path: Path) -> None:
    """Plain SIP to a number that is mapped here; nothing vouches for who calls."""
    calls = "> INVITE offer open\n  From: <sip:otto@elsewhere.test>;tag=[pid]c[call_number]\n"
    calls += CALLS.partition("\n")[2]
    async with registered(world.bob, "") as (port,):
        shown = "< INVITE\n  From: unverified.*otto@elsewhere.test\n"
        await play(
            tmp_path,
            world.elsewhere(calls, ip=ELSEWHERE, aim=f"+{DID_OF_BOB}"),
            device(world.bob, shown + ACCEPTS, port),
        )
    await world.is_idle()


async def test_other_networks_are_called_but_not_anonymously(world: World, tmp_path: Path) -> None:
    port = free_port(ELSEWHERE)
    aim = f"carol@{ELSEWHERE}:{port}"
    nobody = "> INVITE offer\n  From: <sip:anonymous@anonymous.invalid>;tag=[pid]c[call_number]\n"
    nobody += "< 403\n  Message: calls other SIP networks anonymously\n> ACK\n"
    await play(
        tmp_path,
        caller(world.bob, CALLS, aim),
        world.elsewhere(TALKS, ip=ELSEWHERE, port=port),
    )
    await play(
        tmp_path,
        caller(world.bob, nobody, aim),
        world.elsewhere("", ip=ELSEWHERE, port=port),
    )
    await world.is_idle()
