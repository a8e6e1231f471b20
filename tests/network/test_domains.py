"""Calls to user@domain: proven by DNS, pinned at first use, refused with a reason otherwise."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from node.phone.check import measure_call
from node.phone.tones import Limits
from tests.support.dns_server import DnsServer, dns_server
from tests.support.nodes import Account, NodeProcess, add_user, phone_of, running_nodes
from tests.support.programs import needs_pjsua2

pytestmark = [needs_pjsua2, pytest.mark.asyncio(loop_scope="module")]
DOMAIN, BY_SRV, UNCLAIMED = "example.org", "srv.example", "unclaimed.example"
NOISY = Limits(loss=0.05)


@dataclass
class World:
    """DNS that both nodes ask; alice is at the first, bob at the second, which has the domains."""

    dns: DnsServer
    a: NodeProcess
    b: NodeProcess
    alice: Account
    bob: Account

    def txt(self, domain: str, *texts: str) -> None:
        self.dns.records[f"_ringmesh.{domain}.", "TXT"] = [f'"{text}"' for text in texts]

    def srv(self, domain: str) -> None:
        place = self.b.place
        self.dns.records[f"_ringmesh._udp.{domain}.", "SRV"] = [
            f"0 0 {7060 + place.port_offset} mesh.{domain}."
        ]
        self.dns.records[f"mesh.{domain}.", "A"] = [place.ip]

    async def resolve(self, target: str) -> Any:
        """What `resolve` says at alice's node."""
        _, answer, complaint = await self.a.command("resolve", target, "--json")
        assert not complaint

        return json.loads(answer)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder = tmp_path_factory.mktemp("domains")
    async with AsyncExitStack() as stack:
        dns = await stack.enter_async_context(dns_server())
        settings = folder / "node.toml"
        settings.write_text(f'[dns]\nservers = ["{dns.endpoint}"]\n')
        common = ("--no-mdns", "--workers", "1", "--config", str(settings))
        domains = ("--domain", DOMAIN, "--domain", BY_SRV)
        a, b = await stack.enter_async_context(
            running_nodes(folder, 2, options=common, each=((), domains))
        )
        yield World(dns, a, b, await add_user(a, "alice"), await add_user(b, "bob"))


async def test_a_call_to_a_domain_is_heard(world: World) -> None:
    """A TXT record with bob's node key is the proof."""
    world.txt(DOMAIN, world.b.status["node_id"])
    async with phone_of(world.alice) as alice, phone_of(world.bob) as bob:
        report = await measure_call(alice, bob, f"sip:bob@{DOMAIN}", seconds=1, limits=NOISY)
        assert report.ok, str(report)
        assert report.shown.uri.startswith(f"sip:{world.alice['number']}@")
    answer = await world.resolve(f"BOB@{DOMAIN.upper()}.")
    assert (answer["status"], answer["kind"]) == (200, "domain")
    assert answer["nodes"][0]["node_id"] == world.b.status["node_id"]


async def test_srv_leads_to_a_node_that_claims_the_domain(world: World) -> None:
    world.srv(BY_SRV)
    answer = await world.resolve(f"bob@{BY_SRV}")
    assert answer["status"] == 200, answer
    assert answer["nodes"][0]["node_id"] == world.b.status["node_id"]


async def test_a_node_that_does_not_claim_the_domain_proves_nothing(world: World) -> None:
    world.srv(UNCLAIMED)
    answer = await world.resolve(f"bob@{UNCLAIMED}")
    assert answer["status"] == 404
    assert answer["reason"] == f"{UNCLAIMED} is not proven to belong to a node"


@pytest.mark.parametrize(
    ("domain", "texts"), [("garbage.example", ["no key"]), ("two.example", ["a", "b"])]
)
async def test_a_wrong_proof_is_none(world: World, domain: str, texts: list[str]) -> None:
    """Text that is no key, and two keys at once."""
    if domain == "two.example":
        texts = [world.a.status["node_id"], world.b.status["node_id"]]
    world.txt(domain, *texts)
    assert (await world.resolve(f"bob@{domain}"))["status"] == 404


async def test_a_domain_that_is_not_there(world: World) -> None:
    """404, by a phone's call too."""
    async with phone_of(world.alice) as alice:
        call = await alice.call("sip:bob@nowhere.example")
        assert await call.wait_ended() == 404
        assert ("_ringmesh.nowhere.example.", "TXT") in world.dns.asked


async def test_silent_dns_costs_a_second(world: World) -> None:
    world.dns.silent = {".silent.example."}
    async with phone_of(world.alice) as alice:
        started = time.monotonic()
        call = await alice.call("sip:bob@node.silent.example")
        assert await call.wait_ended() == 404
        assert time.monotonic() - started < 3.0, "1 s, and some for a busy machine"
        started = time.monotonic()
        again = await alice.call("sip:bob@node.silent.example")
        assert await again.wait_ended() == 404
        assert time.monotonic() - started < 0.9, "the failure is remembered"


async def test_the_domain_becomes_the_server(world: World) -> None:
    """At the node's next look; phones are told the name once DNS leads them here too."""
    log = world.b.log.read_text()
    assert f"_ringmesh.{DOMAIN} with the text" in log, "the operator was told what is missing"
    assert world.b.status["node_id"] in log
    assert world.bob["server"] == f"{world.b.place.ip}" or ":" in world.bob["server"]
    world.txt(DOMAIN, world.b.status["node_id"])
    world.dns.records[f"{DOMAIN}.", "A"] = [world.b.place.ip]
    await world.b.stop_cleanly()
    await world.b.start()
    await world.b.until(lambda status: status["server"].startswith(DOMAIN), 20, "served by name")
    shown = await world.b.get("users", "bob")
    assert shown["server"].startswith(DOMAIN)
    await world.b.stop_cleanly()
    assert (await world.b.ask("user", "show", "bob"))["server"].startswith(DOMAIN)
    await world.b.start()
    await world.b.ready()


async def test_another_key_is_refused_until_the_operator_accepts_it(world: World) -> None:
    """The first key is pinned for good; one that comes later, or none, ends in 480."""
    world.txt(DOMAIN, world.b.status["node_id"])
    assert (await world.resolve(f"bob@{DOMAIN}"))["status"] == 200
    for texts, sentence in (
        ([world.a.status["node_id"]], f"{DOMAIN} now names another node than before"),
        ([], f"{DOMAIN} cannot be proven now, as it could before"),
    ):
        await world.a.stop_cleanly()
        world.txt(DOMAIN, *texts)
        world.dns.records.pop((f"{DOMAIN}.", "A"), None)
        await world.a.start()
        await world.a.ready()
        answer = await world.resolve(f"bob@{DOMAIN}")
        assert (answer["status"], answer["reason"]) == (480, sentence)
