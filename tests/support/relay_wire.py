"""Phones and pools on real loopback sockets."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable

from federation.model.address import Endpoint
from federation.model.clocks import SystemClock, SystemEntropy
from media_relay.config import RelayConfig
from media_relay.pool import RelayPool
from media_relay.reports import RelayEvent
from media_relay.session import Anchor, RelaySession

HEARD_WITHIN = 5.0
"Seconds; generous, since it only bounds a failing test."
SILENT_FOR = 0.3


class WirePhone:
    """One UDP socket that stands for a phone's media port."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.bind((host, port))
        self.endpoint = Endpoint.of(self.socket.getsockname())

    def send(self, data: bytes, to: Endpoint) -> None:
        self.socket.sendto(data, to)

    async def hear(self) -> bytes:
        """The next datagram."""
        return (await self.hear_from())[0]

    async def hear_from(self) -> tuple[bytes, Endpoint]:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(HEARD_WITHIN):
            data, source = await loop.sock_recvfrom(self.socket, 4096)
        return data, Endpoint.of(source)

    async def hears_nothing(self) -> bool:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(SILENT_FOR):
                await loop.sock_recvfrom(self.socket, 4096)
        except TimeoutError:
            return True
        return False

    def heard(self) -> list[bytes]:
        """Everything that waits."""
        waiting = []
        with contextlib.suppress(BlockingIOError):
            while True:
                waiting.append(self.socket.recv(4096))
        return waiting

    def close(self) -> None:
        self.socket.close()


@contextlib.asynccontextmanager
async def a_pool(
    *,
    workers: int = 1,
    leg_hosts: tuple[str, ...] = ("127.0.0.1",),
    ports: tuple[int, int] = (10000, 19999),
    on_event: Callable[[RelayEvent], None] = lambda event: None,
    worker_module: str = "media_relay.worker",
) -> AsyncIterator[RelayPool]:
    pool = RelayPool(
        RelayConfig(
            workers=workers, lowest_port=ports[0], highest_port=ports[1], leg_hosts=leg_hosts
        ),
        clock=SystemClock(),
        entropy=SystemEntropy(),
        on_event=on_event,
        worker_module=worker_module,
    )
    await pool.start()
    try:
        yield pool
    finally:
        await pool.close()


@contextlib.contextmanager
def phones(count: int, host: str = "127.0.0.1"):
    made = [WirePhone(host) for _ in range(count)]
    try:
        yield made
    finally:
        for phone in made:
            phone.close()


def facing(session: RelaySession, phone: WirePhone, **options: object) -> Anchor:
    """An anchor whose phone was signalled where it is."""
    anchor = session.anchor(phone.endpoint.host)
    settings = {"rtp": phone.endpoint, "rtcp": None, "sources": frozenset(), **options}
    anchor.expect(**settings)  # type: ignore[arg-type]
    return anchor


async def hear_each_other(
    one: WirePhone, one_anchor: Anchor, other: WirePhone, other_anchor: Anchor, data: bytes
) -> None:
    """The check of sound: what either phone sends, the other one hears."""
    for speaker, anchor, listener in (
        (one, one_anchor, other),
        (other, other_anchor, one),
    ):
        speaker.send(data, anchor.rtp)
        assert await listener.hear() == data


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that is about to be true."""
    deadline = time.monotonic() + HEARD_WITHIN
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        await asyncio.sleep(0.01)


def connect_legs(
    near: RelaySession,
    far: RelaySession,
    *,
    host: str = "127.0.0.1",
    told: bool = False,
    far_key: bytes | None = None,
) -> tuple[int, int]:
    """Install a leg between two sessions; `far_key` spoils what the far side decrypts with."""
    there, back = bytes(range(16)), bytes(range(16, 32))
    near_leg, far_leg = near.leg_block(1), far.leg_block(1)
    near.install_leg(
        near_leg,
        peer_leg=far_leg,
        peer=far.leg_port(host),
        send_key=there,
        receive_key=back,
        told=told,
    )
    far.install_leg(
        far_leg,
        peer_leg=near_leg,
        peer=near.leg_port(host),
        send_key=back,
        receive_key=far_key or there,
        told=told,
    )
    return near_leg, far_leg
