"""The SIP sockets on loopback: both families and transports, and what strangers may do to them."""

import asyncio
import errno
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import structlog
import uvloop

from federation.model.address import Endpoint
from federation.model.clocks import Monotonic, SystemClock, UnixTime
from node.sip.flow import Flow
from node.sip.framing import MAX_HEAD_BYTES
from node.sip.message import Response, parse_message
from node.sip.transports import ListenError, SipTransports, TcpLimits
from node.sip.transports.local_address import MAX_REMEMBERED, RouteProbe
from node.sip.transports.noise import MAX_LINES, NoiseLog
from tests.support.sip_exchange import VirtualTime
from tests.support.sip_exchange import request as sip_request
from tests.support.sip_exchange import response as sip_response

PATIENCE = 5.0
"Generous: nothing here should take longer than a moment."


class Edge:
    """Started transports and what they told."""

    def __init__(self, **limits: float) -> None:
        self.messages: asyncio.Queue[tuple[bytes, Flow]] = asyncio.Queue()
        self.closed: asyncio.Queue[Flow] = asyncio.Queue()
        self.clock = SteppedClock()
        self.transports = SipTransports(
            on_data=lambda data, flow: self.messages.put_nowait((data, flow)),
            on_closed=self.closed.put_nowait,
            clock=self.clock,
            limits=TcpLimits(**limits),  # type: ignore[arg-type]
        )

    async def message(self) -> tuple[bytes, Flow]:
        return await asyncio.wait_for(self.messages.get(), PATIENCE)

    async def lost(self) -> Flow:
        return await asyncio.wait_for(self.closed.get(), PATIENCE)

    @property
    def port(self) -> int:
        return self.transports.port


class SteppedClock(SystemClock):
    """Real time, and steps ahead of it."""

    ahead = 0.0

    def monotonic(self) -> Monotonic:
        return Monotonic(super().monotonic() + self.ahead)


Start = Callable[..., Awaitable[Edge]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    edges: list[Edge] = []

    async def start_edge(*hosts: str, port: int = 0, **limits: float) -> Edge:
        edge = Edge(**limits)
        await edge.transports.start(hosts or ("127.0.0.1",), port)
        edges.append(edge)
        return edge

    yield start_edge
    for edge in edges:
        await edge.transports.close()


@pytest.fixture
def phone() -> Any:
    opened: list[socket.socket] = []

    def open_socket(host: str = "127.0.0.1") -> socket.socket:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM)
        sock.bind((host, 0))
        sock.setblocking(False)
        opened.append(sock)
        return sock

    yield open_socket
    for sock in opened:
        sock.close()


async def heard(sock: socket.socket) -> tuple[bytes, Endpoint]:
    loop = asyncio.get_running_loop()
    data, source = await asyncio.wait_for(loop.sock_recvfrom(sock, 65535), PATIENCE)
    return data, Endpoint.of(source)


def local(sock: socket.socket) -> Endpoint:
    return Endpoint.of(sock.getsockname())


OPTIONS = sip_request("OPTIONS").encode()


async def test_wildcards_of_both_families_share_a_port_and_say_which_address_was_used(
    start: Start, phone: Any
) -> None:
    """Flow.local is the very address the phone sent to, and the answer leaves from there."""
    edge = await start("0.0.0.0", "::")
    for host, target in (("127.0.0.1", "127.0.0.1"), ("127.0.0.1", "127.0.0.7"), ("::1", "::1")):
        sock = phone(host)
        sock.sendto(OPTIONS, (target, edge.port))
        data, flow = await edge.message()
        assert data == OPTIONS
        assert flow == Flow("UDP", Endpoint(target, edge.port), local(sock))
        edge.transports.send(b"answer", flow)
        assert await heard(sock) == (b"answer", Endpoint(target, edge.port))


async def test_requests_of_ours_leave_from_the_address_that_faces_the_peer(
    start: Start, phone: Any
) -> None:
    edge = await start("0.0.0.0", "::")
    for host in ("127.0.0.1", "::1"):
        sock = phone(host)
        flow = edge.transports.flow_to("UDP", local(sock))
        assert flow.local == Endpoint(host, edge.port)
        assert edge.transports.local_ip_facing(host) == host
        edge.transports.send(OPTIONS, flow)
        assert await heard(sock) == (OPTIONS, flow.local)


def link_local() -> tuple[str, str] | None:
    """A link-local IPv6 address of this machine and its interface, if there is one."""
    try:
        with open("/proc/net/if_inet6") as table:
            rows = [line.split() for line in table]
    except OSError:
        return None
    for packed, _, _, scope, _, interface in rows:
        if scope == "20":
            return socket.inet_ntop(socket.AF_INET6, bytes.fromhex(packed)), interface
    return None


@pytest.mark.skipif(link_local() is None, reason="this machine has no link-local IPv6 address")
async def test_a_link_local_peer_is_answered_in_its_zone(start: Start) -> None:
    found = link_local()
    assert found is not None
    address, interface = found
    edge = await start("::")
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        zone = socket.if_nametoindex(interface)
        sock.bind((address, 0, 0, zone))
        sock.sendto(OPTIONS, (address, edge.port, 0, zone))
        _, flow = await edge.message()
        assert flow.remote == Endpoint(f"{address}%{interface}", sock.getsockname()[1])
        edge.transports.send(b"answer", flow)
        assert (await heard(sock))[0] == b"answer"
        assert edge.transports.local_ip_facing(flow.remote.host) == address


async def test_a_given_address_is_the_only_one_used(start: Start, phone: Any) -> None:
    edge = await start("127.0.0.3")
    sock = phone()
    assert edge.transports.local_ip_facing("127.0.0.1") == "127.0.0.3"
    sock.sendto(OPTIONS, ("127.0.0.3", edge.port))
    _, flow = await edge.message()
    assert flow.local.host == "127.0.0.3"


async def test_a_burst_larger_than_one_turn_arrives_whole_and_in_order(
    start: Start, phone: Any
) -> None:
    edge = await start()
    sock = phone()
    for number in range(150):
        sock.sendto(OPTIONS + b"%d" % number, ("127.0.0.1", edge.port))
    arrived = [(await edge.message())[0] for _ in range(150)]
    assert arrived == [OPTIONS + b"%d" % number for number in range(150)]


async def test_stun_binding_tells_the_phone_its_address(start: Start, phone: Any) -> None:
    edge = await start("127.0.0.1", "::1")
    transaction = bytes(range(12))
    query = struct.pack("!HHI12s", 1, 0, 0x2112A442, transaction)
    for host in ("127.0.0.1", "::1"):
        sock = phone(host)
        sock.sendto(query, (host, edge.port))
        answer, _ = await heard(sock)
        kind, length, cookie, same = struct.unpack_from("!HHI12s", answer)
        assert (kind, length, cookie, same) == (0x0101, len(answer) - 20, 0x2112A442, transaction)
        attribute, size, _, family, port = struct.unpack_from("!HHBBH", answer, 20)
        mask = query[4:20]
        address = bytes(a ^ b for a, b in zip(answer[28 : 24 + size], mask, strict=False))
        assert attribute == 0x0020
        assert family == (2 if ":" in host else 1)
        assert Endpoint.unpack(address, port ^ 0x2112) == local(sock)
        assert len(answer) <= 3 * len(query)


async def test_keepalives_and_garbage_get_silence(start: Start, phone: Any) -> None:
    edge = await start()
    sock = phone()
    with structlog.testing.capture_logs() as logs:
        quiet = (b"", b"\r\n", b"\r\n\r\n", b"\0\0\0\0", b"\0")
        noise = (b"\xff" * 200, b"\x16\x03\x01\x00\xa5", b"\x00\x01\x00\x00", b"\x80rtp")
        for datagram in (*quiet, *noise):
            sock.sendto(datagram, ("127.0.0.1", edge.port))
        sock.sendto(b"\r\n\r\n" + OPTIONS, ("127.0.0.1", edge.port))
        data, _ = await edge.message()
    assert data == OPTIONS
    assert edge.messages.empty()
    assert [line["event"] for line in logs] == ["sip_unusable_input"]
    with pytest.raises(BlockingIOError):
        sock.recv(100)


async def test_an_unsendable_datagram_is_reported_and_never_raised(start: Start) -> None:
    edge = await start("127.0.0.1")
    too_large = edge.transports.flow_to("UDP", Endpoint("127.0.0.1", 9))
    edge.transports.send(bytes(70_000), too_large)
    assert await edge.lost() == too_large
    no_family = edge.transports.flow_to("UDP", Endpoint("::1", 9))
    edge.transports.send(b"x", no_family)
    assert await edge.lost() == no_family
    no_tls = Flow("TLS", Endpoint("127.0.0.1", 1), Endpoint("127.0.0.1", 2), 3)
    edge.transports.send(b"x", no_tls)
    assert await edge.lost() == no_tls


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM], ids=["UDP", "TCP"])
async def test_a_port_in_use_is_one_clear_error_and_leaves_nothing_open(
    kind: socket.SocketKind,
) -> None:
    with socket.socket(socket.AF_INET, kind) as other:
        other.bind(("127.0.0.1", 0))
        if kind is socket.SOCK_STREAM:
            other.listen()
        port = other.getsockname()[1]
        edge = Edge()
        with pytest.raises(ListenError) as raised:
            await edge.transports.start(["127.0.0.2", "127.0.0.1"], port)
    error = raised.value
    assert error.is_in_use
    assert error.errno == errno.EADDRINUSE
    assert error.listen == Endpoint("127.0.0.1", port)
    assert error.transport == ("UDP" if kind is socket.SOCK_DGRAM else "TCP")
    assert edge.transports.listening == ()
    await edge.transports.start(["127.0.0.2", "127.0.0.1"], port)
    await edge.transports.close()


async def test_tcp_answers_go_back_over_the_connection_and_its_end_is_told(start: Start) -> None:
    edge = await start("127.0.0.1")
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
    for position in range(len(OPTIONS)):  # byte by byte, then two at once
        writer.write(OPTIONS[position : position + 1])
        await writer.drain()
    writer.write(b"\r\n" + OPTIONS * 2)
    flows = set()
    for _ in range(3):
        data, flow = await edge.message()
        assert data == OPTIONS
        flows.add(flow)
    (flow,) = flows
    assert flow.id > 0
    assert flow.remote == Endpoint.of(writer.get_extra_info("sockname"))
    assert flow.local == Endpoint("127.0.0.1", edge.port)
    assert edge.transports.flow_to("TCP", flow.remote) == flow
    edge.transports.send(b"answer", flow)
    assert await asyncio.wait_for(reader.readexactly(6), PATIENCE) == b"answer"
    writer.close()
    assert await edge.lost() == flow
    edge.transports.send(b"too late", flow)
    assert await edge.lost() == flow


async def test_tcp_ping_gets_a_pong(start: Start) -> None:
    edge = await start()
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
    writer.write(b"\r\n\r\n")
    assert await asyncio.wait_for(reader.readexactly(2), PATIENCE) == b"\r\n"
    writer.close()


async def test_what_is_sent_before_a_connection_is_there_waits_for_it(start: Start) -> None:
    caller, callee = await start("127.0.0.1"), await start("127.0.0.2")
    wish = caller.transports.flow_to("TCP", Endpoint("127.0.0.2", callee.port))
    assert wish.id == 0
    first, second = sip_request("OPTIONS").encode(), sip_request("MESSAGE").encode()
    caller.transports.send(first, wish)
    caller.transports.send(second, wish)
    got = [await callee.message() for _ in range(2)]
    assert [data for data, _ in got] == [first, second]
    assert len({flow for _, flow in got}) == 1
    assert caller.transports.connections == 1
    # the other way over the same connection
    callee.transports.send(first, got[0][1])
    data, back = await caller.message()
    assert data == first
    assert back == caller.transports.flow_to("TCP", wish.remote)
    assert back.id > 0


async def test_a_connection_that_cannot_be_made_is_reported_with_its_wish(start: Start) -> None:
    edge = await start()
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        wish = edge.transports.flow_to("TCP", Endpoint.of(nobody.getsockname()))
        edge.transports.send(OPTIONS, wish)
        assert await edge.lost() == wish


async def test_a_stream_without_content_length_gets_400_and_is_closed(start: Start) -> None:
    edge = await start()
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
    writer.write(OPTIONS.replace(b"Content-Length: 0\r\n", b""))
    answer = await asyncio.wait_for(reader.read(), PATIENCE)
    response = parse_message(answer)
    assert isinstance(response, Response)
    assert response.status == 400
    assert edge.messages.empty()
    await edge.lost()
    writer.close()


@pytest.mark.parametrize(
    "data",
    [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
     b"A" * (MAX_HEAD_BYTES + 1)],
    ids=["TLS", "HTTP", "endless line"],
)  # fmt: skip
async def test_other_protocols_are_closed_without_an_answer(start: Start, data: bytes) -> None:
    edge = await start()
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
    writer.write(data)
    assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
    writer.close()


async def test_connections_from_one_address_are_limited(start: Start) -> None:
    edge = await start(connections_per_ip=2)
    kept = [await asyncio.open_connection("127.0.0.1", edge.port) for _ in range(2)]
    for _, writer in kept:
        writer.write(OPTIONS)
        await edge.message()
    reader, third = await asyncio.open_connection("127.0.0.1", edge.port)
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await asyncio.wait_for(reader.readexactly(1), PATIENCE)
    third.close()
    other = socket.create_connection(
        ("127.0.0.1", edge.port), source_address=("127.0.0.9", 0), timeout=PATIENCE
    )
    other.sendall(OPTIONS)
    await edge.message()
    other.close()
    kept[0][1].close()
    await edge.lost()
    await edge.lost()
    _, writer = await asyncio.open_connection("127.0.0.1", edge.port)
    writer.write(OPTIONS)
    await edge.message()
    for _, stream in (*kept[1:], (None, writer)):
        stream.close()


async def test_who_does_not_read_is_cut_off(start: Start) -> None:
    edge = await start(unread_bytes=200_000)
    sock = socket.create_connection(("127.0.0.1", edge.port), timeout=PATIENCE)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.sendall(OPTIONS)
    _, flow = await edge.message()
    for _ in range(20_000):
        edge.transports.send(bytes(1000), flow)
        if edge.transports.connections == 0 or not edge.closed.empty():
            break
        await asyncio.sleep(0)
    assert await edge.lost() == flow
    sock.close()


async def test_who_takes_nothing_for_long_is_cut_off(start: Start) -> None:
    edge = await start(unread_bytes=100_000_000)
    sock = socket.create_connection(("127.0.0.1", edge.port), timeout=PATIENCE)
    sock.sendall(OPTIONS)
    _, flow = await edge.message()
    edge.transports.send(bytes(20_000_000), flow)
    await asyncio.sleep(0.05)
    edge.clock.ahead = 31.0
    assert await edge.lost() == flow
    sock.close()


async def test_all_connections_together_are_limited(start: Start) -> None:
    edge = await start(connections=1)
    _, kept = await asyncio.open_connection("127.0.0.1", edge.port)
    kept.write(OPTIONS)
    await edge.message()
    reader, second = await asyncio.open_connection("127.0.0.1", edge.port)
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await asyncio.wait_for(reader.readexactly(1), PATIENCE)
    wish = edge.transports.flow_to("TCP", Endpoint("127.0.0.1", edge.port))
    edge.transports.send(OPTIONS, wish)
    assert await edge.lost() == wish
    kept.close()
    second.close()


async def test_what_waits_for_a_connection_is_bounded_in_number_and_time(start: Start) -> None:
    """A listener whose queue is full leaves further connections hanging."""
    edge = await start(queued_messages=2, connect_seconds=0.3)
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        target = Endpoint.of(deaf.getsockname())
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(target)
        wish = edge.transports.flow_to("TCP", target)
        for _ in range(3):
            edge.transports.send(OPTIONS, wish)
        assert await edge.lost() == wish  # the third, at once
        assert await edge.lost() == wish  # the connection, at its deadline
        for filler in fillers:
            filler.close()


async def test_a_connection_that_is_still_being_made_can_be_given_up(start: Start) -> None:
    """What waited for it is not sent any more, and one that stands is left alone."""
    edge = await start()
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        target = Endpoint.of(deaf.getsockname())
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(target)
        wish = edge.transports.flow_to("TCP", target)
        edge.transports.send(OPTIONS, wish)
        await asyncio.sleep(0)
        edge.transports.abandon(wish)
        assert await edge.lost() == wish
        assert edge.transports.why_failed(wish) == "given up"
        for filler in fillers:
            filler.close()
    own = edge.transports.flow_to("TCP", Endpoint("127.0.0.1", edge.port))
    edge.transports.send(OPTIONS, own)
    await edge.message()
    edge.transports.abandon(own)
    edge.transports.send(OPTIONS, own)
    await edge.message()


async def test_what_is_sent_right_after_a_connection_was_given_up_goes_by_the_next(
    start: Start,
) -> None:
    edge = await start()
    own = edge.transports.flow_to("TCP", Endpoint("127.0.0.1", edge.port))
    edge.transports.send(OPTIONS, own)
    await asyncio.sleep(0)
    edge.transports.abandon(own)
    again = OPTIONS.replace(b"OPTIONS", b"MESSAGE")
    edge.transports.send(again, own)
    assert await edge.lost() == own
    assert (await edge.message())[0] == again


@pytest.mark.parametrize(
    ("sent", "step"),
    [(b"OPTIONS sip:a", 11.0), (b"", 31.0), (OPTIONS, 3901.0)],
    ids=["half a message", "nothing", "silence after a message"],
)
async def test_time_runs_out_for_who_keeps_a_connection_for_nothing(
    start: Start, sent: bytes, step: float
) -> None:
    edge = await start()
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
    writer.write(sent)
    if sent == OPTIONS:
        await edge.message()
    while edge.transports.connections == 0:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    edge.clock.ahead = step
    assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
    writer.close()


async def test_closing_ends_everything(start: Start) -> None:
    edge = await start("127.0.0.1", "::1")
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
    writer.write(OPTIONS)
    _, flow = await edge.message()
    edge.transports.send(b"bye", flow)
    port = edge.port
    await edge.transports.close()
    await edge.transports.close()
    assert await asyncio.wait_for(reader.read(), PATIENCE) == b"bye"
    writer.close()
    again = await start("127.0.0.1", "::1", port=port)
    assert again.port == port


async def _a_datagram_and_a_connection() -> list[bytes]:
    """B asks A over UDP and TCP, A answers; the connections end with A."""
    a, b = Edge(), Edge()
    try:
        await a.transports.start(["127.0.0.1", "::1"], 0)
        await b.transports.start(["127.0.0.1", "::1"], 0)
        answers = []
        for host in ("127.0.0.1", "::1"):
            for flow in (
                b.transports.flow_to("UDP", Endpoint(host, a.port)),
                b.transports.flow_to("TCP", Endpoint(host, a.port)),
            ):
                b.transports.send(OPTIONS, flow)
                data, back = await a.message()
                assert (data, back.transport, back.remote.host) == (OPTIONS, flow.transport, host)
                answer = sip_response(sip_request("OPTIONS"), 200).encode()
                a.transports.send(answer, back)
                answers.append((await b.message())[0])
        await a.transports.close()
        assert {(await b.lost()).remote.host for _ in range(2)} == {"127.0.0.1", "::1"}
    finally:
        await a.transports.close()
        await b.transports.close()
    return answers


def test_uvloop_carries_it_as_well() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        heard_by_b = runner.run(_a_datagram_and_a_connection())
    assert heard_by_b == [sip_response(sip_request("OPTIONS"), 200).encode()] * 4


def test_the_routing_table_is_asked_once_in_a_while() -> None:
    clock = _SteppedTime()
    probe = RouteProbe(clock)
    assert probe.local_ip_facing("127.0.0.1") == "127.0.0.1"
    assert probe.local_ip_facing("::1") == "::1"
    assert probe.local_ip_facing("not an address") == "127.0.0.1"
    for number in range(MAX_REMEMBERED + 10):
        probe.local_ip_facing(f"127.1.{number // 256}.{number % 256}")
    assert probe.remembered <= MAX_REMEMBERED


class _SteppedTime:
    def __init__(self) -> None:
        self.time = VirtualTime()

    def monotonic(self) -> Monotonic:
        return self.time.now

    def unix(self) -> UnixTime:
        return UnixTime(0)


def test_noise_is_told_once_a_second_and_source_and_bounded_altogether() -> None:
    clock = _SteppedTime()
    noise = NoiseLog(clock)
    with structlog.testing.capture_logs() as logs:
        for _ in range(5):
            noise.complain("192.0.2.1", "x")
        assert len(logs) == 1
        for number in range(100):
            noise.complain(f"198.51.100.{number}", "x")
        assert len(logs) == MAX_LINES
        clock.time.now = Monotonic(clock.time.now + 1)
        noise.complain("192.0.2.1", "x")
        assert len(logs) == MAX_LINES + 1
    assert noise.complaints == 106
