"""A small DNS server with the records a test wants, on a loopback socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from federation.model.address import Endpoint


class DnsServer(asyncio.DatagramProtocol):
    """Answers from `records`, by absolute name and kind, else NXDOMAIN; asked in the same loop."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], list[str]] = {}
        self.failing: set[str] = set()
        "Names that get SERVFAIL."
        self.silent: set[str] = set()
        "Ends of names that get no answer at all."
        self.asked: list[tuple[str, str]] = []
        self.endpoint: Endpoint

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name, kind = question.name.to_text().lower(), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        if any(name.endswith(end) for end in self.silent):
            return
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.RA
        values = self.records.get((name, kind), [])
        if values:
            reply.answer.append(dns.rrset.from_text(name, 60, "IN", kind, *values))
        elif name in self.failing:
            reply.set_rcode(dns.rcode.SERVFAIL)
        elif all(known != name for known, _ in self.records):
            reply.set_rcode(dns.rcode.NXDOMAIN)
        self.transport.sendto(reply.to_wire(), addr)


@asynccontextmanager
async def dns_server(host: str = "127.0.0.1") -> AsyncIterator[DnsServer]:
    """A running server, until the block ends."""
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(DnsServer, local_addr=(host, 0))
    server.endpoint = Endpoint(*transport.get_extra_info("sockname")[:2])
    try:
        yield server
    finally:
        transport.close()
