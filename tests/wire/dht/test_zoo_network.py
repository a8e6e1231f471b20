"""Thirty real nodes on real sockets: they join, leave at once, move, part and meet again."""

import asyncio
import itertools
from pathlib import Path

import pytest

from dht import maintenance
from dht.finder import Found, LookupResult, NotFound
from dht.record import Accepts, Kind
from federation.model.address import Endpoint
from tests.support.dht_zoo import Town, ZooNode, join, until, watched_loop

NODES = 30
PATIENCE_S = 10.0
"Of lookups, where the machine is busy with other things."


async def publish_users(nodes: list[ZooNode]) -> None:
    for node in nodes:
        node.directory.publish_user("alice")
    for node in nodes:
        assert await node.directory.published(Kind.USER, "alice")


async def find_user(seeker: ZooNode, owner: ZooNode) -> LookupResult:
    return await seeker.directory.find_user(owner.key.id, "alice", budget=PATIENCE_S)


async def find_address(seeker: ZooNode, owner: ZooNode) -> Endpoint | None:
    match await seeker.directory.find_address(owner.key.id, budget=PATIENCE_S):
        case Found(records):
            assert records[-1].address is not None
            return records[-1].address.endpoints[0]
        case _:
            return None


@pytest.mark.parametrize("disguised", [False, True], ids=["one LAN", "global addresses"])
async def test_all_find_each_other(disguised: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everybody joined by three seeds; what each published is found by others, and absence too."""
    async with Town(disguised=disguised) as town:
        with watched_loop(monkeypatch) as watch:
            nodes = await town.crowd(NODES)
            await publish_users(nodes[::3])
            await town.settle()
            for seeker, owner in zip(nodes[1::3], nodes[::3], strict=True):
                assert isinstance(await find_user(seeker, owner), Found)
                assert await find_address(owner, seeker) == seeker.endpoint
            for seeker in nodes[::6]:
                found = await seeker.directory.find_user(nodes[1].key.id, "nobody")
                assert found == NotFound()
        assert watch.errors == []
        assert watch.worst[0] < 0.05, watch.worst
        for node in nodes:
            assert len(node.directory.contacts()) >= 20


async def test_half_are_killed_and_come_back_at_other_ports() -> None:
    """Nothing is lost when every other node is gone at once; who returns is found where it is."""
    async with Town() as town:
        nodes = await town.crowd(NODES)
        await publish_users(nodes[::3])
        await town.settle()
        left, gone = nodes[::2], nodes[1::2]
        for node in gone:
            await node.stop()
        seekers = itertools.cycle(left)
        for owner in nodes[::3]:
            assert isinstance(await find_user(next(seekers), owner), Found)
        before = {node.number: node.endpoint for node in gone}
        for node in gone:
            await node.start()
            assert node.endpoint != before[node.number]
        await join(gone, left[:3])
        for node in gone:
            assert await node.directory.published(Kind.ADDRESS)
        for owner in gone:
            assert await find_address(next(seekers), owner) == owner.endpoint


async def test_both_sides_of_a_partition_serve_and_the_newest_wins_when_it_heals(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever was lost is tried again; the next republishing reaches the other side."""
    monkeypatch.setattr(maintenance, "TICK_S", 0.05)
    monkeypatch.setattr(maintenance, "LOST_EVERY_S", 0.1)
    async with Town() as town:
        nodes = await town.crowd(NODES)
        await publish_users(nodes[::3])
        await town.settle()
        west = {node.endpoint for node in nodes[: NODES // 2]}
        town.is_cut = lambda source, to: (source in west) != (to in west)
        ours, theirs = nodes[: NODES // 2], nodes[NODES // 2 :]
        results = await asyncio.gather(
            *(find_user(seeker, owner) for seeker in (ours[1], theirs[1]) for owner in nodes[::3])
        )
        assert sum(isinstance(result, Found) for result in results) == len(results)
        writer = ours[6]
        writer.directory.publish_user("alice", Accepts.TRUNK)
        assert await writer.directory.published(Kind.USER, "alice")
        assert await accepted(ours[9], writer) is Accepts.TRUNK
        assert await accepted(theirs[9], writer) is Accepts.USER
        town.is_cut = lambda source, to: False
        await until(lambda: sum(c.endpoint not in west for c in writer.directory.contacts()) > 9)
        writer.directory.publish_user("alice", Accepts.TRUNK)
        assert await writer.directory.published(Kind.USER, "alice")
        for seeker in theirs[:6]:
            assert await accepted(seeker, writer) is Accepts.TRUNK


async def accepted(seeker: ZooNode, owner: ZooNode) -> Accepts | None:
    match await find_user(seeker, owner):
        case Found(records):
            assert len(records) == 1
            assert records[0].route is not None
            return records[0].route.accepts
        case _:
            return None


async def test_a_node_comes_back_by_the_peers_it_remembers(tmp_path: Path) -> None:
    """Its seeds are gone; the cache on disk has others."""
    async with Town() as town:
        nodes = await town.crowd(8)
        late = await town.node(50, cache=tmp_path / "peers")
        await late.directory.join([nodes[0].endpoint])
        await until(lambda: len(late.directory.contacts()) >= 6)
        await late.stop()
        await nodes[0].stop()
        await late.start()
        await until(lambda: len(late.directory.contacts()) >= 6)
