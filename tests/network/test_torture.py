"""The messages of RFC 4475 on the wire of a real node, over UDP and TCP."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from federation.model.address import Endpoint
from node.sip.message import Response, parse_message
from tests.support.nodes import NodeProcess, Place, add_user, free_places, running_nodes
from tests.support.sip_client import sip_client
from tests.unit.edge.test_torture import MANIFEST, SILENT, VECTORS, expected

pytestmark = pytest.mark.asyncio(loop_scope="module")
SILENCE = 0.3
"Seconds without an answer."
WITHIN = 5.0
UDP_WITHIN = 1.5
OVER_TCP: dict[str, list[int]] = {"clerr": [], "inv2543": [400]}
"""Where a stream reads it otherwise: a body that is too short may still come, and without
Content-Length nobody knows where it ends (RFC 3261 18.3)."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nodes(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[list[NodeProcess]]:
    """A node for each transport, as the same branch is the same transaction over any of them.

    When all is over they register a phone, and have logged no error.
    """
    async with running_nodes(tmp_path_factory.mktemp("nodes"), 2) as made:
        accounts = [await add_user(node, "alice") for node in made]
        yield made
        for node, alice in zip(made, accounts, strict=True):
            async with sip_client(Endpoint(node.place.ip, node.place.sip_port)) as phone:
                assert (await phone.register("alice", alice["password"])).status == 200
            assert '"level": "error"' not in node.log.read_text()


@pytest.fixture(scope="module")
def elsewhere(nodes: list[NodeProcess]) -> Place:
    """Another address, as an answer goes to the port that Via names, which is 5060 as a rule."""
    return free_places(1)[0]


def final(data: bytes) -> int | None:
    """The status of a final response."""
    message = parse_message(data)
    assert isinstance(message, Response)
    return message.status if message.status >= 200 else None


@pytest.mark.parametrize("name", sorted(MANIFEST))
async def test_over_tcp(nodes: list[NodeProcess], name: str) -> None:
    """Each on a connection of its own; what cannot be framed closes it after the answer."""
    node = nodes[0]
    reader, writer = await asyncio.open_connection(node.place.ip, node.place.sip_port)
    try:
        writer.write((VECTORS / f"{name}.dat").read_bytes())
        wanted, statuses = OVER_TCP.get(name, expected(name)), []
        try:
            async with asyncio.timeout(WITHIN if wanted else SILENCE):
                while not statuses:
                    head = await reader.readuntil(b"\r\n\r\n")
                    if (status := final(head)) is not None:
                        statuses.append(status)
        except (TimeoutError, asyncio.IncompleteReadError):
            pass
        assert statuses == wanted
    finally:
        writer.close()


class Ear(asyncio.DatagramProtocol):
    """Hears what comes to port 5060 of an address."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[bytes] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.heard.put_nowait(data)


async def test_over_udp(nodes: list[NodeProcess], elsewhere: Place) -> None:
    """One after the other from one port; where Via names another, the answer goes there."""
    node = nodes[1]
    loop = asyncio.get_running_loop()
    transport, ear = await loop.create_datagram_endpoint(
        Ear,
        local_addr=(elsewhere.ip, elsewhere.sip_port),
        remote_addr=(node.place.ip, node.place.sip_port),
    )
    missing = []
    try:
        for name in sorted(MANIFEST):
            transport.sendto((VECTORS / f"{name}.dat").read_bytes())
            statuses = []
            try:
                async with asyncio.timeout(SILENCE if name in SILENT else UDP_WITHIN):
                    while not statuses:
                        if (status := final(await ear.heard.get())) is not None:
                            statuses.append(status)
            except TimeoutError:
                pass
            if not statuses and name not in SILENT:
                missing.append(name)
            else:
                assert statuses == expected(name), name
    finally:
        transport.close()
    assert set(missing) <= OTHER_PORTS, missing


OTHER_PORTS = {"quotbal"}
"Messages whose Via names another port than 5060."
