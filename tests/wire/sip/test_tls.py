"""SIP over TLS on loopback: phones that connect, connections of the node's own, and abuse."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import structlog
import uvloop
from cryptography import x509

from federation.model.address import Endpoint
from federation.model.clocks import Monotonic, SystemClock
from node.sip.flow import Flow
from node.sip.transports import SipTransports, TcpLimits
from tests.support.sip_exchange import request as sip_request
from tests.support.tls_material import Authority, Contexts

PATIENCE = 5.0
OPTIONS = sip_request("OPTIONS").encode()
if b"Content-Length" not in OPTIONS:
    OPTIONS = OPTIONS.replace(b"\r\n\r\n", b"\r\nContent-Length: 0\r\n\r\n", 1)
NAME = "example.org"
Link = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class SteppedClock(SystemClock):
    """Real time, and steps ahead of it."""

    ahead = 0.0

    def monotonic(self) -> Monotonic:
        return Monotonic(super().monotonic() + self.ahead)


class Edge:
    """Started transports with TLS, and what they told."""

    def __init__(self, contexts: Contexts, **limits: float) -> None:
        self.messages: asyncio.Queue[tuple[bytes, Flow]] = asyncio.Queue()
        self.closed: asyncio.Queue[Flow] = asyncio.Queue()
        self.clock = SteppedClock()
        self.transports = SipTransports(
            on_data=lambda data, flow: self.messages.put_nowait((data, flow)),
            on_closed=self.closed.put_nowait,
            clock=self.clock,
            limits=TcpLimits(**limits),  # type: ignore[arg-type]
            tls=contexts,
        )

    async def message(self) -> tuple[bytes, Flow]:
        return await asyncio.wait_for(self.messages.get(), PATIENCE)

    async def lost(self) -> Flow:
        return await asyncio.wait_for(self.closed.get(), PATIENCE)

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint("127.0.0.1", self.transports.tls_port)

    async def until(self, connections: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while self.transports.connections != connections:
                await asyncio.sleep(0.01)


Start = Callable[..., Awaitable[Edge]]


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.make()


@pytest.fixture
def contexts(tmp_path: Path, authority: Authority) -> Contexts:
    names = x509.DNSName(NAME), x509.UniformResourceIdentifier("sip:voice.example")
    return Contexts(tmp_path, authority.issue(*names), authority)


@pytest.fixture
async def start(contexts: Contexts) -> AsyncIterator[Start]:
    edges: list[Edge] = []

    async def start_edge(*hosts: str, own: Contexts | None = None, **limits: float) -> Edge:
        edge = Edge(own or contexts, **limits)
        await edge.transports.start(hosts or ("127.0.0.1",), 0, 0)
        edges.append(edge)
        return edge

    yield start_edge
    for edge in edges:
        await edge.transports.close()


async def connect(contexts: Contexts, to: Endpoint) -> Link:
    return await asyncio.wait_for(
        asyncio.open_connection(to.host, to.port, ssl=contexts.client, server_hostname=NAME),
        PATIENCE,
    )


async def ends(link: Link) -> bytes:
    """What still comes, up to the end of the connection."""
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        return await asyncio.wait_for(link[0].read(), PATIENCE)
    return b""


@pytest.fixture
async def link(contexts: Contexts) -> AsyncIterator[Callable[[Edge], Awaitable[Link]]]:
    opened: list[Link] = []

    async def open_link(edge: Edge) -> Link:
        opened.append(await connect(contexts, edge.endpoint))
        return opened[-1]

    yield open_link
    for _, writer in opened:
        writer.transport.abort()


@contextlib.contextmanager
def mute_server() -> Iterator[Endpoint]:
    """Takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        yield Endpoint.of(listener.getsockname())


OpenLink = Callable[[Edge], Awaitable[Link]]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_phone_is_answered_over_its_connection_and_its_end_is_told(
    start: Start, contexts: Contexts, host: str
) -> None:
    edge = await start("127.0.0.1", "::1")
    assert ("TLS", Endpoint(host, edge.transports.tls_port)) in edge.transports.listening
    reader, writer = await connect(contexts, Endpoint(host, edge.transports.tls_port))
    assert writer.get_extra_info("ssl_object").version() == "TLSv1.3"
    own = Endpoint.of(writer.get_extra_info("sockname"))
    writer.write(OPTIONS[:9])
    await writer.drain()
    writer.write(OPTIONS[9:] + OPTIONS)
    data, flow = await edge.message()
    assert data == OPTIONS
    assert (await edge.message())[1] == flow
    assert flow == Flow("TLS", Endpoint(host, edge.transports.tls_port), own, flow.id)
    assert flow.id > 0
    assert flow.reliable
    edge.transports.send(b"x" * 40_000, flow)
    assert await asyncio.wait_for(reader.readexactly(40_000), PATIENCE) == b"x" * 40_000
    writer.close()
    with contextlib.suppress(ssl.SSLError, ConnectionError):
        await writer.wait_closed()
    assert await edge.lost() == flow
    edge.transports.send(b"answer", flow)
    assert await edge.lost() == flow


async def test_a_ping_gets_a_pong(start: Start, link: OpenLink) -> None:
    edge = await start()
    reader, writer = await link(edge)
    writer.write(b"\r\n\r\n")
    assert await asyncio.wait_for(reader.readexactly(2), PATIENCE) == b"\r\n"


async def test_the_nodes_own_connection_is_used_again_for_the_same_name_only(
    start: Start, authority: Authority
) -> None:
    far, near = await start(), await start()
    flow = near.transports.flow_to("TLS", far.endpoint, NAME)
    assert (flow.id, flow.name) == (0, NAME)
    near.transports.send(OPTIONS, flow)
    near.transports.send(OPTIONS, flow)
    first, second = await far.message(), await far.message()
    assert first[1] == second[1]
    known = near.transports.flow_to("TLS", far.endpoint, NAME)
    assert known.id > 0
    assert near.transports.flow_to("TLS", far.endpoint, "voice.example").id == 0
    near.transports.send(OPTIONS, near.transports.flow_to("TLS", far.endpoint, "voice.example"))
    _, third = await far.message()
    assert third != first[1]
    far.transports.send(OPTIONS, first[1])
    assert await near.message() == (OPTIONS, known)
    assert near.transports.connections == 2


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("other.example", "not one for other.example"),
        ("www.example.org", "not one for www.example.org"),
        ("127.0.0.1", "not one for 127.0.0.1"),
        ("a..b", "'a..b' is no host name"),
    ],
)
async def test_a_certificate_of_another_name_is_no_connection(
    start: Start, name: str, reason: str
) -> None:
    """Nothing of what waited is sent, and the flow is reported once."""
    far, near = await start(), await start()
    wish = near.transports.flow_to("TLS", far.endpoint, name)
    near.transports.send(OPTIONS, wish)
    assert await near.lost() == wish
    assert reason in near.transports.why_failed(wish)
    await far.until(connections=0)
    assert near.transports.connections == 0
    assert far.messages.empty()
    assert near.closed.empty()


async def test_an_issuer_that_is_not_trusted_is_no_connection(start: Start, tmp_path: Path) -> None:
    stranger = Authority.make("a stranger")
    folder = tmp_path / "stranger"
    folder.mkdir()
    far = await start(own=Contexts(folder, stranger.issue(x509.DNSName(NAME)), stranger))
    near = await start()
    wish = near.transports.flow_to("TLS", far.endpoint, NAME)
    near.transports.send(OPTIONS, wish)
    assert await near.lost() == wish
    assert "not trusted" in near.transports.why_failed(wish)
    assert far.messages.empty()


async def test_without_a_name_to_prove_nothing_is_connected(start: Start) -> None:
    far, near = await start(), await start()
    wish = near.transports.flow_to("TLS", far.endpoint)
    near.transports.send(OPTIONS, wish)
    assert await near.lost() == wish
    assert near.transports.connections == far.transports.connections == 0


async def test_who_speaks_no_tls_back_is_given_up(start: Start) -> None:
    near = await start(connect_seconds=0.2)
    with mute_server() as remote:
        wish = near.transports.flow_to("TLS", remote, NAME)
        near.transports.send(OPTIONS, wish)
        assert await near.lost() == wish
        assert near.transports.why_failed(wish) == "no answer in 0.2 s"
        assert near.transports.connections == 0


async def test_plain_sip_on_the_tls_port_is_closed(start: Start) -> None:
    edge = await start()
    plain = await asyncio.open_connection(*edge.endpoint)
    with structlog.testing.capture_logs() as logs:
        plain[1].write(OPTIONS)
        assert not (await ends(plain)).startswith(b"SIP")
    plain[1].close()
    told = [line["reason"] for line in logs if line["event"] == "sip_unusable_input"]
    assert len(told) == 1
    assert told[0].startswith("TLS: ")
    assert edge.messages.empty()
    assert edge.closed.empty()


async def test_a_handshake_that_stands_still_is_cut_off(start: Start) -> None:
    edge = await start(handshake_seconds=20.0)
    plain = await asyncio.open_connection(*edge.endpoint)
    await edge.until(connections=1)
    edge.clock.ahead = 10.0
    await asyncio.sleep(1.1)  # the sweep comes once a second
    assert edge.transports.connections == 1
    edge.clock.ahead = 21.0
    await ends(plain)
    plain[1].close()
    await edge.until(connections=0)
    assert edge.closed.empty()


async def test_who_says_nothing_after_the_handshake_is_cut_off(
    start: Start, link: OpenLink
) -> None:
    edge = await start(first_message_seconds=20.0, handshake_seconds=5.0)
    opened = await link(edge)
    await edge.until(connections=1)
    edge.clock.ahead = 21.0
    assert await ends(opened) == b""
    assert (await edge.lost()).transport == "TLS"


async def test_connections_from_one_address_are_limited(start: Start, link: OpenLink) -> None:
    edge = await start(connections_per_ip=2)
    first, _ = await link(edge), await link(edge)
    with pytest.raises((OSError, ssl.SSLError)):
        await link(edge)
    assert edge.transports.connections == 2
    first[1].transport.abort()
    await edge.until(connections=1)
    await link(edge)


async def test_connections_from_one_address_have_a_rate(
    start: Start, link: OpenLink, contexts: Contexts
) -> None:
    """A handshake costs more than its sender's part of it."""
    edge = await start(handshake_burst=2, handshakes_per_second=0.5)
    for _ in range(2):
        (await link(edge))[1].transport.abort()
    await edge.until(connections=0)
    with pytest.raises((OSError, ssl.SSLError)):
        await link(edge)
    edge.clock.ahead += 2.0
    await link(edge)
    near = await start(handshake_burst=0)
    near.transports.send(OPTIONS, near.transports.flow_to("TLS", edge.endpoint, NAME))
    edge.clock.ahead += 2.0
    assert (await edge.message())[0] == OPTIONS  # those of the node's own are not counted


async def test_silence_ends_connections_of_both_directions(start: Start) -> None:
    far, near = await start(), await start(idle_seconds=100.0)
    wish = near.transports.flow_to("TLS", far.endpoint, NAME)
    near.transports.send(OPTIONS, wish)
    await far.message()
    near.clock.ahead = 99.0 - PATIENCE
    await asyncio.sleep(1.1)
    assert near.transports.connections == 1
    near.clock.ahead = 101.0
    assert (await near.lost()).name == NAME
    assert (await far.lost()).transport == "TLS"
    near.transports.send(OPTIONS, wish)
    await far.message()


async def test_who_does_not_read_is_cut_off(start: Start, contexts: Contexts) -> None:
    edge = await start(unread_bytes=64 * 1024)
    loop = asyncio.get_running_loop()
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        await loop.sock_connect(sock, edge.endpoint)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = contexts.client.wrap_bio(incoming, outgoing, server_hostname=NAME)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await loop.sock_sendall(sock, outgoing.read())
                incoming.write(await loop.sock_recv(sock, 65536))
        tls.write(OPTIONS)
        await loop.sock_sendall(sock, outgoing.read())
        _, flow = await edge.message()
        for _ in range(1000):
            edge.transports.send(b"x" * 16_384, flow)
        assert await edge.lost() == flow
        assert edge.transports.connections == 0


async def test_what_waits_for_a_handshake_is_bounded(start: Start) -> None:
    near = await start(queued_messages=2, connect_seconds=0.3)
    with mute_server() as remote:
        wish = near.transports.flow_to("TLS", remote, NAME)
        for _ in range(3):
            near.transports.send(OPTIONS, wish)
        assert await near.lost() == wish  # the third, at once
        assert near.transports.why_failed(wish) == ""
        assert await near.lost() == wish  # the connection, at its deadline
        assert near.closed.empty()


async def test_another_certificate_holds_for_what_connects_afterwards(
    start: Start, contexts: Contexts, authority: Authority, link: OpenLink
) -> None:
    edge = await start()
    before = await link(edge)
    contexts.show(authority.issue(x509.DNSName("new.example")))
    after = await link(edge)
    shown = [
        one[1].get_extra_info("ssl_object").getpeercert()["subjectAltName"][0][1]
        for one in (before, after)
    ]
    assert shown == [NAME, "new.example"]
    before[1].write(OPTIONS)
    assert (await edge.message())[0] == OPTIONS


async def test_without_certificates_there_is_no_tls() -> None:
    transports = SipTransports(
        on_data=lambda *_: None, on_closed=lambda _: None, clock=SystemClock()
    )
    await transports.start(("127.0.0.1",), 0)
    assert transports.tls_port == 0
    assert {name for name, _ in transports.listening} == {"UDP", "TCP"}
    await transports.close()


async def test_closing_ends_everything(start: Start, link: OpenLink) -> None:
    far, near = await start(), await start()
    opened = await link(far)
    near.transports.send(OPTIONS, near.transports.flow_to("TLS", far.endpoint, NAME))
    await far.message()
    await near.transports.close()
    await far.transports.close()
    assert await ends(opened) == b""
    assert (near.transports.connections, far.transports.connections) == (0, 0)
    assert near.closed.empty()


async def _one_exchange(contexts: Contexts) -> None:
    far, near = Edge(contexts), Edge(contexts)
    await far.transports.start(("127.0.0.1",), 0, 0)
    await near.transports.start(("127.0.0.1",), 0, 0)
    near.transports.send(OPTIONS, near.transports.flow_to("TLS", far.endpoint, NAME))
    data, flow = await far.message()
    far.transports.send(data, flow)
    assert (await near.message())[0] == OPTIONS
    await near.transports.close()
    assert await far.lost() == flow
    await far.transports.close()


def test_uvloop_carries_it_as_well(contexts: Contexts) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_one_exchange(contexts))


# Against Python's own TLS

Far = tuple[Endpoint, "asyncio.Queue[bytes]", "asyncio.Queue[asyncio.StreamWriter]"]


@contextlib.asynccontextmanager
async def pythons_server(context: ssl.SSLContext) -> AsyncIterator[Far]:
    """A server that is asyncio's TLS, and what it was sent."""
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    writers: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.put_nowait(writer)
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            while data := await reader.read(65536):
                heard.put_nowait(data)
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield Endpoint.of(server.sockets[0].getsockname()), heard, writers


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_the_nodes_own_connections_speak_with_others(
    start: Start, contexts: Contexts, version: ssl.TLSVersion
) -> None:
    near = await start()
    contexts.server.maximum_version = version
    async with pythons_server(contexts.server) as (remote, heard, writers):
        near.transports.send(OPTIONS, near.transports.flow_to("TLS", remote, NAME))
        assert await asyncio.wait_for(heard.get(), PATIENCE) == OPTIONS
        writer = await writers.get()
        assert writer.get_extra_info("ssl_object").version().replace(".", "_") == version.name
        writer.write(OPTIONS + b"\r\n\r\n")
        data, flow = await near.message()
        assert data == OPTIONS
        assert await asyncio.wait_for(heard.get(), PATIENCE) == b"\r\n"
        near.transports.send(b"\r\n\r\n", flow)  # a ping of ours (RFC 5626 3.5.1)
        assert await asyncio.wait_for(heard.get(), PATIENCE) == b"\r\n\r\n"
        writer.write(b"\r\n")
        writer.close()
        assert await near.lost() == flow
        assert near.messages.empty()


async def test_a_server_that_wants_a_certificate_of_ours_is_no_connection(
    start: Start, contexts: Contexts, tmp_path: Path
) -> None:
    """Python's says nothing and closes. (In TLS 1.3 that comes after our part of the handshake.)"""
    near = await start()
    contexts.server.maximum_version = ssl.TLSVersion.TLSv1_2
    contexts.server.verify_mode = ssl.CERT_REQUIRED
    contexts.server.load_verify_locations(tmp_path / "authorities.pem")
    async with pythons_server(contexts.server) as (remote, heard, _):
        wish = near.transports.flow_to("TLS", remote, NAME)
        near.transports.send(OPTIONS, wish)
        assert await near.lost() == wish
        assert "during the TLS handshake" in near.transports.why_failed(wish)
        assert heard.empty()
