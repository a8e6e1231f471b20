"""The resolver against a DNS server on a loopback socket."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from federation.domain_proof import DnsResolver, DomainProof, ResolveError, Service
from federation.model.clocks import SystemClock
from tests.support.dns_server import DnsServer, dns_server
from tests.support.mesh_nodes import SocketNode, sorted_keys

LOW, HIGH = sorted_keys(2)


@asynccontextmanager
async def a_server() -> AsyncIterator[tuple[DnsServer, DnsResolver]]:
    async with dns_server() as server:
        yield server, DnsResolver([server.endpoint])


async def test_records_are_read() -> None:
    async with a_server() as (server, resolver):
        server.records = {
            ("_ringmesh.example.org.", "TXT"): ['"one" " string"', '"another"'],
            ("_ringmesh._udp.example.org.", "SRV"): ["10 5 7060 mesh.example.org."],
            ("mesh.example.org.", "A"): ["192.0.2.1"],
            ("mesh.example.org.", "AAAA"): ["2001:db8::1"],
        }
        assert sorted(await resolver.texts("_ringmesh.example.org")) == ["another", "one string"]
        assert await resolver.services("_ringmesh._udp.example.org") == [
            Service(10, 5, 7060, "mesh.example.org.")
        ]
        assert await resolver.addresses("mesh.example.org") == ["192.0.2.1", "2001:db8::1"]


async def test_nothing_is_an_empty_answer_and_a_failure_is_said() -> None:
    async with a_server() as (server, resolver):
        server.records = {("half.example.org.", "A"): ["192.0.2.1"]}
        server.failing = {"broken.example.org."}
        assert await resolver.texts("nowhere.example.org") == []
        assert await resolver.texts("half.example.org") == []
        assert await resolver.addresses("half.example.org") == ["192.0.2.1"]
        with pytest.raises(ResolveError):
            await resolver.texts("broken.example.org")


async def test_a_domain_is_proven_by_its_node() -> None:
    """DNS, dial, handshake and hello, all real."""
    async with (
        a_server() as (server, resolver),
        SocketNode(LOW) as a,
        SocketNode(HIGH, domains=["example.org"]) as b,
    ):
        port = b.endpoint.port
        server.records = {
            ("_ringmesh._udp.example.org.", "SRV"): [f"0 0 {port} node.example.org."],
            ("node.example.org.", "A"): ["127.0.0.1"],
            ("_ringmesh._udp.example.net.", "SRV"): [f"0 0 {port} node.example.org."],
        }
        proof = DomainProof(identify=a.links.identify, clock=SystemClock(), resolver=resolver)
        assert await proof.prove("example.org") == b.id
        assert await proof.prove("example.net") is None
        assert [info.node for info in a.links.peers()] == [b.id]
        await proof.close()


async def test_a_silent_server_leaves_time_for_the_next() -> None:
    async with dns_server() as silent, dns_server() as other:
        silent.silent = {"."}
        other.records = {("_ringmesh.example.org.", "TXT"): ['"here"']}
        resolver = DnsResolver([silent.endpoint, other.endpoint])
        assert await resolver.texts("_ringmesh.example.org") == ["here"]
        assert silent.asked
