"""Bad input on every port of a running node: nothing else is disturbed, and nothing grows.

After each attack a phone is registered and called at once, no process holds more memory or more
descriptors than `MORE_MEMORY` and `MORE_DESCRIPTORS` allow, and the log has no traceback and at
most a line a second for one event and source.
"""

import asyncio
import contextlib
import random
import secrets
import socket
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest
import pytest_asyncio
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection

from federation.model.address import Endpoint
from node.sip.message import Response
from tests.support.nodes import Account, NodeProcess, add_user, phone_of, running_nodes
from tests.support.programs import needs_pjsua2
from tests.support.sip_client import SipClient, sip_client
from tests.support.talk import talk
from tests.support.watch import Held, busiest_second, held, lines_since, media_ports

pytestmark = pytest.mark.asyncio(loop_scope="module")
MORE_MEMORY = 16 * 2**20
"Bytes: some thousand finished transactions, and pages the allocator keeps."
MORE_DESCRIPTORS = 8
TRIES = 3
"Registrations until one is taken, after an attack."
AT_ONCE = 2.0
"Seconds for an answer after an attack; it takes milliseconds on an idle machine."
LARGEST_REPLY = 3.0
"Times the bytes of what a stranger sent over UDP."
FLOOD = 4000
BURST = 50
"Datagrams sent in a row, so that a flood fills the node and not the kernel's buffer."


@dataclass
class World:
    """The node under attack, another that it knows, and an account on it."""

    node: NodeProcess
    other: NodeProcess
    alice: Account
    bob: Account
    random: random.Random

    @property
    def sip(self) -> Endpoint:
        return Endpoint(self.node.place.ip, self.node.place.sip_port)

    @property
    def mesh(self) -> Endpoint:
        return Endpoint(self.node.place.ip, 7060 + self.node.place.port_offset)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with running_nodes(tmp_path_factory.mktemp("hostile"), 2) as (node, other):
        alice, bob = await add_user(node, "alice"), await add_user(other, "bob")
        found = World(node, other, alice, bob, random.Random(7))
        await serves(found)
        yield found


async def registered_when_asked_again(phone: SipClient, password: str) -> Response:
    """A node that is busy with a flood says 503 at once; a phone comes again when it is told to."""
    for _ in range(TRIES):
        started = time.monotonic()
        answer = await phone.register("alice", password)
        assert time.monotonic() - started < AT_ONCE
        if answer.status != 503:
            return answer
        await asyncio.sleep(float(answer.get("Retry-After") or 0))
    return answer


async def serves(world: World) -> None:
    """A phone registers and calls the echo, and the other node is still a peer."""
    async with sip_client(world.sip) as phone:
        answer = await registered_when_asked_again(phone, world.alice["password"])
        assert answer.status == 200
        nobody = await phone.ask(phone.request("OPTIONS"))
        assert nobody.status == 200
        assert (await phone.register("alice", world.alice["password"], expires=0)).status == 200
    await world.node.meets(1, within=AT_ONCE)


def too_much(before: Held, after: Held) -> bool:
    return (
        after.descriptors > before.descriptors + MORE_DESCRIPTORS
        or after.resident - before.resident >= MORE_MEMORY
    )


@contextlib.asynccontextmanager
async def under_attack(world: World) -> AsyncIterator[None]:
    """What is done in the block harms nothing."""
    before = held(world.node)
    yield
    await serves(world)
    # Connections are swept once a second, and checking a number holds 64 MiB for a moment.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(10):
            while too_much(before, held(world.node)):
                await asyncio.sleep(0.1)
    after, lines = held(world.node), lines_since(world.node, before)
    assert not too_much(before, after), (before, after)
    assert [line for line in lines if line["level"] == "error"] == []
    assert busiest_second(lines) <= 2, "a second of the clock may see the end of one and the next"


async def flood(target: Endpoint, datagrams: Iterator[bytes], sources: int = 4) -> None:
    """Send datagrams from several ports, a burst a turn."""
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(sources)]
    try:
        for sock in sockets:
            sock.bind((target.host, 0))
            sock.setblocking(False)
        for number, data in enumerate(datagrams):
            with contextlib.suppress(BlockingIOError):
                sockets[number % sources].sendto(data, target)
            if number % BURST == 0:
                await asyncio.sleep(0.002)
    finally:
        for sock in sockets:
            sock.close()


async def answers_to(target: Endpoint, data: bytes, within: float = 1.3) -> list[bytes]:
    """Everything that comes back for one datagram from a port of its own."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((target.host, 0))
        sock.setblocking(False)
        sock.sendto(data, target)
        await asyncio.sleep(within)
        found = []
        with contextlib.suppress(BlockingIOError):
            while True:
                found.append(sock.recv(65536))
        return found


def noise(world: World, count: int, first: bytes = b"") -> Iterator[bytes]:
    """Random datagrams of any size, beginning with `first`."""
    for _ in range(count):
        yield first + world.random.randbytes(world.random.choice((0, 1, 7, 30, 200, 1200, 1400)))


SMALL = (
    "{method} sip:{host} SIP/2.0\r\nv:SIP/2.0/UDP a;rport;branch=z9hG4bK{branch}\r\n"
    "f:<sip:a@{host}>;tag=1\r\nt:<sip:a@{host}>{tag}\r\ni:{branch}\r\nCSeq:1 {method}\r\n"
    "Max-Forwards:{hops}\r\n{more}\r\n"
)


def small(world: World, method: str, *, tag: str = "", hops: int = 70, more: str = "") -> bytes:
    """As short a request as can be."""
    host = str(world.sip).removesuffix(":5060")
    text = SMALL.format(
        method=method, host=host, branch=secrets.token_hex(4), tag=tag, hops=hops, more=more
    )
    return text.encode()


# SIP over UDP


async def test_garbage_over_udp(world: World) -> None:
    """Noise, truncated and oversized messages, responses to nothing."""
    async with under_attack(world), sip_client(world.sip) as phone:
        whole = phone.request("INVITE", headers=[("Subject", "x" * 300)], body=b"v=0\r\n").encode()
        await flood(world.sip, noise(world, FLOOD))
        await flood(world.sip, noise(world, 500, b"INVITE "))
        await flood(world.sip, (whole[:end] for end in range(1, len(whole))))
        big = b"INVITE sip:a@b SIP/2.0\r\n" + b"X-Long: " + b"a" * 65_000 + b"\r\n\r\n"
        await flood(world.sip, iter([big[:65_000]] * 30))
        stray = b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n"
        stray += b"To: <sip:a@b>;tag=2\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n\r\n"
        await flood(world.sip, iter([stray] * 500))


@pytest.mark.parametrize("method", ["REGISTER", "INVITE", "OPTIONS", "FOO"])
async def test_a_flood_of_requests(world: World, method: str) -> None:
    """Each begins a transaction; finished ones linger in a bounded table."""
    async with under_attack(world):
        await flood(world.sip, (small(world, method) for _ in range(FLOOD)))


async def test_an_answer_is_no_bigger_than_three_requests(world: World) -> None:
    """Whoever forges a source hits its victim with little more than with datagrams of its own."""
    requests = {
        method: small(world, method)
        for method in ("REGISTER", "INVITE", "OPTIONS", "MESSAGE", "SUBSCRIBE", "FOO", "ACK", "BYE")
    }
    requests |= {
        "in a dialog": small(world, "INVITE", tag=";tag=2"),
        "no hops": small(world, "INVITE", hops=0),
        "capabilities": small(world, "OPTIONS", hops=0),
        "wants what is not there": small(world, "INVITE", more="Proxy-Require: a\r\n"),
        "unreadable": small(world, "INVITE").replace(b"CSeq:1", b"CSeq:x"),
        "without host": small(world, "INVITE").replace(b" sip:", b" mailto:", 1),
        "short": b"INVITE a SIP/2.0\r\n\r\n",
        "keepalive": b"\r\n\r\n",
        "stun": b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12),
        "stun unknown": b"\x00\x01\x00\x08\x21\x12\xa4\x42"
        + bytes(12)
        + b"\x7f\xff\0\0\x7f\xfe\0\0",
    }
    heard = await asyncio.gather(*(answers_to(world.sip, data) for data in requests.values()))
    factors = {
        name: sum(map(len, answers)) / len(data)
        for (name, data), answers in zip(requests.items(), heard, strict=True)
    }
    assert {name: f for name, f in factors.items() if f > LARGEST_REPLY} == {}
    assert factors["REGISTER"] > 0
    assert factors["in a dialog"] > 0


# SIP over TCP


async def test_hostile_connections(world: World) -> None:
    """Garbage, endless heads, impossible lengths, silence, and a byte now and then."""
    endings = [
        world.random.randbytes(4000),
        b"INVITE sip:a@b SIP/2.0\r\nX: " + b"a" * 300_000,
        b"INVITE sip:a@b SIP/2.0\r\nContent-Length: 99999999999\r\n\r\n",
        b"INVITE sip:a@b SIP/2.0\r\nContent-Length: -1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 200,
    ]
    async with under_attack(world), contextlib.AsyncExitStack() as stack:
        for data in endings * 5:
            writer = await _connected(stack, world.sip)
            with contextlib.suppress(ConnectionError):
                writer.write(data)
                await writer.drain()
        slow = [await _connected(stack, world.sip) for _ in range(100)]
        for byte in b"INV":
            for writer in slow:
                with contextlib.suppress(ConnectionError):
                    writer.write(bytes([byte]))
            await asyncio.sleep(0.5)
        await serves(world)


async def test_more_connections_than_one_address_may_have(world: World) -> None:
    """Over 256 from one address are closed unheard; another address is served."""
    async with under_attack(world), contextlib.AsyncExitStack() as stack:
        for _ in range(400):
            await _connected(stack, world.sip, source="127.0.0.1")
        await serves(world)
        assert held(world.node).descriptors < 400
        writer = await _connected(stack, world.sip, source=world.sip.host)
        assert not writer.is_closing()


async def _connected(
    stack: contextlib.AsyncExitStack, target: Endpoint, source: str | None = None
) -> asyncio.StreamWriter:
    local = (source, 0) if source else None
    _, writer = await asyncio.open_connection(target.host, target.port, local_addr=local)
    stack.callback(writer.close)
    return writer


# The mesh port


def initials(count: int) -> Iterator[bytes]:
    """First datagrams of real handshakes that never go on."""
    for _ in range(count):
        configuration = QuicConfiguration(alpn_protocols=["ringmesh/1"], is_client=True)
        client = QuicConnection(configuration=configuration)
        client.connect(("127.0.0.1", 1), now=0.0)
        for data, _ in client.datagrams_to_send(now=0.0):
            yield data


async def test_garbage_on_the_mesh_port(world: World) -> None:
    """Every first byte that means something, and those that mean nothing."""
    async with under_attack(world):
        for first in (b"\x08", b"\x00\x01", b"\x20", b"\x40", b"\xc0\0\0\0\1", b"\xff"):
            await flood(world.mesh, noise(world, FLOOD // 4, first))


async def test_handshakes_that_never_end(world: World) -> None:
    """Half-open connections are bounded and time out; forged ones die at their first packet."""
    real = list(initials(150))
    forged = (
        b"\xc3\0\0\0\x01\x08" + secrets.token_bytes(8) + b"\0\0\x44\x90" + secrets.token_bytes(1180)
        for _ in range(2000)
    )
    async with under_attack(world):
        await flood(world.mesh, iter(real), sources=50)
        await flood(world.mesh, forged)
    async with asyncio.timeout(10):
        await world.node.finds(world.bob["number"])


async def test_a_mesh_answer_is_no_bigger_than_three_requests(world: World) -> None:
    quic = next(initials(1))
    unknown = b"\xc0\xba\xba\xba\xba\x08" + bytes(8) + b"\x08" + bytes(8)
    requests = {
        "initial": quic,
        "half an initial": quic[:600],
        "version": unknown + bytes(1200),
        "short version": unknown,
        "dht": b"\x08" + bytes(60),
        "stun": b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12),
        "nothing": b"\x30",
    }
    heard = await asyncio.gather(
        *(answers_to(world.mesh, data, within=4.0) for data in requests.values())
    )
    for (name, data), answers in zip(requests.items(), heard, strict=True):
        assert sum(map(len, answers)) <= 3 * len(data), name
    assert heard[0]
    assert heard[2]


# The media ports


@needs_pjsua2
async def test_garbage_on_the_ports_of_a_call(world: World) -> None:
    """Anchors and sealed legs of both nodes: who talks hears the other and nothing else."""
    async with (
        phone_of(world.alice) as phone_a,
        phone_of(world.bob) as phone_b,
        under_attack(world),
    ):
        call = await talk(phone_a, phone_b, f"sip:{world.bob['number']}@{world.alice['server']}")
        await call.is_heard()
        ports = [
            Endpoint(node.place.ip, port)
            for node in (world.node, world.other)
            for port in media_ports(node)
        ]
        assert len(ports) >= 6, "a leg port, RTP and RTCP on each node"

        async def attack() -> None:
            for first in (b"\x80\x00", b"\x05\x01\0\0", b"\x00\x01\0\0", b"\x16", b"\x80\xc8", b""):
                for target in ports:
                    await flood(target, noise(world, 100, first))

        heard, _ = await asyncio.gather(call.heard(2.0), attack())
        for verdict in heard:
            assert verdict.ok, str(verdict)
        await call.hang_up()
    await world.node.has(calls=0)


# The admin socket


async def test_hostile_local_clients(world: World) -> None:
    """Garbage, silence and huge requests on the admin socket; the command line is served."""
    path = world.node.state / "api.sock"
    heads = [
        world.random.randbytes(3000),
        b"POST /v1/users HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n" + b"a" * 100_000,
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /v1/users/%00%ff%2f..%2f HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET /v1/resolve?uri=sip%3A%00%40 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"POST /v1/users HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\n[[[[[[[[[[[[",
        b"",
        b"G",
    ]
    async with under_attack(world), contextlib.AsyncExitStack() as stack:
        for data in heads * 5:
            _, writer = await asyncio.open_unix_connection(str(path))
            stack.callback(writer.close)
            with contextlib.suppress(ConnectionError):
                writer.write(data)
                await asyncio.wait_for(writer.drain(), 2)
        assert (await world.node.get("status"))["ready"] is True
