"""Other SIP networks and real nodes: baresip that knows no node calls, and is called by DNS."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from node.phone.check import hear
from node.phone.choices import Answer, Tone
from node.phone.errors import CallFailed
from node.phone.tones import judge
from tests.support.baresip import baresip
from tests.support.dns_server import DnsServer, dns_server
from tests.support.nodes import Account, NodeProcess, add_user, phone_of, running_nodes
from tests.support.programs import needs, needs_pjsua2

pytestmark = [pytest.mark.interop, needs_pjsua2, pytest.mark.asyncio(loop_scope="module")]
OTHER, LOOP, INWARD = "other.example", "loop.example", "inward.example"


@dataclass
class World:
    """One node that may call other networks on loopback, and DNS that says where they are."""

    dns: DnsServer
    node: NodeProcess
    alice: Account

    def srv(self, domain: str, *targets: tuple[int, int, str]) -> None:
        """`_sip._udp` of a domain: priority, port and address of each server."""
        lines = []
        for number, (priority, port, address) in enumerate(targets):
            lines.append(f"{priority} 0 {port} s{number}.{domain}.")
            self.dns.records[f"s{number}.{domain}.", "A"] = [address]
        self.dns.records[f"_sip._udp.{domain}.", "SRV"] = lines

    async def why(self, target: str) -> Any:
        _, answer, _ = await self.node.command("why", target, "--json")
        return json.loads(answer)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder = tmp_path_factory.mktemp("others")
    async with AsyncExitStack() as stack:
        dns = await stack.enter_async_context(dns_server())
        settings = folder / "node.toml"
        settings.write_text(
            f'[dns]\nservers = ["{dns.endpoint}"]\n'
            '[sip]\noutbound = true\noutbound_networks = ["127.0.0.0/8"]\n'
        )
        options = ("--no-mdns", "--workers", "1", "--config", str(settings))
        (node,) = await stack.enter_async_context(running_nodes(folder, 1, options=options))
        yield World(dns, node, await add_user(node, "alice"))


@needs("baresip")
async def test_a_stranger_calls_and_is_heard(world: World, tmp_path: Path) -> None:
    async with (
        phone_of(world.alice, policy=Answer(after=0.2), playing=Tone(880)) as phone,
        baresip(tmp_path, frequency=440) as stranger,
    ):
        await stranger.dial(f"sip:alice@{world.alice['server']}")
        call = await phone.next_call()
        await call.wait_confirmed()
        assert call.remote.name.startswith("unverified:")
        assert call.asserted is None
        verdict = await hear(call, 440, seconds=1)
        assert verdict.ok, verdict
        await call.hang_up()
        await stranger.event("CALL_CLOSED")
        heard = judge(stranger.heard(), 880)
        assert heard.ok, heard
    await world.node.has(calls=0)


@needs("baresip")
async def test_another_network_is_called_by_srv_and_heard(world: World, tmp_path: Path) -> None:
    """The first server of the domain does not answer: the second one takes the call."""
    async with (
        phone_of(world.alice) as phone,
        baresip(tmp_path, frequency=880) as other,
    ):
        host, _, port = other.uri.partition("@")[2].partition(";")[0].partition(":")
        user = other.uri.partition(":")[2].partition("@")[0]
        world.srv(OTHER, (1, 9, "127.0.0.77"), (2, int(port), host))
        call = await phone.call(f"sip:{user}@{OTHER}", playing=Tone(440))
        await call.wait_confirmed()
        verdict = await hear(call, 880, seconds=1)
        assert verdict.ok, verdict
        await other.hang_up()
        assert await call.wait_ended() == 200
        heard = judge(other.heard(), 440)
        assert heard.ok, heard
    await world.node.has(calls=0)


@needs("baresip")
async def test_a_call_that_an_account_sends_on_to_another_network_is_heard(
    world: World, tmp_path: Path
) -> None:
    bob = await add_user(world.node, "bob")
    async with (
        phone_of(world.alice) as phone,
        baresip(tmp_path, frequency=880) as other,
    ):
        host, _, port = other.uri.partition("@")[2].partition(";")[0].partition(":")
        user = other.uri.partition(":")[2].partition("@")[0]
        world.srv("sent.example", (1, int(port), host))
        await world.node.ask("user", "forward", "bob", "--always", f"{user}@sent.example")
        call = await phone.call(f"sip:bob@{bob['server']}", playing=Tone(440))
        await call.wait_confirmed()
        verdict = await hear(call, 880, seconds=1)
        assert verdict.ok, verdict
        await other.hang_up()
        assert await call.wait_ended() == 200
        heard = judge(other.heard(), 440)
        assert heard.ok, heard
    await world.node.has(calls=0)


async def test_why_names_the_servers(world: World) -> None:
    world.srv("why.example", (1, 5070, "127.0.0.78"), (2, 5071, "127.0.0.79"))
    answer = await world.why("sip:bob@why.example")
    assert answer["status"] == 200, answer
    assert [server["address"] for server in answer["servers"]] == [
        "127.0.0.78:5070",
        "127.0.0.79:5071",
    ]
    assert "plain SIP" in answer["reason"]


async def test_a_domain_that_leads_back_here_or_inward_is_not_called(world: World) -> None:
    place = world.node.place
    world.srv(LOOP, (1, 5060 + place.port_offset, place.ip))
    world.srv(INWARD, (1, 5060, "10.9.8.7"))
    async with phone_of(world.alice) as phone:
        for domain in (LOOP, INWARD):
            call = await phone.call(f"sip:bob@{domain}")
            with pytest.raises(CallFailed) as caught:
                await call.wait_confirmed()
            assert caught.value.status == 404
            assert (await world.why(f"sip:bob@{domain}"))["status"] == 404


async def test_two_networks_of_nodes_call_each_other_by_plain_sip(
    world: World, tmp_path: Path
) -> None:
    """A node of another network is called by its address; each sees the other as a stranger."""
    options = ("--no-mdns", "--workers", "1")
    async with running_nodes(tmp_path, 1, options=options) as (other,):
        bob = await add_user(other, "bob")
        code, said, _ = await world.node.command(
            "message", "send", "alice", f"sip:bob@{bob['server']}", "call me", "--json"
        )
        assert (code, json.loads(said)["kept"]) == (0, True)
        async with (
            phone_of(world.alice) as phone,
            phone_of(bob, policy=Answer(after=0.2), playing=Tone(880)) as callee,
        ):
            message = await callee.next_message()
            assert message.text == "call me"
            assert message.sender.name.startswith("unverified:")
            assert message.sender.uri.startswith("sip:alice@127.")
            call = await phone.call(f"sip:bob@{bob['server']}", playing=Tone(440))
            arrived = await callee.next_call()
            await call.wait_confirmed()
            assert arrived.remote.name.startswith("unverified:")
            assert arrived.asserted is None
            for end, frequency in ((call, 880), (arrived, 440)):
                verdict = await hear(end, frequency, seconds=1)
                assert verdict.ok, verdict
            await arrived.hang_up()
            assert await call.wait_ended() == 200
        await other.has(calls=0)
    await world.node.has(calls=0)
