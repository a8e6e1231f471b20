"""Links without waiting and without sockets.

`MemoryNetwork` carries datagrams between `MemoryPort`s and can lose, delay, repeat and reorder
them, or cut an address off. Under `in_virtual_time` minutes pass in milliseconds.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

import pytest

from federation.model.address import Endpoint
from tests.support.virtual_loop import VirtualLoop


def in_virtual_time(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run an async test on a `VirtualLoop`."""

    @wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run


def on_both_loops(test: Callable[[], Awaitable[None]]) -> Callable[..., None]:
    """Run an async test without fixtures on asyncio's loop and on uvloop's."""

    @pytest.mark.parametrize("loop_name", ["asyncio", "uvloop"])
    def run(loop_name: str) -> None:
        factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
        if loop_name == "uvloop":
            factory = pytest.importorskip("uvloop").new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(test())

    run.__name__ = test.__name__  # type: ignore[attr-defined]
    run.__doc__ = test.__doc__
    return run


@dataclass
class Weather:
    """What happens to a datagram on its way."""

    loss: float = 0.0
    repeat: float = 0.0
    delay: float = 0.01
    jitter: float = 0.0
    "Up to so many seconds more, drawn for each, so datagrams overtake each other."


class MemoryNetwork:
    """Datagrams between ports in one process, after a delay."""

    def __init__(self, seed: int = 1) -> None:
        self.weather = Weather()
        self.cut: set[Endpoint] = set()
        "Addresses to and from which nothing gets through."
        self.carried: list[tuple[Endpoint, Endpoint, int]] = []
        "Source, destination and size of each datagram sent."
        self._random = random.Random(seed)
        self._ports: dict[Endpoint, MemoryPort] = {}

    def port(self, endpoint: Endpoint) -> "MemoryPort":
        self._ports[endpoint] = port = MemoryPort(self, endpoint)
        return port

    def carry(self, data: bytes, source: Endpoint, destination: Endpoint) -> None:
        self.carried.append((source, destination, len(data)))
        weather, draw = self.weather, self._random.random
        if source in self.cut or destination in self.cut or draw() < weather.loss:
            return
        for _ in range(2 if draw() < weather.repeat else 1):
            asyncio.get_running_loop().call_later(
                weather.delay + draw() * weather.jitter, self._deliver, data, source, destination
            )

    def _deliver(self, data: bytes, source: Endpoint, destination: Endpoint) -> None:
        port = self._ports.get(destination)
        blocked = source in self.cut or destination in self.cut
        if port is not None and port.on_quic is not None and not blocked:
            port.on_quic(data, source)


class MemoryPort:
    """What stands in for the mesh socket."""

    def __init__(self, network: MemoryNetwork, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.on_quic: Callable[[bytes, Endpoint], None] | None = None
        self._network = network

    def send(self, data: bytes, endpoint: Endpoint) -> None:
        self._network.carry(data, self.endpoint, endpoint)
