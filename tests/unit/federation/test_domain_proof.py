"""Which node stands behind a domain."""

import asyncio
from collections.abc import Iterable, Sequence

import pytest

from federation import domain_proof
from federation.domain_proof import (
    FAILURE_LIFETIME,
    PROOF_BUDGET,
    PROOF_LIFETIME,
    DomainError,
    DomainProof,
    ResolveError,
    Service,
    in_order,
    normal_domain,
)
from federation.messages import Hello
from federation.model.address import Endpoint
from federation.model.identity import NodeId
from tests.support.mesh_nodes import key
from tests.support.virtual_loop import LoopClock
from tests.support.virtual_time import in_virtual_time

K1, K2 = key(1).id, key(2).id


class Dns:
    """A world of records; a name in `broken` gives no answer, one in `slow` a late one."""

    def __init__(self) -> None:
        self.txt: dict[str, list[str]] = {}
        self.srv: dict[str, list[Service]] = {}
        self.hosts: dict[str, list[str]] = {}
        self.broken: set[str] = set()
        self.delay = 0.01
        self.asked: list[str] = []

    async def _answer(self, name: str) -> None:
        self.asked.append(name)
        await asyncio.sleep(self.delay)
        if name in self.broken:
            raise ResolveError("SERVFAIL")

    async def texts(self, name: str) -> Sequence[str]:
        await self._answer(name)
        return self.txt.get(name, [])

    async def services(self, name: str) -> Sequence[Service]:
        await self._answer(name)
        return self.srv.get(name, [])

    async def addresses(self, name: str) -> Sequence[str]:
        await self._answer(name)
        return self.hosts.get(name, [])


class World:
    def __init__(self) -> None:
        self.dns = Dns()
        self.nodes: dict[Endpoint, tuple[NodeId, Hello]] = {}
        self.dialled: list[Endpoint] = []
        self.proof = DomainProof(
            identify=self.identify,
            clock=LoopClock(asyncio.get_running_loop()),
            resolver=self.dns,
        )

    async def identify(self, endpoints: Iterable[Endpoint]) -> tuple[NodeId, Hello] | None:
        self.dialled += endpoints
        await asyncio.sleep(0.05)
        return next((self.nodes[end] for end in self.dialled if end in self.nodes), None)


@in_virtual_time
async def test_a_txt_record_with_a_key_proves() -> None:
    world = World()
    world.dns.txt["_ringmesh.example.org"] = ["v=spf1 -all", K1.text]
    assert world.proof.cached("example.org") is None
    assert await world.proof.prove("Example.ORG.") == K1
    assert world.proof.cached("example.org") == K1
    assert world.dialled == []


@in_virtual_time
async def test_two_different_keys_prove_nothing_and_the_same_twice_is_one() -> None:
    world = World()
    world.dns.txt["_ringmesh.example.org"] = [K1.text, K2.text]
    world.dns.txt["_ringmesh.example.net"] = [K1.text, K1.text.upper()]
    world.dns.hosts["example.org"] = ["192.0.2.1"]
    assert await world.proof.prove("example.org") is None
    assert world.dialled == []
    assert await world.proof.prove("example.net") == K1


@in_virtual_time
async def test_without_txt_the_node_at_the_srv_record_proves_and_must_claim() -> None:
    world = World()
    world.dns.srv["_ringmesh._udp.example.org"] = [Service(10, 5, 7070, "mesh.example.org.")]
    world.dns.hosts["mesh.example.org."] = ["192.0.2.7", "2001:db8::7"]
    world.dns.hosts["example.org"] = ["192.0.2.99"]
    world.nodes[Endpoint("192.0.2.7", 7070)] = (K1, Hello(domains=("Example.Org",)))
    assert await world.proof.prove("example.org") == K1
    assert world.dialled == [Endpoint("192.0.2.7", 7070), Endpoint("2001:db8::7", 7070)]


@in_virtual_time
async def test_without_srv_the_domains_own_address_is_asked_at_the_usual_port() -> None:
    world = World()
    world.dns.hosts["example.org"] = ["192.0.2.1"]
    world.nodes[Endpoint("192.0.2.1", 7060)] = (K1, Hello(domains=("example.org",)))
    assert await world.proof.prove("example.org") == K1


@in_virtual_time
async def test_a_node_that_does_not_claim_the_domain_proves_nothing() -> None:
    world = World()
    world.dns.hosts["example.org"] = ["192.0.2.1"]
    world.nodes[Endpoint("192.0.2.1", 7060)] = (K1, Hello(domains=("example.net",)))
    assert await world.proof.prove("example.org") is None


@in_virtual_time
async def test_a_failure_is_remembered_for_ten_minutes() -> None:
    world, loop = World(), asyncio.get_running_loop()
    assert await world.proof.prove("example.org") is None
    asked = len(world.dns.asked)
    world.dns.txt["_ringmesh.example.org"] = [K1.text]
    await asyncio.sleep(FAILURE_LIFETIME - 1)
    began = loop.time()
    assert await world.proof.prove("example.org") is None
    assert (loop.time() - began, len(world.dns.asked)) == (0, asked)
    await asyncio.sleep(2)
    assert await world.proof.prove("example.org") == K1
    await asyncio.sleep(PROOF_LIFETIME)
    assert world.proof.cached("example.org") is None


@in_virtual_time
async def test_the_whole_takes_a_second_at_most() -> None:
    world, loop = World(), asyncio.get_running_loop()
    world.dns.delay = 30.0
    began = loop.time()
    assert await world.proof.prove("example.org") is None
    assert loop.time() - began == pytest.approx(PROOF_BUDGET)


@in_virtual_time
async def test_one_part_of_dns_that_fails_does_not_hide_the_other() -> None:
    world = World()
    world.dns.broken = {"_ringmesh.example.org", "_ringmesh._udp.example.org"}
    world.dns.hosts["example.org"] = ["192.0.2.1"]
    world.nodes[Endpoint("192.0.2.1", 7060)] = (K1, Hello(domains=("example.org",)))
    assert await world.proof.prove("example.org") == K1


@in_virtual_time
async def test_callers_at_once_share_one_search_and_one_may_give_up() -> None:
    world = World()
    world.dns.txt["_ringmesh.example.org"] = [K1.text]
    impatient = asyncio.ensure_future(world.proof.prove("example.org"))
    others = [asyncio.ensure_future(world.proof.prove("example.org")) for _ in range(5)]
    await asyncio.sleep(0)
    impatient.cancel()
    assert await asyncio.gather(*others) == [K1] * 5
    assert world.dns.asked.count("_ringmesh.example.org") == 1


@in_virtual_time
async def test_a_key_name_proves_itself_without_dns() -> None:
    world = World()
    assert await world.proof.prove(K1.key_name) == K1
    assert await world.proof.prove("abc.ringmesh.alt") is None
    assert world.proof.cached(K1.key_name.upper()) == K1
    assert world.dns.asked == []


@in_virtual_time
async def test_searches_at_once_and_the_cache_are_bounded() -> None:
    world = World()
    searches = [
        asyncio.ensure_future(world.proof.prove(f"d{n}.example.org"))
        for n in range(domain_proof.MAX_UNDER_WAY)
    ]
    await asyncio.sleep(0)
    assert await world.proof.prove("one-more.example.org") is None
    assert "_ringmesh.one-more.example.org" not in world.dns.asked
    await asyncio.gather(*searches)
    world.dns.delay = 0.0
    for number in range(domain_proof.MAX_CACHED // 8):
        await asyncio.gather(*(world.proof.prove(f"e{number}-{n}.example.org") for n in range(9)))
    assert len(world.proof._cache) <= domain_proof.MAX_CACHED


@in_virtual_time
async def test_closing_ends_searches() -> None:
    world = World()
    search = asyncio.ensure_future(world.proof.prove("example.org"))
    await asyncio.sleep(0)
    await world.proof.close()
    with pytest.raises(asyncio.CancelledError):
        await search


@pytest.mark.parametrize(
    "domain",
    [
        "",
        "localhost",
        "a..b",
        ".a.b",
        "a b.c",
        "-a.b",
        "a-.b",
        "1.2.3.4",
        "x" * 64 + ".org",
        "ü.org",
    ],
)
def test_what_is_no_domain_is_refused(domain: str) -> None:
    with pytest.raises(DomainError):
        normal_domain(domain)


def test_services_are_taken_in_their_order() -> None:
    low, heavy, light = Service(1, 0, 1, "a."), Service(2, 9, 1, "b."), Service(2, 1, 1, "c.")
    nothing = Service(0, 0, 1, ".")
    assert in_order([light, nothing, heavy, low]) == [low, heavy, light]
