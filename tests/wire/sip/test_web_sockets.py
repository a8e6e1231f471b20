"""SIP over WebSocket on loopback: a web server, clients, and what strangers may do to it."""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import WSCloseCode, WSMsgType, web
from cryptography import x509

from federation.model.address import Endpoint
from federation.model.clocks import SystemClock
from node.sip.flow import Flow
from node.sip.framing import MAX_MESSAGE_BYTES
from node.sip.transports.noise import NoiseLog
from node.sip.transports.sockets import SipTransports
from node.sip.transports.web_connection import GOING_AWAY, WebLimits
from node.sip.transports.web_sockets import PATH, SipWebSockets
from node.sip.web_socket import MAX_FRAMES_AT_ONCE, NOT_SIP, TOO_FAST
from tests.support.sip_exchange import request as sip_request
from tests.support.sip_exchange import response as sip_response
from tests.support.tls_material import Authority, Contexts

PATIENCE = 5.0
OPTIONS = sip_request("OPTIONS").encode()
ANSWER = sip_response(sip_request("OPTIONS"), 200).encode()


class Server:
    """A started web server with the SIP route, and what came of it."""

    def __init__(self, limits: WebLimits, welcome: tuple[str, ...] = ()) -> None:
        self.messages: asyncio.Queue[tuple[bytes, Flow]] = asyncio.Queue()
        self.closed: asyncio.Queue[Flow] = asyncio.Queue()
        clock = SystemClock()
        self.noise = NoiseLog(clock)
        self.web = SipWebSockets(
            on_data=lambda data, flow: self.messages.put_nowait((data, flow)),
            on_closed=self.closed.put_nowait,
            noise=self.noise,
            clock=clock,
            limits=limits,
            welcome=welcome,
        )
        self.local = Endpoint("", 0)
        self.secure = False

    @property
    def url(self) -> str:
        return f"{'wss' if self.secure else 'ws'}://{self.local}{PATH}"

    async def message(self) -> tuple[bytes, Flow]:
        return await asyncio.wait_for(self.messages.get(), PATIENCE)

    async def lost(self) -> Flow:
        return await asyncio.wait_for(self.closed.get(), PATIENCE)


Start = Callable[..., Awaitable[Server]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    runners: list[tuple[Server, web.AppRunner]] = []

    async def start_server(
        host: str = "127.0.0.1",
        *,
        context: ssl.SSLContext | None = None,
        welcome: tuple[str, ...] = (),
        **limits: Any,
    ) -> Server:
        server = Server(WebLimits(**limits), welcome)
        app = web.Application()
        app.add_routes(server.web.routes())
        runner = web.AppRunner(app, shutdown_timeout=0)
        await runner.setup()
        await web.TCPSite(runner, host, 0, ssl_context=context).start()
        server.local = Endpoint.of(runner.addresses[0])
        server.secure = context is not None
        runners.append((server, runner))
        return server

    yield start_server
    for server, runner in runners:
        await server.web.close()
        await runner.cleanup()


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def connect(
    client: aiohttp.ClientSession, server: Server, *protocols: str, **more: Any
) -> aiohttp.ClientWebSocketResponse:
    return await client.ws_connect(server.url, protocols=protocols or ("sip",), **more)


async def close_code(socket: aiohttp.ClientWebSocketResponse) -> int | None:
    async with asyncio.timeout(PATIENCE):
        async for _ in socket:
            pass
    return socket.close_code


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_browser_is_answered_over_its_connection_and_its_end_is_told(
    start: Start, client: aiohttp.ClientSession, host: str
) -> None:
    server = await start(host)
    async with await connect(client, server, "chat", "sip") as link:
        assert link.protocol == "sip"
        await link.send_str(OPTIONS.decode())
        data, flow = await server.message()
        assert data == OPTIONS
        assert (flow.transport, flow.local, flow.remote.host) == ("WS", server.local, host)
        server.web.send(ANSWER, flow)
        frame = await link.receive(PATIENCE)
        assert (frame.type, frame.data) == (WSMsgType.TEXT, ANSWER.decode())
        assert server.web.connections == 1
    assert await server.lost() == flow
    assert server.web.connections == 0
    server.web.send(ANSWER, flow)
    assert await server.lost() == flow


async def test_over_tls_it_is_wss(
    start: Start, client: aiohttp.ClientSession, tmp_path: Any
) -> None:
    authority = Authority.make()
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    contexts = Contexts(tmp_path, authority.issue(address), authority)
    server = await start(context=contexts.server)
    async with await connect(client, server, ssl=contexts.client) as link:
        await link.send_str(OPTIONS.decode())
        _, flow = await server.message()
        assert flow.transport == "WSS"
        assert flow.secure
        server.web.send(ANSWER, flow)
        assert (await link.receive(PATIENCE)).data == ANSWER.decode()


async def test_what_is_no_utf8_travels_in_binary_frames_both_ways(
    start: Start, client: aiohttp.ClientSession
) -> None:
    server = await start()
    odd = OPTIONS.replace(b"\r\n\r\n", b"\r\nX-Odd: \xff\r\n\r\n")
    async with await connect(client, server) as link:
        await link.send_bytes(odd)
        data, flow = await server.message()
        assert data == odd
        server.web.send(odd, flow)
        frame = await link.receive(PATIENCE)
        assert (frame.type, frame.data) == (WSMsgType.BINARY, odd)


async def test_pings_of_both_kinds_are_answered(
    start: Start, client: aiohttp.ClientSession
) -> None:
    server = await start()
    async with await connect(client, server, autoping=False) as link:
        await link.send_str("\r\n\r\n")
        assert (await link.receive(PATIENCE)).data == "\r\n"
        await link.ping(b"there?")
        frame = await link.receive(PATIENCE)
        assert (frame.type, bytes(frame.data)) == (WSMsgType.PONG, b"there?")
    assert server.messages.empty()


async def test_a_browser_that_is_gone_without_a_word_is_missed(
    start: Start, client: aiohttp.ClientSession
) -> None:
    server = await start(heartbeat_seconds=0.2)
    async with await connect(client, server, autoping=False) as link:
        await link.send_str(OPTIONS.decode())
        _, flow = await server.message()
        assert await server.lost() == flow


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-WebSocket-Protocol": "chat"}, 400),
        ({"Sec-WebSocket-Protocol": ""}, 400),
        ({"Sec-WebSocket-Protocol": "sip", "Origin": "https://evil.example"}, 403),
        ({"Sec-WebSocket-Protocol": "sip", "Origin": "null"}, 403),
    ],
)
async def test_a_handshake_that_is_refused(
    start: Start, client: aiohttp.ClientSession, headers: dict[str, str], status: int
) -> None:
    server = await start()
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await client.ws_connect(server.url, headers=headers)
    assert refused.value.status == status
    assert server.web.connections == 0


async def test_pages_of_this_node_and_of_those_named_may_connect(
    start: Start, client: aiohttp.ClientSession
) -> None:
    server = await start(welcome=("https://Phone.Example",))
    for origin in (f"http://{server.local}", "https://phone.example"):
        async with await connect(client, server, headers={"Origin": origin}) as link:
            assert link.protocol == "sip"


async def test_a_browser_that_reads_the_page_is_told_what_is_there(
    start: Start, client: aiohttp.ClientSession
) -> None:
    server = await start()
    async with client.get(f"http://{server.local}{PATH}") as answer:
        assert (answer.status, answer.headers["Upgrade"]) == (426, "websocket")
        assert "WebSocket" in await answer.text()


async def test_a_message_beyond_the_limit_closes_the_connection(
    start: Start, client: aiohttp.ClientSession
) -> None:
    server = await start()
    async with await connect(client, server) as link:
        await link.send_str(OPTIONS.decode() + "x" * (MAX_MESSAGE_BYTES - len(OPTIONS)))
        await server.message()
        await link.send_str("A" * (MAX_MESSAGE_BYTES + 1))
        assert await close_code(link) == WSCloseCode.MESSAGE_TOO_BIG
    await server.lost()


async def test_who_sends_no_sip_or_too_much_is_cut_off(
    start: Start, client: aiohttp.ClientSession
) -> None:
    server = await start()
    async with await connect(client, server) as link:
        await link.send_str("{}")
        assert await close_code(link) == NOT_SIP
    async with await connect(client, server) as link:
        for _ in range(2 * MAX_FRAMES_AT_ONCE):
            await link.send_str("\r\n")
        assert await close_code(link) == TOO_FAST
    for _ in range(2):
        await server.lost()
    assert server.noise.complaints >= 2


async def test_who_says_nothing_is_cut_off_and_who_spoke_stays(
    start: Start, client: aiohttp.ClientSession
) -> None:
    server = await start(first_message_seconds=0.2)
    async with await connect(client, server) as quiet, await connect(client, server) as speaks:
        await speaks.send_str(OPTIONS.decode())
        _, flow = await server.message()
        await close_code(quiet)
        await server.lost()
        assert server.web.connections == 1
        server.web.send(ANSWER, flow)
        assert (await speaks.receive(PATIENCE)).data == ANSWER.decode()


@pytest.mark.parametrize(
    "limits", [{"connections": 2}, {"connections_per_ip": 2}, {"opening_burst": 2}]
)
async def test_connections_are_limited(
    start: Start, client: aiohttp.ClientSession, limits: dict[str, int]
) -> None:
    server = await start(openings_per_second=0.01, **limits)
    links = [await connect(client, server) for _ in range(2)]
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await connect(client, server)
    assert refused.value.status == (503 if "connections" in limits else 429)
    for link in links:
        await link.close()


async def test_who_does_not_read_is_cut_off(start: Start) -> None:
    """Neither does what waits for him grow, nor does he stay."""
    server = await start(unread_bytes=1 << 20, unread_seconds=0.5)
    with socket.create_connection(server.local) as mute:
        mute.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        mute.sendall(
            b"GET /sip HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Protocol: sip\r\n\r\n" + _masked(OPTIONS)
        )
        _, flow = await server.message()
        for _ in range(600):
            server.web.send(ANSWER * 100, flow)
            if not server.closed.empty():
                break
            await asyncio.sleep(0)
        assert await server.lost() == flow


def _masked(payload: bytes) -> bytes:
    """A text frame as a client sends it, with the mask of zeros (RFC 6455 5.2)."""
    return b"\x81\xfe" + len(payload).to_bytes(2, "big") + bytes(4) + payload


async def test_closing_ends_every_connection_and_takes_no_other(
    start: Start, client: aiohttp.ClientSession
) -> None:
    server = await start()
    link = await connect(client, server)
    await link.send_str(OPTIONS.decode())
    await server.message()
    (code, _) = await asyncio.gather(close_code(link), server.web.close())
    assert code == GOING_AWAY
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await connect(client, server)
    assert refused.value.status == 503
    assert server.closed.empty()


async def test_the_transports_carry_it_beside_the_others(client: aiohttp.ClientSession) -> None:
    """One door for all: `SipTransports.send` finds the WebSocket, `on_closed` hears of its end."""
    messages: asyncio.Queue[tuple[bytes, Flow]] = asyncio.Queue()
    closed: asyncio.Queue[Flow] = asyncio.Queue()
    transports = SipTransports(
        on_data=lambda data, flow: messages.put_nowait((data, flow)),
        on_closed=closed.put_nowait,
        clock=SystemClock(),
    )
    await transports.start(("127.0.0.1",), 0)
    app = web.Application()
    app.add_routes(transports.web.routes())
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        url = f"ws://{Endpoint.of(runner.addresses[0])}{PATH}"
        async with client.ws_connect(url, protocols=("sip",)) as link:
            await link.send_str(OPTIONS.decode())
            _, flow = await asyncio.wait_for(messages.get(), PATIENCE)
            assert transports.connections == 1
            transports.send(ANSWER, flow)
            assert (await link.receive(PATIENCE)).data == ANSWER.decode()
        assert await asyncio.wait_for(closed.get(), PATIENCE) == flow
    finally:
        await transports.close()
        await runner.cleanup()
