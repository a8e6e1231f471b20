"""What the directory costs: CPU of what strangers send, bytes of what they get, idle traffic.

Ed25519 is measured in the same run, since a signature is most of every figure here: on another
machine compare the ratios. CPU is the thread's own time, the best of five rounds.
"""

import asyncio
import logging
import random
import sys
import time
from collections.abc import Callable
from hashlib import sha256

import structlog

from dht import canonical, messages
from dht.cookie import UNPROVEN_RATE
from dht.directory import Directory
from dht.frame import AMPLIFICATION, NO_COOKIE, Frame, FrameType, padding_for
from dht.messages import FindNode, Get, Ping, Request, Store
from dht.overlay_id import OverlayId
from dht.record import positions
from dht.table import Contact
from federation.model.address import Endpoint
from federation.model.clocks import Monotonic, SystemEntropy, UnixTime
from federation.model.identity import NodeId, NodeKey
from tests.benchmarks.figures import show, title
from tests.support.dht_network import TESTNET, MemoryNetwork, check_inline, derive_quickly
from tests.support.dht_records import NOW, a_record
from tests.support.virtual_loop import run_virtually

SPOOFED_GOAL_US = 50.0
RUNS, ROUNDS = 300, 5
CONTACTS = 3_000
"Offered to the table, of which it keeps about 150, as in a network of that size."
IDLE_NODES = 12
IDLE_ROUTES = 3
IDLE_HOURS = 4
IDLE_GOAL = 200.0 + 5.0 * IDLE_ROUTES
HERE = Endpoint("51.1.1.1", 7060)
STRANGER = NodeKey(bytes([77]) * 32)


class Hands:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> Monotonic:
        return Monotonic(self.now)

    def unix(self) -> UnixTime:
        return UnixTime(NOW + self.now)


class Bench:
    """One directory that nobody started, with a table full of contacts; what it sends is kept."""

    def __init__(self) -> None:
        self.clock = Hands()
        self.sent: list[bytes] = []
        self.directory = Directory(
            key=NodeKey(bytes([5]) * 32),
            nonce=bytes(8),
            network=TESTNET,
            send=lambda data, to: self.sent.append(data),
            own_endpoints=lambda: (HERE,),
            clock=self.clock,
            entropy=SystemEntropy(),
            derive=derive_quickly,
            offload=check_inline,
        )
        draw = random.Random(1)
        for number in range(CONTACTS):
            id_ = OverlayId(sha256(number.to_bytes(4, "big")).digest())
            host = f"{draw.randrange(60, 90)}.{draw.randrange(256)}.{draw.randrange(256)}.1"
            key = NodeId(bytes(STRANGER.id))
            contact = Contact(id_, key, bytes(8), Endpoint(host, 7060), now=self.clock.monotonic())
            self.directory._table.add_contact(contact)

    def request(self, request: Request, source: Endpoint | None = None) -> bytes:
        """A request, with the cookie of `source` if one is given."""
        cookie = NO_COOKIE
        if source is not None:
            self.sent.clear()
            self.directory.datagram_received(self.request(Ping(0)), source)
            cookie = messages.parse_part(Frame.parse(self.sent[0]).body).observed.cookie
        body = canonical.pack(request.body())
        body += bytes(padding_for(len(body), has_cookie=cookie != NO_COOKIE))
        return self.frame(FrameType.REQUEST, body, cookie).signed(STRANGER, TESTNET)

    def frame(self, kind: FrameType, body: bytes, cookie: bytes = NO_COOKIE) -> Frame:
        """A frame of the stranger's to this directory."""
        return Frame(
            type=kind,
            txid=bytes(8),
            sender=STRANGER.id,
            nonce=bytes(8),
            to=bytes(self.directory.own_id),
            cookie=cookie,
            body=body,
        )

    def use_up_unproven(self) -> None:
        """Ask until unproven requests are answered by challenges."""
        data, number = self.request(Ping(0)), 0
        while not self.sent or Frame.parse(self.sent[-1]).type is not FrameType.CHALLENGE:
            self.directory.datagram_received(data, spoofed(number))
            number += 1


def spoofed(number: int) -> Endpoint:
    """A source that nobody has used for long: each in a /24 of its own."""
    return Endpoint(f"{100 + number // 62_500 % 20}.{number // 250 % 250}.{number % 250}.9", 9)


async def microseconds(work: Callable[[int], object], *, turns: int = 0) -> float:
    """CPU of one run; with `turns` of the event loop after each, for what it set off."""
    best = float("inf")
    for round_ in range(ROUNDS):
        began = time.thread_time()
        for run in range(RUNS):
            work(round_ * RUNS + run)
            for _ in range(turns):
                await asyncio.sleep(0)
        best = min(best, time.thread_time() - began)
    return best / RUNS * 1_000_000


async def measure() -> None:
    """Print the CPU figures."""
    bench = Bench()
    message = bytes(400)
    signature = STRANGER.sign(message)
    verify = await microseconds(lambda _: STRANGER.id.verify(signature, message))
    sign = await microseconds(lambda _: STRANGER.sign(message))
    title(f"DHT datagrams, CPU, {len(bench.directory.contacts())} contacts in the table:")
    show("reference: Ed25519 verify", verify, "us")
    show("reference: Ed25519 sign", sign, "us")

    def told(name: str, cost: float, *, goal: float | None = None, note: str = "") -> None:
        times = f"{cost / verify:.1f} x verify"
        show(name, cost, "us", goal=goal, note=f"{times}; {note}" if note else times)

    def arrive(data: bytes) -> Callable[[int], object]:
        return lambda number: bench.directory.datagram_received(data, spoofed(number))

    await spoofed_figures(bench, told, arrive)
    await asked_figures(bench, told)


async def spoofed_figures(
    bench: Bench, told: Callable[..., None], arrive: Callable[[bytes], Callable[[int], object]]
) -> None:
    """What those cost who do not receive what they are answered."""
    for request in (Ping(0), FindNode(bytes(32)), Get(bytes(32))):
        bench.clock.now += 3_600
        bench.sent.clear()
        data = bench.request(request)
        bench.directory.datagram_received(data, spoofed(0))
        times = len(bench.sent[0]) / len(data)
        name = f"bytes answered to a spoofed {type(request).__name__}"
        show(name, times, "x bytes", goal=float(AMPLIFICATION))
    bench.clock.now += 3_600
    answered = await microseconds(arrive(bench.request(Ping(0))))
    note = (
        f"at most {UNPROVEN_RATE:g} a second: {answered * UNPROVEN_RATE / 10_000:.0f} % of a core"
    )
    told("spoofed request that is answered", answered, note=note)
    bench.use_up_unproven()
    data = bench.request(FindNode(bytes(32)))
    told("spoofed request above that", await microseconds(arrive(data)), goal=SPOOFED_GOAL_US)
    forged = bench.frame(FrameType.REPLY, bytes(600)).signed(STRANGER, TESTNET)
    told("answer that nobody waits for", await microseconds(arrive(forged)), goal=SPOOFED_GOAL_US)
    garbage = b"\x08" + random.Random(2).randbytes(900)
    told("garbage", await microseconds(arrive(garbage)), goal=SPOOFED_GOAL_US)


async def asked_figures(bench: Bench, told: Callable[..., None]) -> None:
    """What the requests of a node cost whose address is proven."""
    source = Endpoint("127.0.0.9", 9)
    record = a_record(now=bench.clock.unix())
    held = positions(record.key)[0]
    bench.clock.now += 3_600
    bench.directory._store.put(record)
    for name, request, turns in (
        ("ping", Ping(0), 0),
        ("find_node", FindNode(bytes([9]) * 32), 0),
        ("find_node, a sample", FindNode(bytes([9]) * 32, b"\xff" * 32), 0),
        ("get of a record", Get(held), 0),
        ("store of a record", Store(record.envelope), 4),
    ):
        data = bench.request(request, source)

        def ask(_: int, data: bytes = data) -> None:
            bench.clock.now += 0.01
            bench.directory.datagram_received(data, source)

        told(f"answered: {name}", await microseconds(ask, turns=turns))


async def idle() -> float:
    """Bytes a second of UDP payload, both directions, of one node that nobody asks anything."""
    network = MemoryNetwork()
    nodes = [await network.node(n + 1) for n in range(IDLE_NODES)]
    for node in nodes[1:]:
        await node.directory.join([nodes[0].endpoint])
    for node in nodes:
        for route in range(IDLE_ROUTES):
            node.directory.publish_user(f"user{route}")
    await asyncio.sleep(600)
    before = network.bytes
    await asyncio.sleep(IDLE_HOURS * 3_600)
    said = network.bytes - before
    await network.close()
    return 2 * said / IDLE_NODES / (IDLE_HOURS * 3_600)


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    asyncio.run(measure())
    show(
        f"idle traffic of one of {IDLE_NODES} nodes with {IDLE_ROUTES} routes, {IDLE_HOURS} h",
        run_virtually(idle()),
        "B/s",
        goal=IDLE_GOAL,
        note="virtual time",
    )
    sys.exit(0)
