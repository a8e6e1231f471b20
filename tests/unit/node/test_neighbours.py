"""A machine that moves between networks keeps being found."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from node.neighbours import Neighbours

HOME, AWAY = ("192.0.2.1", "127.0.0.1"), ("198.51.100.7", "127.0.0.1")


@dataclass
class Machine:
    """Has addresses, and notes what is announced where."""

    addresses: Sequence[str] = HOME
    served: Sequence[str] = HOME
    heard: list[tuple[str, Sequence[str]]] = field(default_factory=list)
    looked: int = 0

    def look(self) -> Sequence[str]:
        self.looked += 1
        return list(self.addresses)

    def moved(self, addresses: Sequence[str]) -> None:
        self.served = tuple(addresses)

    def announcer(self) -> "Announcement":
        return Announcement(self, self.served)

    async def until(self, looks: int) -> None:
        target = self.looked + looks
        async with asyncio.timeout(10):
            while self.looked < target:
                await asyncio.sleep(0.001)


@dataclass
class Announcement:
    """One start and close of discovery."""

    machine: Machine
    addresses: Sequence[str]

    async def start(self) -> None:
        self.machine.heard.append(("announced", self.addresses))

    async def close(self) -> None:
        self.machine.heard.append(("taken back", self.addresses))


async def test_discovery_moves_with_the_machine() -> None:
    """Same addresses: nothing is said again. Others: taken back, announced anew, each once."""
    machine = Machine()
    neighbours = Neighbours(
        HOME,
        look=machine.look,
        on_moved=machine.moved,
        announcer=machine.announcer,
        interval=0.001,
    )
    tasks = [asyncio.create_task(work) for work in (neighbours.follow(), neighbours.discover())]
    await machine.until(looks=3)
    assert machine.heard == [("announced", HOME)]
    machine.addresses = AWAY
    await machine.until(looks=3)
    assert machine.served == AWAY
    assert machine.heard == [("announced", HOME), ("taken back", HOME), ("announced", AWAY)]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert machine.heard[3:] == [("taken back", AWAY)]
