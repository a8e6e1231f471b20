"""The resolver against a DNS server on a loopback socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from federation.domain_proof import DnsResolver, DomainProof, ResolveError, Service
from federation.model.address import Endpoint
from federation.model.clocks import SystemClock
from tests.support.mesh_nodes import SocketNode, sorted_keys

LOW, HIGH = sorted_keys(2)


class DnsServer(asyncio.DatagramProtocol):
    """Answers from `records`, else NXDOMAIN; names in `failing` get SERVFAIL."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], list[str]] = {}
        self.failing: set[str] = set()

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name, kind = question.name.to_text(), dns.rdatatype.to_text(question.rdtype)
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.RA
        values = self.records.get((name, kind), [])
        if values:
            reply.answer.append(dns.rrset.from_text(name, 60, "IN", kind, *values))
        elif name in self.failing:
            reply.set_rcode(dns.rcode.SERVFAIL)
        elif all(known != name for known, _ in self.records):
            reply.set_rcode(dns.rcode.NXDOMAIN)
        self.transport.sendto(reply.to_wire(), address)


@asynccontextmanager
async def a_server() -> AsyncIterator[tuple[DnsServer, DnsResolver]]:
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(DnsServer, local_addr=("127.0.0.1", 0))
    host, port = transport.get_extra_info("sockname")
    try:
        yield server, DnsResolver([Endpoint(host, port)])
    finally:
        transport.close()


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
