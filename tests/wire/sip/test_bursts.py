"""Many datagrams at once: what they cause leaves in order, and when they are too many."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from federation.model.address import Endpoint
from federation.model.clocks import SystemClock
from node.sip.flow import Flow
from node.sip.overload import BEGIN, LOOKS, Backlog, OverloadControl
from node.sip.transports import SipTransports
from node.sip.transports.local_address import RouteProbe
from node.sip.transports.noise import NoiseLog
from node.sip.transports.udp import DRAIN, HELD, OVERHEAD, SipUdp

IP = "127.0.0.1"
MANY = 8 * DRAIN
PATIENCE = 10.0


class Server:
    """A SIP socket, and what is done with each datagram: by default it goes back."""

    def __init__(self) -> None:
        self.transports = SipTransports(
            on_data=self._arrived, on_closed=lambda flow: None, clock=SystemClock()
        )
        self.work: Callable[[bytes, Flow], None] = self.transports.send
        self.shed: list[bool] = []
        "For each datagram, whether new work was refused when it came."

    def _arrived(self, data: bytes, flow: Flow) -> None:
        self.shed.append(self.transports.overload.is_shedding)
        self.work(data, flow)

    async def has_taken(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while len(self.shed) < count:
                await asyncio.sleep(0.01)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    await server.transports.start([IP], 0)
    yield server
    await server.transports.close()


@pytest.fixture
def phone(server: Server) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect((IP, server.transports.port))
        yield sock


def burst(phone: socket.socket, count: int) -> list[bytes]:
    texts = [b"X%d" % number for number in range(count)]
    for text in texts:
        phone.send(text)
    return texts


async def test_answers_come_in_order(server: Server, phone: socket.socket) -> None:
    texts = burst(phone, 3 * DRAIN + HELD // 2)
    await server.has_taken(len(texts))
    assert [phone.recv(100) for _ in texts] == texts


async def test_what_one_message_breaks_holds_nothing_back(
    server: Server, phone: socket.socket
) -> None:
    def work(data: bytes, flow: Flow) -> None:
        server.transports.send(data, flow)
        if data == b"X2":
            raise ValueError(data)

    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))
    server.work = work
    texts = burst(phone, 5)
    await server.has_taken(5)
    assert [phone.recv(100) for _ in texts] == texts
    assert len(told) == 1


async def test_what_was_answered_leaves_before_the_socket_closes(
    server: Server, phone: socket.socket
) -> None:
    closing = asyncio.get_running_loop().create_future()

    def work(data: bytes, flow: Flow) -> None:
        server.transports.send(data, flow)
        closing.set_result(asyncio.ensure_future(server.transports.close()))

    server.work = work
    burst(phone, 1)
    await (await closing)
    assert phone.recv(100) == b"X0"


async def test_what_there_is_no_room_for_waits_in_the_system(phone: socket.socket) -> None:
    room, most, came = 3 * OVERHEAD, 0, []

    def work(data: bytes, flow: Flow) -> None:
        nonlocal most
        most = max(most, udp._waiting_bytes)
        came.append(data)

    udp = SipUdp(
        Endpoint(IP, 0),
        on_data=work,
        on_failed=lambda flow: None,
        probe=RouteProbe(SystemClock()),
        noise=NoiseLog(SystemClock()),
        backlog=Backlog(OverloadControl()),
        room=room,
    )
    udp.start()
    phone.connect(udp.local)
    texts = burst(phone, DRAIN)
    async with asyncio.timeout(PATIENCE):
        while len(came) < len(texts):
            await asyncio.sleep(0.01)
    udp.close()
    assert came == texts
    assert room / 2 < most < room


async def test_what_waited_while_nobody_looked_is_no_overload(
    server: Server, phone: socket.socket
) -> None:
    burst(phone, MANY)
    time.sleep(2 * BEGIN)
    await server.has_taken(MANY)
    assert not any(server.shed)


async def test_a_few_messages_that_take_too_long_are_an_overload(
    server: Server, phone: socket.socket
) -> None:
    server.work = lambda data, flow: time.sleep(BEGIN / 8)
    burst(phone, DRAIN // 3)
    await server.has_taken(DRAIN // 3)
    assert not server.shed[4]
    assert server.shed[-1]


async def test_work_that_takes_too_long_is_an_overload_until_it_is_done(
    server: Server, phone: socket.socket
) -> None:
    overload = server.transports.overload

    def work(data: bytes, flow: Flow) -> None:
        time.sleep(0.0 if overload.is_shedding else 1.5 * BEGIN / (LOOKS * DRAIN))

    server.work = work
    burst(phone, MANY)
    await server.has_taken(MANY)
    assert not any(server.shed[: LOOKS * DRAIN // 2])
    assert server.shed[-1]
    async with asyncio.timeout(PATIENCE):
        while overload.is_shedding:
            await asyncio.sleep(0.01)
