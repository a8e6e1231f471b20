"""A flood over connections takes its turns: others are heard in between, and nothing is lost."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import uvloop
from cryptography import x509

from federation.model.clocks import SystemClock
from node.sip.flow import Flow
from node.sip.transports import SipTransports
from node.sip.transports.connection import TcpLimits
from node.sip.transports.turns import SHARE
from tests.support.sip_exchange import request as sip_request
from tests.support.tls_material import Authority, Contexts

NUMBER = b"000000"
MESSAGE = sip_request("OPTIONS", body=NUMBER).encode()
FLOOD = 300
WORK = 0.001
"Seconds that each message costs."
NAME = "example.org"
WITHIN = 10.0


def numbered(number: int) -> bytes:
    return MESSAGE.replace(NUMBER, b"%06d" % number)


async def flooded(contexts: Contexts, transport: str) -> tuple[list[int], int]:
    """The messages in the order in which they came, and the most that one turn took.

    Those of the flood are numbered from 0; the other connection's one is number `FLOOD`.
    """
    came: list[int] = []
    most = before = 0

    def take(data: bytes, flow: Flow) -> None:
        came.append(int(data[-6:]))
        until = time.monotonic() + WORK
        while time.monotonic() < until:
            pass

    transports = SipTransports(
        on_data=take, on_closed=lambda flow: None, clock=SystemClock(), tls=contexts
    )
    await transports.start(("127.0.0.1",), 0, 0)
    port, tls = transports.port, {}
    if transport == "TLS":
        port, tls = transports.tls_port, {"ssl": contexts.client, "server_hostname": NAME}
    try:
        links = [await asyncio.open_connection("127.0.0.1", port, **tls) for _ in range(2)]
        (_, floods), (_, other) = links
        floods.write(b"".join(numbered(number) for number in range(FLOOD)))
        floods.close()  # and its end comes right behind
        async with asyncio.timeout(WITHIN):
            while len(came) <= FLOOD:
                if came and not before:
                    other.write(numbered(FLOOD))
                most, before = max(most, len(came) - before), len(came)
                await asyncio.sleep(0)
        other.close()
    finally:
        await transports.close()
    return came, most


@pytest.mark.parametrize("transport", ["TCP", "TLS"])
@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_others_are_heard_in_between(
    tmp_path: Path, loop: Callable[[], asyncio.AbstractEventLoop], transport: str
) -> None:
    authority = Authority.make()
    contexts = Contexts(tmp_path, authority.issue(x509.DNSName(NAME)), authority)
    with asyncio.Runner(loop_factory=loop) as runner:
        came, most = runner.run(flooded(contexts, transport))
    assert [number for number in came if number < FLOOD] == list(range(FLOOD))
    assert came.index(FLOOD) < FLOOD / 2
    assert most <= SHARE / WORK + 1


class Answering:
    """A node that answers each message with itself, and works at it for a while."""

    def __init__(self, limits: TcpLimits | None = None) -> None:
        self.came: list[int] = []
        self.breaks_at: int | None = None
        self.closed_after: list[int] = []
        "How many messages had come when a connection was told to be closed."
        self.transports = SipTransports(
            on_data=self._take, on_closed=self._closed, clock=SystemClock(), limits=limits
        )

    def _closed(self, flow: Flow) -> None:
        self.closed_after.append(len(self.came))

    def _take(self, data: bytes, flow: Flow) -> None:
        self.came.append(int(data[-6:]))
        self.transports.send(data, flow)
        until = time.monotonic() + WORK
        while time.monotonic() < until:
            pass
        if self.came[-1] == self.breaks_at:
            raise ValueError(data)

    async def has_taken(self, count: int) -> None:
        async with asyncio.timeout(WITHIN):
            while len(self.came) < count:
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def connected(node: Answering) -> AsyncIterator[asyncio.StreamWriter]:
    _, writer = await asyncio.open_connection("127.0.0.1", node.transports.port)
    try:
        yield writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def answering(limits: TcpLimits | None = None) -> AsyncIterator[Answering]:
    node = Answering(limits)
    await node.transports.start(("127.0.0.1",), 0, 0)
    yield node
    await node.transports.close()


async def test_who_closes_without_reading_loses_nothing_it_sent() -> None:
    async with answering() as node:
        async with connected(node) as writer:
            writer.write(b"".join(numbered(number) for number in range(FLOOD)))
        await node.has_taken(FLOOD)
        await asyncio.sleep(0.05)
    assert node.came == list(range(FLOOD))
    assert node.closed_after == [FLOOD], "told once, as the last"


async def test_nothing_comes_once_all_is_closed() -> None:
    async with answering() as node, connected(node) as writer:
        writer.write(b"".join(numbered(number) for number in range(FLOOD)))
        await node.has_taken(FLOOD // 10)
        await node.transports.close()
        there = len(node.came)
        await asyncio.sleep(0.1)
        assert len(node.came) == there < FLOOD


async def test_a_ping_is_answered_whatever_came_with_it() -> None:
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))
    async with answering() as node:
        node.breaks_at = 1
        reader, writer = await asyncio.open_connection("127.0.0.1", node.transports.port)
        with contextlib.closing(writer):
            writer.write(b"\r\n\r\n" + numbered(1) + numbered(2))
            async with asyncio.timeout(WITHIN):
                assert await reader.readexactly(2 * len(MESSAGE) + 2)
        await writer.wait_closed()
    assert len(told) == 1


async def test_what_one_message_breaks_holds_nobody_up() -> None:
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    async with answering() as node, contextlib.AsyncExitStack() as stack:
        node.breaks_at = FLOOD // 3
        for number in range(3):
            writer = await stack.enter_async_context(connected(node))
            writer.write(b"".join(numbered(FLOOD * number + each) for each in range(FLOOD)))
        await node.has_taken(3 * FLOOD)
        async with asyncio.timeout(WITHIN):
            while node.transports.overload.is_shedding:
                await asyncio.sleep(0.01)


async def test_who_waits_for_its_turn_is_not_idle() -> None:
    """The other half of a message comes while the node is at what came before."""
    count = round(1.5 / WORK)  # longer than from one look at the connections to the next
    async with answering(TcpLimits(idle_seconds=0.2)) as node, connected(node) as writer:
        last = numbered(count)
        writer.write(b"".join(numbered(number) for number in range(count)) + last[:20])
        await asyncio.sleep(0.05)
        writer.write(last[20:])
        await node.has_taken(count + 1)
