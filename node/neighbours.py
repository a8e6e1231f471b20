"""Finds nodes near by, from whatever addresses this machine has at the time."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

ADDRESS_INTERVAL = 30.0
"Seconds between two looks at which addresses this machine has."
log = structlog.get_logger("node")


class Announcer(Protocol):
    """Announces this node at some addresses and looks for others (`node.discovery.Discovery`)."""

    async def start(self) -> None:
        """Begin."""

    async def close(self) -> None:
        """Take the announcement back and stop."""


class Neighbours:
    """Follows the machine's addresses, and begins discovery anew when they change.

    `look` says which addresses there are and may block; `on_moved` is told when they are others.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        *,
        look: Callable[[], Sequence[str]],
        on_moved: Callable[[Sequence[str]], None],
        announcer: Callable[[], Announcer],
        interval: float = ADDRESS_INTERVAL,
    ) -> None:
        self._addresses = tuple(addresses)
        self._look = look
        self._on_moved = on_moved
        self._announcer = announcer
        self._interval = interval
        self._moved = asyncio.Event()

    async def follow(self) -> None:
        """Notice when this machine gets other addresses; ends when cancelled."""
        while True:
            await asyncio.sleep(self._interval)
            addresses = tuple(await asyncio.to_thread(self._look))
            if addresses != self._addresses:
                log.info("addresses_changed", addresses=", ".join(addresses))
                self._addresses = addresses
                self._on_moved(addresses)
                self._moved.set()

    async def discover(self) -> None:
        """Announce and look, at new addresses anew; ends when cancelled."""
        while True:
            self._moved.clear()
            announcer = self._announcer()
            try:
                await announcer.start()
                await self._moved.wait()
            finally:
                await announcer.close()
