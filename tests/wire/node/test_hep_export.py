"""What passes the edge reaches a capture server over a real socket, and nothing waits for it."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest

from federation.model.address import Endpoint
from federation.model.clocks import SystemClock
from federation.model.identity import NodeId, NodeKey
from node.sip.flow import Flow
from node.tracing import hep_export
from node.tracing.hep import Agent
from node.tracing.hep_export import HepExport
from node.tracing.tap import RECEIVED, SENT, Noted, Place, frame_text
from tests.support.hep import read_hep

OWN = Endpoint("192.0.2.1", 5060)
PHONE = Flow("TLS", OWN, Endpoint("192.0.2.9", 5062), 3)
NODE = NodeKey(bytes(range(32))).id
CLOCK = SystemClock()


def places(node: NodeId) -> tuple[Endpoint, Endpoint] | None:
    known = node == NODE
    return (Endpoint("192.0.2.1", 7060), Endpoint("198.51.100.7", 7060)) if known else None


def noted(way: int, place: Place, data: bytes = b"") -> Noted:
    message = data or b"BYE sip:x SIP/2.0\r\nCall-ID: c@x\r\n\r\n"
    return CLOCK.monotonic(), way, message, place


@contextlib.asynccontextmanager
async def exporting(port: int) -> AsyncIterator[HepExport]:
    export = HepExport(("127.0.0.1", port), Agent(7), places=places, clock=CLOCK)
    task = asyncio.create_task(export.run())
    try:
        async with asyncio.timeout(5):
            while export._socket is None:
                await asyncio.sleep(0.01)
        yield export
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert export._socket is not None
    assert export._socket.fileno() == -1, "closed"


async def drained(export: HepExport) -> None:
    async with asyncio.timeout(5):
        while export._waiting:
            await asyncio.sleep(0.01)


async def test_messages_arrive_with_their_ends_as_they_were_on_the_wire() -> None:
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))
    server.settimeout(5)
    with server:
        async with exporting(server.getsockname()[1]) as export:
            stranger = NodeKey(bytes(32)).id
            export.take(
                [
                    noted(RECEIVED, PHONE),
                    noted(SENT, NODE),
                    (*noted(SENT, NODE)[:2], frame_text("bye", b"c@x"), NODE),
                    noted(SENT, stranger),
                ]
            )
            await drained(export)
            first, second = (read_hep(server.recv(65_536)) for _ in range(2))
        assert (export.sent, export.dropped) == (2, 1)
    assert (first["source"], first["destination_port"], first["protocol"]) == (
        *("192.0.2.9", 5060),
        "TCP",
    )
    assert (second["source"], second["destination"], second["protocol"]) == (
        *("192.0.2.1", "198.51.100.7"),
        "UDP",
    )
    assert first["correlation"] == second["correlation"] == b"c@x"
    assert abs(first["seconds"] + first["microseconds"] / 1e6 - CLOCK.unix()) < 10


async def test_a_server_that_is_gone_costs_nothing_but_its_messages() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
    async with exporting(port) as export:
        for _ in range(4):
            export.take([noted(SENT, PHONE)])
            await drained(export)
    assert export.sent + export.dropped == 4
    assert export.dropped


async def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hep_export, "MAX_WAITING", 5)
    export = HepExport(("127.0.0.1", 9), Agent(7), places=places, clock=CLOCK)
    export.take([noted(SENT, PHONE, b"BYE %d" % number) for number in range(8)])
    assert [waiting[2] for waiting in export._waiting] == [b"BYE %d" % n for n in range(3, 8)]
    assert export.dropped == 3
