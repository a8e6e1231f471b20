"""`why`, `pin`, `domain` and `dht stats` on two real nodes: what they tell is what calls meet."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from tests.support.dns_server import DnsServer, dns_server
from tests.support.nodes import Account, NodeProcess, add_user, running_nodes

pytestmark = pytest.mark.asyncio(loop_scope="module")
CONFIGURED, ADDED, LOST = "conf.example", "added.example", "lost.example"


@dataclass
class World:
    """Alice's node asks; bob's has a domain by `--domain`, and gets another by command."""

    dns: DnsServer
    a: NodeProcess
    b: NodeProcess
    bob: Account

    def txt(self, domain: str, *texts: str) -> None:
        self.dns.records[f"_ringmesh.{domain}.", "TXT"] = [f'"{text}"' for text in texts]

    def id(self, node: NodeProcess) -> str:
        return str(node.status["node_id"])

    async def why(self, target: str, code: int = 0) -> Any:
        got, answer, complaint = await self.a.command("why", target, "--json")
        assert (got, complaint) == (code, ""), answer
        return json.loads(answer)

    async def text(self, node: NodeProcess, *command: str, code: int = 0) -> str:
        got, answer, complaint = await node.command(*command)
        assert got == code, answer + complaint
        return answer + complaint


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder = tmp_path_factory.mktemp("names")
    async with AsyncExitStack() as stack:
        dns = await stack.enter_async_context(dns_server())
        settings = folder / "node.toml"
        settings.write_text(f'[dns]\nservers = ["{dns.endpoint}"]\n')
        common = ("--no-mdns", "--workers", "1", "--config", str(settings))
        a, b = await stack.enter_async_context(
            running_nodes(folder, 2, options=common, each=((), ("--domain", CONFIGURED)))
        )
        bob = await add_user(b, "bob")
        await a.finds(bob["number"])
        yield World(dns, a, b, bob)


async def test_a_number_is_explained_from_claim_to_node(world: World) -> None:
    answer = await world.why(world.bob["number"])
    (lookup,) = answer["lookups"]
    assert (lookup["record"], lookup["result"]) == ("number", "found")
    (step,) = lookup["steps"]
    assert (step["address"], step["answered"], step["records"]) == (world.b.place.mesh, True, 1)
    assert step["node_id"] == world.id(world.b)
    (record,) = lookup["records"]
    assert record["verdict"].endswith("; the number follows from the owner's key")
    assert record["nodes"][0]["node_id"] == world.id(world.b)
    assert answer["nodes"][0]["node_id"] == world.id(world.b)
    assert (answer["pins"][0]["key"], answer["pins"][0]["verdict"]) == (
        record["owner"],
        "the same key as before",
    )
    text = await world.text(world.a, "why", world.bob["number"])
    assert text.startswith(
        f"target     {world.bob['number']}\nread as    a number of the network: "
    )
    assert "1 of 1 answered; 1 hop" in text
    assert "verdict    found: the call goes to node " in text


async def test_asking_pins_nothing(world: World) -> None:
    carol = await add_user(world.b, "carol")
    await world.a.finds("carol@" + world.b.status["key_name"])
    answer = await world.why(carol["number"])
    assert answer["pins"][0]["verdict"].startswith("not pinned yet; the first call pins it to ")
    pins = json.loads(await world.text(world.a, "pin", "list", "--json"))
    assert carol["number"] not in {pin["name"] for pin in pins}


@pytest.mark.parametrize(
    ("target", "status", "reading"),
    [
        ("112", 403, "an emergency number"),
        ("0212345", 484, "the beginning of a number of the network"),
        ("12345", 404, "nothing that can be called from here"),
        ("nobody@nowhere.example", 404, "user nobody at the domain nowhere.example, which has"),
        ("099999999999999", 404, "a number of the network: 0999 9999 9999 999"),
    ],
)
async def test_what_leads_nowhere_is_explained(
    world: World, target: str, status: int, reading: str
) -> None:
    answer = await world.why(target, code=1)
    assert answer["status"] == status
    assert answer["reading"].startswith(reading)
    if target.endswith("nowhere.example"):
        asked = {(each["type"], each["name"]) for each in answer["proof"]["dns"]}
        assert ("TXT", "_ringmesh.nowhere.example") in asked
        assert answer["proof"]["verdict"].startswith("not proven: DNS has no TXT record")


async def test_services_are_explained_here_and_there(world: World) -> None:
    assert (await world.why("echo"))["reading"] == "a service of this node: echo"
    there = await world.why("echo@" + world.b.status["key_name"])
    assert {each["record"]: each["result"] for each in there["lookups"]} == {
        "user": "not found",
        "address": "found",
    }
    nobody = await world.why("nobody@" + world.b.status["key_name"])
    assert "that node publishes no user nobody, so it answers 404 unless" in nobody["reason"]


async def test_a_domain_added_by_command_is_believed_and_goes_again(world: World) -> None:
    added = await world.text(world.b, "domain", "add", ADDED)
    proof = f'3600 IN TXT "{world.id(world.b)}"'
    assert proof in added
    assert f"sip:bob@{ADDED}" in (await world.b.get("users", "bob"))["uri"]
    told = await world.text(world.b, "domain", "verify", ADDED, code=1)
    assert f"_ringmesh.{ADDED}. TXT" in told
    assert "missing; wanted: " in told
    world.txt(ADDED, world.id(world.b))
    world.dns.records[f"{ADDED}.", "A"] = [world.b.place.ip]
    told = await world.text(world.b, "domain", "verify", ADDED)
    assert f"{ADDED}: others believe that it is this node's\n" in told
    answer = await world.why(f"bob@{ADDED}")
    assert answer["proof"]["verdict"] == "proven by the TXT record"
    assert answer["nodes"][0]["node_id"] == world.id(world.b)
    assert (await world.a.get("resolve", uri=f"bob@{ADDED}"))["pin"]["key"] == world.id(world.b)
    await world.b.until(lambda status: status["server"].startswith(ADDED), 10, "served by name")

    await world.b.stop_cleanly()
    assert [
        each["domain"] for each in json.loads(await world.text(world.b, "domain", "list", "--json"))
    ] == [CONFIGURED, ADDED]
    assert "comes from the configuration" in await world.text(
        world.b, "domain", "remove", CONFIGURED, code=1
    )
    await world.b.start()
    await world.b.ready()
    assert world.b.status["domains"] == [CONFIGURED, ADDED]
    await world.text(world.b, "domain", "remove", ADDED)
    assert (await world.b.get("status"))["domains"] == [CONFIGURED]
    assert f"sip:bob@{ADDED}" not in (await world.b.get("users", "bob"))["uri"]


async def test_a_domain_that_changes_hands_waits_for_the_operator(world: World) -> None:
    """The conflict is told by why, resolve and pin list, outlives a restart, and ends by accept."""
    mine, other = world.id(world.b), world.id(world.a)
    await world.text(world.b, "domain", "add", LOST)
    world.txt(LOST, mine)
    assert (await world.a.get("resolve", uri=f"bob@{LOST}"))["status"] == 200
    world.txt(LOST, "no key", other)
    answer = await world.why(f"bob@{LOST}", code=1)
    assert (answer["status"], answer["reason"]) == (
        480,
        f"{LOST} now names another node than before",
    )
    assert answer["pins"][0]["verdict"] == f"another key than before, refused: {other}"
    await world.a.stop_cleanly()
    listed = await world.text(world.a, "pin", "list")
    assert f"  pinned   {mine}\n  refused  {other} since " in listed
    await world.a.start()
    await world.a.ready()
    _, resolved, _ = await world.a.command("resolve", f"bob@{LOST}", "--json")
    pin = json.loads(resolved)["pin"]
    assert (pin["key"], [each["key"] for each in pin["conflict"]]) == (mine, [other])
    world.txt(LOST, mine)
    kept = await world.text(world.a, "pin", "accept", LOST, mine)
    assert kept == f"{LOST} is pinned to {mine}"
    assert (await world.a.get("resolve", uri=f"bob@{LOST}"))["pin"]["conflict"] == []
    await world.text(world.a, "pin", "forget", LOST)
    assert "is not pinned" in await world.text(world.a, "pin", "forget", LOST, code=1)


async def test_the_directorys_figures(world: World) -> None:
    await world.why("099999999999999", code=1)
    figures = await world.a.ask("dht", "stats")
    assert (figures["contacts"], sum(b["contacts"] for b in figures["buckets"])) == (1, 1)
    assert figures["records"] >= figures["published"] >= 2
    assert figures["lookup_times"]["count"] == sum(figures["lookups"].values()) > 0
    assert figures["traffic"]["datagrams_in"] > 0
    text = await world.text(world.a, "dht", "stats")
    assert text.splitlines()[0].split() == ["contacts", "1"]


async def test_whom_nobody_answers_for_is_inconclusive(world: World) -> None:
    """The silence of the one other node is told, and a caller would get 480."""
    await world.b.kill()
    answer = await world.why("099999999999998", code=1)
    (lookup,) = answer["lookups"]
    assert (lookup["result"], answer["status"]) == ("inconclusive", 480)
    assert [step["answered"] for step in lookup["steps"]] == [False]
    assert "no answer" in await world.text(world.a, "why", "099999999999997", code=1)
