"""Peers that break the rules, over real QUIC: they lose their link, and nothing else suffers."""

import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import HandshakeCompleted
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from federation import session
from federation.codec import encode
from federation.mesh import MeshSocket
from federation.messages import Cancel, Hello, LinkError, Ping
from federation.model.address import Endpoint
from federation.model.clocks import SystemClock, SystemEntropy
from federation.model.identity import NodeId
from federation.quic import endpoint as quic_endpoint
from federation.quic.certificate import node_certificate, quic_configuration
from federation.quic.connection import Connection
from federation.quic.endpoint import QuicEndpoint
from tests.support.mesh_nodes import NETWORK, SocketNode, answering, invite, key, sorted_keys

LOW, HIGH, EVIL = sorted_keys(3)


class RawPeer:
    """A node with a proper key that writes what it likes on its streams."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.is_established = asyncio.Event()
        self.is_closed = asyncio.Event()
        self.code = -1
        self.resets: dict[int, int] = {}
        self.data: dict[int, bytes] = {}
        connection.handler = self

    def established(self, peer: NodeId) -> None:
        self.is_established.set()

    def stream_data(self, stream: int, data: bytes, end: bool) -> None:
        self.data[stream] = self.data.get(stream, b"") + data

    def stream_reset(self, stream: int, code: int) -> None:
        self.resets[stream] = code

    def closed(self, code: int, reason: str) -> None:
        self.code = code
        self.is_closed.set()

    async def closed_with(self, code: LinkError, limit: float = 5.0) -> None:
        async with asyncio.timeout(limit):
            await self.is_closed.wait()
        assert self.code == code


@asynccontextmanager
async def raw_peer(target: SocketNode, *, hello: bool = True) -> AsyncIterator[RawPeer]:
    async with MeshSocket(["127.0.0.1"], 0) as mesh:
        quic = QuicEndpoint(
            key=EVIL,
            network=NETWORK,
            port=mesh,
            clock=SystemClock(),
            entropy=SystemEntropy(),
            on_accept=lambda connection, source: None,
        )
        mesh.on_quic = quic.datagram_received
        peer = RawPeer(quic.dial(target.endpoint, target.id))
        async with asyncio.timeout(5):
            await peer.is_established.wait()
            if hello:
                peer.connection.write(0, encode(Hello()))
                while 0 not in peer.data:
                    await asyncio.sleep(0.005)
        yield peer
        peer.connection.close(LinkError.NONE)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\xff" * 100,
        b"\0\0\0\0",
        encode(Ping(1)),
        encode(Hello()),
        encode(Cancel(txn=b"t" * 16)),
        encode(invite()) + encode(invite()),
    ],
    ids=["length", "empty", "ping", "hello", "cancel first", "two requests"],
)
async def test_frames_out_of_place_end_the_link_and_nothing_else(garbage: bytes) -> None:
    async with SocketNode(LOW) as a, SocketNode(HIGH) as b:
        b.receiver.answer = answering(180)
        honest = b.call(a, a.endpoint)
        await honest.until(lambda o: o.accepted == 1)
        async with raw_peer(a) as peer:
            peer.connection.write(4, garbage)
            await peer.closed_with(LinkError.MALFORMED)
        assert [info.node for info in a.links.peers()] == [b.id]
        assert honest.failures == []


@pytest.mark.parametrize(
    "first", [encode(Ping(1)), encode(invite()), b"\xff" * 8], ids=["ping", "request", "garbage"]
)
async def test_a_link_begins_with_a_hello(first: bytes) -> None:
    async with SocketNode(LOW) as a, raw_peer(a, hello=False) as peer:
        peer.connection.write(0, first)
        await peer.closed_with(LinkError.MALFORMED)
        assert a.receiver.up == []


async def test_requests_before_the_hello_are_not_read() -> None:
    async with SocketNode(LOW) as a, raw_peer(a, hello=False) as peer:
        peer.connection.write(0, b"")
        peer.connection.write(4, encode(invite()))
        await peer.closed_with(LinkError.MALFORMED)
        assert a.receiver.requests == []


async def test_a_stream_that_drips_is_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "FIRST_FRAME_TIMEOUT", 0.1)
    async with SocketNode(LOW) as a, raw_peer(a) as peer:
        peer.connection.write(4, encode(invite())[:10])
        async with asyncio.timeout(3):
            while 4 not in peer.resets:
                await asyncio.sleep(0.01)
        assert a.receiver.requests == []
        peer.connection.write(8, encode(invite()))
        async with asyncio.timeout(3):
            while not a.receiver.requests:
                await asyncio.sleep(0.01)
        assert a.links.peers()[0].node == EVIL.id


async def test_many_streams_that_drip_end_the_link(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "FIRST_FRAME_TIMEOUT", 0.1)
    async with SocketNode(LOW) as a, raw_peer(a) as peer:
        for number in range(1, session.MAX_SLOW_STREAMS + 2):
            peer.connection.write(4 * number, b"\0")
        await peer.closed_with(LinkError.FLOODING)
        assert a.links.peers() == ()


async def test_unfinished_frames_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MAX_PARTIAL_BYTES", 200_000)
    async with SocketNode(LOW) as a, raw_peer(a) as peer:
        for number in range(1, 12):
            peer.connection.write(4 * number, b"\0\0\xff\xff" + bytes(20_000))
        await peer.closed_with(LinkError.FLOODING)


async def test_control_frames_are_bounded_in_rate() -> None:
    async with SocketNode(LOW) as a, raw_peer(a) as peer:
        peer.connection.write(0, encode(Ping(1)) * (int(session.CONTROL_FRAME_BURST) + 20))
        await peer.closed_with(LinkError.FLOODING)


async def test_streams_without_beginnings_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """One byte at the end of a stream's window makes the receiver hold the whole window."""
    from federation.quic import connection

    monkeypatch.setattr(connection, "MAX_UNDELIVERED_BYTES", 500_000)
    async with SocketNode(LOW) as a, raw_peer(a) as peer:
        quic = peer.connection.quic
        for number in range(1, 40):
            stream = quic._get_or_create_stream_for_send(4 * number)
            stream.sender.write(bytes(30_000))
            stream.sender._pending.subtract(0, 29_999)
        peer.connection._owner.mark(peer.connection)
        await peer.closed_with(LinkError.FLOODING)


async def test_streams_opened_by_leaving_ids_out_are_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session, "ACCEPTOR_PING_INTERVAL", 0.1)
    monkeypatch.setattr(session, "BUSY_PING_INTERVAL", -0.9)
    async with SocketNode(LOW) as a, raw_peer(a) as peer:
        peer.connection.write(4 * 3_000, b"\0")
        await peer.closed_with(LinkError.FLOODING)


async def test_a_peer_that_answers_no_ping_loses_its_link(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "ACCEPTOR_PING_INTERVAL", 0.05)
    monkeypatch.setattr(session, "PING_TIMEOUT", 0.2)
    async with SocketNode(LOW) as a, raw_peer(a) as peer:
        await peer.closed_with(LinkError.SILENT)
        assert a.receiver.down == [EVIL.id]


async def test_without_a_hello_a_connection_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "HELLO_TIMEOUT", 0.2)
    async with SocketNode(LOW) as a, raw_peer(a, hello=False) as peer:
        assert a.links.half_open_count == 1
        await peer.closed_with(LinkError.SILENT)
        assert a.links.half_open_count == 0


async def test_later_frame_types_and_streams_of_one_direction_do_no_harm() -> None:
    async with SocketNode(LOW) as a, raw_peer(a) as peer:
        peer.connection.write(0, b"\0\0\0\x02\x91\x63" + encode(Ping(9)))
        peer.connection.write(2, b"anything")
        async with asyncio.timeout(3):
            while not peer.data[0].endswith(b"\x92\x07\x09"):
                await asyncio.sleep(0.005)
        assert a.links.peers()[0].node == EVIL.id


async def test_any_datagram_is_survived() -> None:
    async with SocketNode(LOW) as a, SocketNode(HIGH) as b:
        entropy = SystemEntropy()
        for first in (0x00, 0x05, 0x08, 0x20, 0x40, 0x7F, 0xC0, 0xC3, 0xF0, 0xFF):
            for size in (1, 7, 30, 1200, 1472):
                b.mesh.send(bytes([first]) + entropy.token(size), a.endpoint)
                version_1 = bytes([first]) + b"\0\0\0\x01\x08" + entropy.token(size)
                b.mesh.send(version_1, a.endpoint)
        a.receiver.answer = answering(200)
        owner = b.call(a, a.endpoint)
        await owner.until_end()
        assert owner.responses == [200]
        assert a.mesh.received["unknown"] == 20
        assert a.mesh.received["dht"] == 10


async def test_strangers_must_show_their_address_above_the_threshold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(quic_endpoint, "RETRY_THRESHOLD", 1)
    async with SocketNode(LOW) as a, SocketNode(HIGH) as b, raw_peer(a, hello=False):
        assert a.links._quic.asks_for_retry
        sent_before = a.mesh.bytes_sent
        a.receiver.answer = answering(200)
        owner = b.call(a, a.endpoint)
        await owner.until_end()
        assert owner.responses == [200]
        assert a.mesh.bytes_sent > sent_before


async def test_spoofed_initials_cost_no_connection_above_the_threshold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(quic_endpoint, "RETRY_THRESHOLD", 2)
    async with SocketNode(LOW) as a, MeshSocket(["127.0.0.1"], 0) as mesh:
        for _ in range(20):
            mesh.send(_an_initial(a.endpoint), a.endpoint)
        await asyncio.sleep(0.2)
        assert a.links.half_open_count == 2


async def test_half_open_connections_are_bounded_by_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(quic_endpoint, "MAX_HALF_OPEN_PER_GROUP", 3)
    async with SocketNode(LOW) as a, MeshSocket(["127.0.0.1"], 0) as mesh:
        for _ in range(10):
            mesh.send(_an_initial(a.endpoint), a.endpoint)
        await asyncio.sleep(0.2)
        assert a.links.half_open_count == 3


def _an_initial(target: Endpoint) -> bytes:
    node = key(99)
    configuration = quic_configuration(node, node_certificate(node), NETWORK, is_client=True)
    connection = QuicConnection(configuration=configuration)
    connection.connect((target.host, target.port), now=0.0)
    return connection.datagrams_to_send(now=0.0)[0][0]


# -- certificates -----------------------------------------------------------------------------


def _configuration(kind: str) -> QuicConfiguration:
    configuration = QuicConfiguration(
        is_client=True, alpn_protocols=[NETWORK.alpn], verify_mode=ssl.CERT_NONE
    )
    if kind == "no certificate":
        return configuration
    if kind == "no alpn":
        configuration.alpn_protocols = None
    if kind == "another alpn":
        configuration.alpn_protocols = ["h3"]
    node = key(5)
    configuration.certificate = node_certificate(node)
    configuration.private_key = node.private
    if kind == "another key than the certificate's":
        configuration.private_key = key(6).private
    if kind == "two certificates":
        configuration.certificate_chain = [node_certificate(key(6))]
    if kind == "a key of another kind":
        other = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
        start = datetime.datetime(2025, 1, 1)
        configuration.private_key = other
        configuration.certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(other.public_key())
            .serial_number(1)
            .not_valid_before(start)
            .not_valid_after(start + datetime.timedelta(days=9_999))
            .sign(other, hashes.SHA256())
        )
    return configuration


async def _try(configuration: QuicConfiguration, target: SocketNode) -> tuple[bool, bool]:
    """Dial with plain aioquic; whether its handshake ended, and whether the node closed it."""
    loop = asyncio.get_running_loop()
    clock = SystemClock()
    completed = False
    connection = QuicConnection(configuration=configuration)
    async with MeshSocket(["127.0.0.1"], 0) as mesh:

        def flush() -> None:
            for data, (host, port) in connection.datagrams_to_send(now=clock.monotonic()):
                mesh.send(data, Endpoint(host, port))

        def received(data: bytes, source: Endpoint) -> None:
            nonlocal completed
            connection.receive_datagram(data, source, now=clock.monotonic())
            while (event := connection.next_event()) is not None:
                if isinstance(event, HandshakeCompleted):
                    completed = True
                    connection.send_stream_data(0, encode(Hello()))
            flush()

        mesh.on_quic = received
        connection.connect(target.endpoint, now=clock.monotonic())
        flush()
        until = loop.time() + 1.0
        while connection._close_event is None and loop.time() < until:
            await asyncio.sleep(0.01)
        return completed, connection._close_event is not None


@pytest.mark.parametrize(
    "kind",
    [
        "no certificate",
        "no alpn",
        "another alpn",
        "another key than the certificate's",
        "two certificates",
        "a key of another kind",
    ],
)
async def test_a_client_without_the_right_credentials_is_refused(kind: str) -> None:
    async with SocketNode(LOW) as a:
        _, was_closed = await _try(_configuration(kind), a)
        assert was_closed
        assert a.receiver.up == []
        assert a.links.peers() == ()


async def test_a_client_with_the_right_credentials_is_taken() -> None:
    """The control: the same client, with nothing wrong."""
    async with SocketNode(LOW) as a:
        assert await _try(_configuration("right"), a) == (True, False)
        assert a.receiver.up == [key(5).id]
