"""Many directories in one process, each behind a real UDP socket of its own loopback address.

With `disguised` the nodes see global addresses: the socket layer puts 51 in the place of 127, and
back. Then everything that a LAN is spared applies: limits by network, and who may be named to whom.
"""

import asyncio
import gc
import logging
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import structlog

from dht.directory import Directory
from federation.model.address import Endpoint
from federation.model.clocks import SystemClock, SystemEntropy
from federation.model.identity import NodeKey
from federation.model.network import Network
from tests.support.dht_network import derive_quickly

ZOO = Network.named("zoo", puzzle_bits=0)
NONCE = bytes(8)
RECEIVE_BUFFER = 4 * 2**20
Cut = Callable[[Endpoint, Endpoint], bool]


def zoo_key(number: int) -> NodeKey:
    return NodeKey(number.to_bytes(4, "big") + bytes([11]) * 28)


def own_host(number: int) -> str:
    """A loopback address for each node, no two in one /16 while there are fewer than 250."""
    return f"127.{number % 250 + 1}.{number // 250}.1"


class Door(asyncio.DatagramProtocol):
    """A real UDP socket. Datagrams between endpoints that `town.is_cut` are dropped."""

    def __init__(self, town: "Town", host: str) -> None:
        self.town, self._host = town, host
        self.received = 0

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=(self._host, 0)
        )
        sock = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        self.real = Endpoint.of(self._transport.get_extra_info("sockname"))
        self.endpoint = self.town.shown(self.real)

    def shut(self) -> None:
        self._transport.close()

    def send(self, data: bytes, to: Endpoint) -> None:
        if not self.town.is_cut(self.endpoint, to):
            self._transport.sendto(data, self.town.real(to))

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        self.received += 1
        source = self.town.shown(Endpoint.of(addr))
        if not self.town.is_cut(source, self.endpoint):
            self.take(data, source)

    def error_received(self, exc: Exception) -> None:
        """Nobody is there any more: for UDP that is a lost datagram."""

    def take(self, data: bytes, source: Endpoint) -> None:
        """A datagram came."""


class ZooNode(Door):
    """An honest node: the whole directory."""

    def __init__(self, town: "Town", number: int, *, cache: Path | None = None) -> None:
        super().__init__(town, own_host(number))
        self.number, self.key, self._cache = number, zoo_key(number), cache
        self.is_up = False

    async def start(self) -> None:
        """Open a socket, at another port each time, and begin."""
        await self.open()
        self.directory = Directory(
            key=self.key,
            nonce=NONCE,
            network=ZOO,
            send=self.send,
            own_endpoints=lambda: (self.endpoint,),
            clock=SystemClock(),
            entropy=SystemEntropy(),
            cache=self._cache,
            derive=derive_quickly,
        )
        self.is_up = True
        await self.directory.start()

    async def stop(self) -> None:
        """Be gone without a word: a directory says no farewell."""
        if self.is_up:
            self.is_up = False
            await self.directory.close()
            self.shut()

    def take(self, data: bytes, source: Endpoint) -> None:
        if self.is_up and data[:1] == b"\x08":
            self.directory.datagram_received(data, source)


class Town:
    """Everybody in one network."""

    def __init__(self, *, disguised: bool = False) -> None:
        self._is_disguised = disguised
        self.is_cut: Cut = lambda source, to: False
        self.doors: list[Door] = []

    def shown(self, endpoint: Endpoint) -> Endpoint:
        return _with_first(endpoint, "51") if self._is_disguised else endpoint

    def real(self, endpoint: Endpoint) -> Endpoint:
        return _with_first(endpoint, "127") if self._is_disguised else endpoint

    async def node(self, number: int, *, cache: Path | None = None) -> ZooNode:
        node = ZooNode(self, number, cache=cache)
        self.doors.append(node)
        await node.start()
        return node

    async def crowd(self, count: int, *, first: int = 1) -> list[ZooNode]:
        """Nodes that have joined by the first three of them."""
        nodes = [await self.node(first + n) for n in range(count)]
        await join(nodes, nodes[:3])
        return nodes

    async def settle(self, quiet_s: float = 0.15, limit: float = 20.0) -> None:
        """Wait until nothing is said any more: what follows a join or a publication is over."""
        async with asyncio.timeout(limit):
            before = -1
            while (now := sum(door.received for door in self.doors)) != before:
                before = now
                await asyncio.sleep(quiet_s)

    async def close(self) -> None:
        for door in self.doors:
            if isinstance(door, ZooNode):
                await door.stop()
            else:
                door.shut()
        await asyncio.sleep(0)

    async def __aenter__(self) -> "Town":
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
        structlog.reset_defaults()


async def join(nodes: Iterable[ZooNode], seeds: Iterable[ZooNode]) -> None:
    """Let these nodes join, a few at a time, as nodes of a real network do."""
    endpoints = [seed.endpoint for seed in seeds]
    waiting = list(nodes)
    while waiting:
        some, waiting = waiting[:6], waiting[6:]
        await asyncio.gather(*(node.directory.join(endpoints) for node in some))


def _with_first(endpoint: Endpoint, first: str) -> Endpoint:
    return Endpoint(f"{first}.{endpoint.host.partition('.')[2]}", endpoint.port)


async def until(condition: Callable[[], bool], limit: float = 10.0) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(limit):
        while not condition():
            await asyncio.sleep(0.01)


@dataclass(slots=True)
class LoopWatch:
    """What went wrong in the event loop, and the CPU of its longest turns."""

    errors: list[dict[str, Any]] = field(default_factory=list)
    longest: list[tuple[float, str]] = field(default_factory=list)

    @property
    def worst(self) -> tuple[float, str]:
        return max(self.longest, default=(0.0, "nothing"))

    def note(self, seconds: float, what: object) -> None:
        if seconds > 0.01:
            self.longest.append((seconds, repr(what)[:300]))


@contextmanager
def watched_loop(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopWatch]:
    """Measure the CPU of every callback of the running loop, and keep what escapes from them."""
    watch = LoopWatch()
    run = asyncio.Handle._run

    def measured(handle: asyncio.Handle) -> None:
        began = time.thread_time()
        run(handle)
        watch.note(time.thread_time() - began, handle)

    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: watch.errors.append(context))
    gc.collect()
    gc.freeze()
    try:
        with monkeypatch.context() as patch:
            patch.setattr(asyncio.Handle, "_run", measured)
            yield watch
    finally:
        gc.unfreeze()
        loop.set_exception_handler(before)
