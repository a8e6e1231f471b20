"""When a node calls itself the server of its domain, and what it says is missing if not."""

import asyncio
from collections.abc import Iterable, Sequence

import pytest
from structlog.testing import capture_logs

from federation.domain_proof import DomainProof, ResolveError, Service
from federation.messages import Hello
from federation.model.address import Endpoint
from federation.model.identity import NodeId
from node.own_domains import OwnDomains, careful
from tests.support.mesh_nodes import key
from tests.support.virtual_loop import LoopClock
from tests.support.virtual_time import in_virtual_time

ME, OTHER = key(1).id, key(2).id
DOMAIN = "example.org"
TXT = f"_ringmesh.{DOMAIN}"
HERE = "5.6.7.8"


class Dns:
    """Records by name; while `is_broken`, no answers."""

    def __init__(self) -> None:
        self.txt: dict[str, list[str]] = {}
        self.srv: dict[str, list[Service]] = {}
        self.hosts: dict[str, list[str]] = {}
        self.is_broken = False

    def _found(self, known: dict[str, list[str]], name: str) -> list[str]:
        if self.is_broken:
            raise ResolveError("SERVFAIL")
        return known.get(name, [])

    async def texts(self, name: str) -> Sequence[str]:
        return self._found(self.txt, name)

    async def services(self, name: str) -> Sequence[Service]:
        if self.is_broken:
            raise ResolveError("SERVFAIL")
        return self.srv.get(name, [])

    async def addresses(self, name: str) -> Sequence[str]:
        return self._found(self.hosts, name)


class World:
    """A node with one domain, DNS, and what the node was told."""

    def __init__(self, *, sip_port: int = 5060, addresses: Sequence[str] = (HERE,)) -> None:
        self.dns = Dns()
        self.told: list[frozenset[str]] = []
        self.names = [DOMAIN]
        own = [Endpoint(address, 7060) for address in addresses]
        identify = careful(self._nobody, ME, lambda: own, lambda: Hello(domains=(DOMAIN,)))
        self.domains = OwnDomains(
            lambda: self.names,
            node=ME,
            proof=DomainProof(
                identify=identify, clock=LoopClock(asyncio.get_running_loop()), resolver=self.dns
            ),
            resolver=self.dns,
            addresses=lambda: addresses,
            sip_port=sip_port,
            on_change=self.told.append,
        )

    async def _nobody(self, _: Iterable[Endpoint]) -> None:
        return None

    async def look(self) -> list[str]:
        """Look once; returns the sentences that were logged."""
        with capture_logs() as lines:
            await self.domains.look()
        return [line.get("reason", line["event"]) for line in lines]


@in_virtual_time
async def test_a_proven_domain_that_leads_here_is_the_server() -> None:
    world = World()
    world.dns.txt[TXT], world.dns.hosts[DOMAIN] = [ME.text], [HERE]
    assert await world.look() == ["domain_proven"]
    assert await world.look() == []
    assert world.told == [frozenset({DOMAIN})]


@in_virtual_time
async def test_the_missing_record_is_said_once() -> None:
    world = World()
    wanted = f'DNS needs a TXT record {TXT} with the text "{ME.text}"'
    assert await world.look() == [f"others do not believe the name: {wanted}"]
    assert await world.look() == []
    assert world.told == []


@in_virtual_time
async def test_another_key_is_named() -> None:
    world = World()
    world.dns.txt[TXT], world.dns.hosts[DOMAIN] = [OTHER.text], [HERE]
    (sentence,) = await world.look()
    assert sentence.startswith(f"DNS names another node, {OTHER.text}: it needs a TXT record")
    assert world.told == []


@in_virtual_time
async def test_ones_own_address_proves_without_a_text() -> None:
    """Others who dial it meet this node, which claims the name; it does not dial itself."""
    world = World()
    world.dns.hosts[DOMAIN] = [HERE]
    assert await world.look() == ["domain_proven"]


@in_virtual_time
async def test_a_domain_that_phones_cannot_find_is_no_server() -> None:
    world = World()
    world.dns.txt[TXT] = [ME.text]
    assert await world.look() == [f"phones find no server: DNS needs an A or AAAA record {DOMAIN}"]
    world.dns.hosts[DOMAIN] = ["5.6.9.9"]
    (sentence,) = await world.look()
    assert sentence == "DNS leads phones to 5.6.9.9, which is no address of this node"
    assert world.told == []


@in_virtual_time
async def test_behind_nat_nobody_can_tell_whose_address_it_is() -> None:
    world = World(addresses=("10.1.2.3",))
    world.dns.txt[TXT], world.dns.hosts[DOMAIN] = [ME.text], [HERE]
    assert await world.look() == ["domain_proven"]


@pytest.mark.parametrize(("port", "is_found"), [(5060, True), (5070, False)])
@in_virtual_time
async def test_srv_leads_phones_only_to_the_standard_port(port: int, is_found: bool) -> None:
    """With another port in `server`, phones ask for the address alone (RFC 3263 4.2)."""
    world = World(sip_port=port)
    world.dns.txt[TXT] = [ME.text]
    world.dns.srv[f"_sip._udp.{DOMAIN}"] = [Service(0, 0, 5060, "sip.example.org.")]
    world.dns.hosts["sip.example.org."] = [HERE]
    assert (await world.look() == ["domain_proven"]) is is_found


@in_virtual_time
async def test_one_silence_changes_nothing_and_two_do() -> None:
    world = World()
    world.dns.txt[TXT], world.dns.hosts[DOMAIN] = [ME.text], [HERE]
    await world.look()
    world.dns.is_broken = True
    assert await world.look() == []
    assert len(await world.look()) == 1
    world.dns.is_broken = False
    assert await world.look() == ["domain_proven"]
    assert world.told == [frozenset({DOMAIN}), frozenset(), frozenset({DOMAIN})]


@in_virtual_time
async def test_a_domain_that_was_added_is_looked_at_soon_and_one_that_went_is_forgotten() -> None:
    world = World()
    world.dns.txt[TXT], world.dns.hosts[DOMAIN] = [ME.text], [HERE]
    world.names = []
    looking = asyncio.create_task(world.domains.run())
    await asyncio.sleep(1)
    assert world.told == []
    world.names = [DOMAIN, "other.example"]
    world.domains.look_soon()
    await asyncio.sleep(1)
    assert world.told == [frozenset({DOMAIN})]
    assert world.domains.is_proven(DOMAIN)
    assert world.domains.lack(DOMAIN) == ""
    assert "_ringmesh.other.example" in world.domains.lack("other.example")
    world.names = []
    world.domains.look_soon()
    await asyncio.sleep(1)
    assert world.told == [frozenset({DOMAIN}), frozenset()]
    assert world.domains.lack("other.example") == ""
    looking.cancel()


async def test_strangers_dns_leads_into_no_network_of_ours() -> None:
    """Private addresses in DNS are dialled only by a node that has one in that network."""
    dialled: list[Endpoint] = []

    async def identify(endpoints: Iterable[Endpoint]) -> tuple[NodeId, Hello] | None:
        dialled.extend(endpoints)
        return None

    find = careful(identify, ME, lambda: [Endpoint(HERE, 7060)], Hello)
    private = [Endpoint("10.0.0.1", 7060), Endpoint("127.0.0.1", 7060), Endpoint("::1", 7060)]
    assert await find(private) is None
    assert dialled == []
    assert await find([*private, Endpoint("5.6.9.7", 7060)]) is None
    assert dialled == [Endpoint("5.6.9.7", 7060)]
