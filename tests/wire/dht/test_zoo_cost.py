"""What one hostile datagram costs: CPU, state, and nothing else that it could make a node do.

The corpus has what is dearest: requests of every kind with and without proof, answers that fill
their datagrams with contacts and with signed records. Hypothesis changes bytes of it, cuts and
lengthens, and signs again, so that what is inside is read as well. CPU is the thread's own time.
"""

import asyncio
import socket
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dht import canonical, messages
from dht.frame import HEADER_BYTES, SIGNATURE_BYTES, Frame, FrameError, FrameType, padding_for
from dht.messages import ContactEntry, FindNode, Get, Nodes, Observed, Part, Ping, Records, Store
from dht.overlay_id import OverlayId, overlay_id
from dht.record import Kind, record_key
from federation.model.address import Endpoint, parse_ip
from federation.model.identity import AccountKey, NodeKey
from tests.support.dht_network import TESTNET, MemoryNetwork, MemoryNode
from tests.support.dht_records import NUMBER, a_record
from tests.support.dht_zoo_peers import BODIES
from tests.support.virtual_loop import START, VirtualLoop

CPU_S = 0.005
NOISE = 2.0
"The machine may be slow and shared."
TRIES = 3
STRANGER = NodeKey(bytes([77]) * 32)
THERE = Endpoint("127.9.9.9", 9999)
CLAIMS = [
    a_record(
        Kind.NUMBER, NUMBER, account=AccountKey(bytes([n]) * 32), key=STRANGER, now=START
    ).envelope
    for n in range(1, 25)
]
T = TypeVar("T")


class Victim:
    """One node in virtual time, with some peers, and the stranger among its contacts."""

    def __init__(self) -> None:
        self.loop = VirtualLoop()
        self.sent: list[tuple[bytes, Endpoint]] = []
        self.run(self._live())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    async def _live(self) -> None:
        self.network = MemoryNetwork()
        self.node: MemoryNode = await self.network.node(1)
        for number in range(2, 13):
            other = await self.network.node(number)
            await other.directory.join([self.node.endpoint])
        await asyncio.sleep(20)
        self.network.tap = self._tap
        self.node.directory.add_candidate(THERE)
        await asyncio.sleep(0)
        self.take(self.reply(self.asked(), messages.Pong(0, bytes([9]) * 32, 0, int(START * 1000))))
        await asyncio.sleep(1)
        self.id = overlay_id(STRANGER.id, bytes(8), TESTNET)
        assert self.node.directory._overlay.known(self.id) is not None
        (cookie,) = [
            messages.parse_part(frame.body).observed.cookie
            for frame in self.hear(self.request(Ping(0)))
            if frame.type is FrameType.REPLY
        ]
        self.cookie = cookie

    def _tap(self, data: bytes, source: Endpoint, to: Endpoint) -> None:
        if source == self.node.endpoint:
            self.sent.append((data, to))

    def take(self, data: bytes) -> None:
        self.node.directory.datagram_received(data, THERE)

    def hear(self, data: bytes) -> list[Frame]:
        self.sent.clear()
        self.take(data)
        return [Frame.parse(sent) for sent, to in self.sent if to == THERE]

    def asked(self) -> Frame:
        """The latest request to the stranger."""
        return next(Frame.parse(data) for data, to in reversed(self.sent) if to == THERE)

    def request(self, request: messages.Request, cookie: bytes = bytes(16)) -> bytes:
        body = canonical.pack(request.body())
        body += bytes(padding_for(len(body), has_cookie=any(cookie)))
        return Frame(
            type=FrameType.REQUEST,
            txid=bytes(8),
            sender=STRANGER.id,
            nonce=bytes(8),
            to=bytes(self.node.directory.own_id),
            cookie=cookie,
            body=body,
        ).signed(STRANGER, TESTNET)

    def reply(self, asked: Frame, answer: messages.Answer | bytes) -> bytes:
        seen = Observed(Endpoint("127.0.0.2", 7060), bytes(16))
        body = answer if isinstance(answer, bytes) else b""
        if not isinstance(answer, bytes):
            body = messages.encode_part(Part(0, 1, seen, answer))
        return Frame(
            type=FrameType.REPLY,
            txid=asked.txid,
            sender=STRANGER.id,
            nonce=bytes(8),
            to=bytes(asked.sender),
            body=body,
        ).signed(STRANGER, TESTNET)

    async def in_a_lookup(
        self, answer: messages.Answer | bytes
    ) -> tuple[bytes, "asyncio.Task[Any]"]:
        """An answer to what a lookup for the number asks the stranger, and that lookup."""
        directory = self.node.directory
        contact = directory._overlay.known(self.id)
        assert contact is not None
        contact.seal_key, contact.misses = None, 0
        directory._table.add_contact(contact)
        self.sent.clear()
        lookup = asyncio.ensure_future(directory._finder.find(Kind.NUMBER, KEY))
        for _ in range(50):
            await asyncio.sleep(0)
            if any(to == THERE for _, to in self.sent):
                return self.reply(self.asked(), answer), lookup
        raise AssertionError("the stranger was not asked")


KEY = record_key(Kind.NUMBER, None, NUMBER, TESTNET)
_victims: list[Victim] = []


@pytest.fixture(scope="module", autouse=True)
def _one_victim() -> Iterator[None]:
    _victims.append(Victim())
    yield
    victim = _victims.pop()
    victim.run(victim.network.close())
    victim.run(asyncio.sleep(0))
    victim.loop.close()


@pytest.fixture(autouse=True)
def _no_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever resolves a name fails the test."""

    def refuse(*args: object, **_: object) -> None:
        raise AssertionError(f"a name was to be resolved: {args}")

    for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex"):
        monkeypatch.setattr(socket, name, refuse)


def cpu_of(victim: Victim, data: bytes) -> float:
    """CPU seconds of one datagram and of everything it sets off, up to the next timer."""

    async def deliver() -> float:
        began = time.thread_time()
        victim.take(data)
        for _ in range(8):
            await asyncio.sleep(0)
        return time.thread_time() - began

    return victim.run(deliver())


def bounded(victim: Victim) -> None:
    """Nothing of it stays: no contacts, requests or tasks; and all that is sent goes to an IP."""
    directory = victim.node.directory
    assert len(directory.contacts()) <= 29
    assert directory._overlay.waiting <= 64
    assert len(directory._overlay._greeting) <= 2
    assert len(directory._tasks._tasks) <= 40
    for _, to in victim.sent:
        parse_ip(to.host)


def entries(count: int = messages.MAX_CONTACTS) -> tuple[ContactEntry, ...]:
    return tuple(
        ContactEntry(OverlayId(bytes([n + 1]) * 32), Endpoint(f"127.77.0.{n + 1}", 7 + n))
        for n in range(count)
    )


REQUESTS: tuple[messages.Request, ...] = (
    Ping(0),
    FindNode(bytes([3]) * 32),
    FindNode(bytes([3]) * 32, b"\xff" * 32),
    Get(bytes([3]) * 32),
    Store(CLAIMS[0]),
    Store(a_record(key=STRANGER, now=START).envelope),
    Store(bytes(900)),
)
ANSWERS: tuple[messages.Answer | bytes, ...] = (
    Nodes(entries()),
    Records((), entries()),
    Records(tuple(CLAIMS[:2]), entries(5)),
    Records(tuple(bytes([n]) * 110 for n in range(messages.MAX_RECORDS)), ()),
    *(body for body in BODIES if body),
)


@pytest.mark.parametrize("proven", [False, True])
@pytest.mark.parametrize("index", range(len(REQUESTS)))
def test_a_request_is_cheap(index: int, proven: bool) -> None:
    (victim,) = _victims
    data = victim.request(REQUESTS[index], victim.cookie if proven else bytes(16))
    assert min(cpu_of(victim, data) for _ in range(TRIES)) < CPU_S * NOISE
    bounded(victim)


def cost_in_lookup(victim: Victim, answer: messages.Answer | bytes) -> float:
    """CPU of one answer within a lookup, which ends all the same."""

    async def measured() -> float:
        data, lookup = await victim.in_a_lookup(answer)
        began = time.thread_time()
        victim.take(data)
        for _ in range(4):
            await asyncio.sleep(0)
        spent = time.thread_time() - began
        async with asyncio.timeout(30):
            await lookup
        return spent

    return victim.run(measured())


@pytest.mark.parametrize("index", range(len(ANSWERS)))
def test_an_answer_within_a_lookup_is_cheap(index: int) -> None:
    (victim,) = _victims
    assert min(cost_in_lookup(victim, ANSWERS[index]) for _ in range(TRIES)) < CPU_S * NOISE
    bounded(victim)


Change = Callable[[bytes], bytes]


@st.composite
def changes(draw: st.DrawFn) -> list[tuple[int, int]]:
    """Bytes to put at places, as shares of the length."""
    return draw(
        st.lists(st.tuples(st.integers(0, 9_999), st.integers(0, 255)), min_size=1, max_size=8)
    )


def changed(data: bytes, edits: list[tuple[int, int]], cut: int, more: int, sign: bool) -> bytes:
    """A datagram with these bytes changed, cut and lengthened; perhaps signed again."""
    raw = bytearray(data[: len(data) - cut] if cut < len(data) else data)
    for place, value in edits:
        raw[place * len(raw) // 10_000] = value
    raw += bytes(more)
    if not sign or len(raw) <= HEADER_BYTES + SIGNATURE_BYTES:
        return bytes(raw)
    raw[:HEADER_BYTES] = data[:HEADER_BYTES]
    try:
        return replace(Frame.parse(bytes(raw))).signed(STRANGER, TESTNET)
    except FrameError:
        return bytes(raw)


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    index=st.integers(0, len(REQUESTS) - 1),
    edits=changes(),
    cut=st.integers(0, 1_200),
    more=st.integers(0, 400),
    sign=st.booleans(),
    proven=st.booleans(),
)
def test_any_changed_request_is_cheap(
    index: int, edits: list[tuple[int, int]], cut: int, more: int, sign: bool, proven: bool
) -> None:
    (victim,) = _victims
    data = victim.request(REQUESTS[index], victim.cookie if proven else bytes(16))
    hostile = changed(data, edits, cut if sign else 0, more, sign)
    assert min(cpu_of(victim, hostile) for _ in range(TRIES)) < CPU_S * NOISE
    bounded(victim)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    index=st.integers(0, len(ANSWERS) - 1),
    edits=changes(),
    cut=st.integers(0, 900),
)
def test_any_changed_answer_is_cheap_and_ends_no_lookup(
    index: int, edits: list[tuple[int, int]], cut: int
) -> None:
    """The body is changed and signed again, so all of it is read."""
    (victim,) = _victims
    answer = ANSWERS[index]
    seen = Observed(Endpoint("127.0.0.2", 7060), bytes(16))
    body = answer if isinstance(answer, bytes) else messages.encode_part(Part(0, 1, seen, answer))
    raw = bytearray(body[: max(1, len(body) - cut)])
    for place, value in edits:
        raw[place * len(raw) // 10_000] = value
    spent = min(cost_in_lookup(victim, bytes(raw)) for _ in range(TRIES))
    assert spent < CPU_S * NOISE
    bounded(victim)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.binary(max_size=1_400), magic=st.booleans(), kind=st.integers(0, 255))
def test_any_bytes_are_cheap(data: bytes, magic: bool, kind: int) -> None:
    (victim,) = _victims
    hostile = bytes((8, kind)) + data if magic else data
    assert min(cpu_of(victim, hostile) for _ in range(TRIES)) < CPU_S * NOISE
    bounded(victim)


def test_spoofed_requests_leave_no_state() -> None:
    """Three thousand networks that never hear an answer: only their rates are remembered."""
    (victim,) = _victims
    directory = victim.node.directory
    before = directory.stats()
    known = len(directory._overlay._ids._verdicts)
    requests = [victim.request(request) for request in REQUESTS]

    async def flood() -> None:
        for number in range(3_000):
            source = Endpoint(f"60.{number // 250}.{number % 250}.9", 9)
            directory.datagram_received(requests[number % len(requests)], source)
        await asyncio.sleep(0)

    victim.run(flood())
    after = directory.stats()
    assert (after.contacts, after.records, after.waiting) == (
        before.contacts,
        before.records,
        before.waiting,
    )
    assert len(directory._overlay._ids._verdicts) == known
    assert len(directory._overlay._greeting) <= 2
    assert after.traffic.challenged > 500
    bounded(victim)
