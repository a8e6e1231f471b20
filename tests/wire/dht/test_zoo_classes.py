"""Every kind of hostile peer, real and on a socket: lookups hold, nothing grows, nothing blocks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from dht.finder import Found
from dht.pending import MAX_PENDING
from dht.record import Accepts, Kind
from tests.support.dht_zoo import LoopWatch, Town, ZooNode, own_host, watched_loop
from tests.support.dht_zoo_peers import (
    ZOO_CLASSES,
    AddressSpoofer,
    Friends,
    Liar,
    Namer,
    Oversized,
    Peer,
    Stale,
)

HONEST = 16
HOSTILE = 8
"A third of all."
BUDGET_S = 8.0
"Of a lookup, where the machine is busy with other things."
HOLDERS = (Liar, Stale, AddressSpoofer, Oversized, Namer)
"Those who take part in a store and answer at once."
MOST_CPU_S = 0.05
"What one turn of the event loop may take."


class Scene:
    """A town with hostile peers in everybody's table."""

    def __init__(self, town: Town) -> None:
        self.town = town
        self.friends = Friends()
        self.honest: list[ZooNode] = []
        self.hostile: list[Peer] = []

    async def people(self, kind: type[Peer], count: int = HOSTILE) -> None:
        self.honest = self.friends.honest = await self.town.crowd(HONEST)
        for n in range(count):
            await self.add(kind(self.town, self.friends, 500 + n, own_host(100 + n)))
        await self.town.settle()

    async def add(self, peer: Peer) -> None:
        await peer.open()
        self.hostile.append(peer)
        await asyncio.gather(*(peer.introduce(node) for node in self.honest))

    async def publish(self, accepts: Accepts = Accepts.USER) -> None:
        for node in self.honest[:3]:
            node.directory.publish_user("alice", accepts)
        for node in self.honest[:3]:
            assert await node.directory.published(Kind.USER, "alice")

    async def find(self, accepts: Accepts = Accepts.USER) -> None:
        """Everybody's name is found, in its newest version."""
        for owner, seeker in zip(self.honest[:3], self.honest[6:9], strict=True):
            found = await seeker.directory.find_user(owner.key.id, "alice", budget=BUDGET_S)
            assert isinstance(found, Found), (owner.number, found)
            assert [r.route.accepts for r in found.records if r.route] == [accepts]

    def check(self, watch: LoopWatch) -> None:
        """Nothing escaped or blocked; tables hold who answered, within limits."""
        assert watch.errors == []
        assert watch.worst[0] < MOST_CPU_S, watch.worst
        real = {node.directory.own_id: node.endpoint for node in self.honest}
        real |= {peer.id: peer.endpoint for peer in self.hostile}
        for node in self.honest:
            for contact in node.directory.contacts():
                assert real[contact.id] == contact.endpoint
            overlay = node.directory._overlay
            assert overlay.waiting < MAX_PENDING // 8
            assert len(overlay._greeting) <= 64
            assert len(node.directory._tasks._tasks) < 200


@asynccontextmanager
async def scene(kind: type[Peer], count: int = HOSTILE) -> AsyncIterator[Scene]:
    async with Town(disguised=True) as town:
        stage = Scene(town)
        await stage.people(kind, count)
        yield stage


@pytest.mark.parametrize("kind", ZOO_CLASSES, ids=lambda kind: kind.__name__)
async def test_a_third_of_one_kind(kind: type[Peer], monkeypatch: pytest.MonkeyPatch) -> None:
    """Records are found although every third node means harm; and the newest, if holders lie."""
    async with scene(kind) as stage:
        with watched_loop(monkeypatch) as watch:
            await stage.publish()
            await stage.find()
            if kind in HOLDERS:
                await stage.publish(Accepts.TRUNK)
                await stage.find(Accepts.TRUNK)
        assert min(peer.asked for peer in stage.hostile) >= HONEST
        stage.check(watch)


async def test_one_of_every_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    async with scene(Peer, 0) as stage:
        for n, kind in enumerate(ZOO_CLASSES):
            await stage.add(kind(stage.town, stage.friends, 600 + n, own_host(120 + n)))
        with watched_loop(monkeypatch) as watch:
            await stage.publish()
            await stage.find()
        stage.check(watch)
