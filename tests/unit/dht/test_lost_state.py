"""A node that lost its state asks the network for its own records before it publishes."""

import asyncio
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from dht.answers import Answerer
from dht.finder import Found, NotFound
from dht.messages import NEWER_HELD, Store, Stored
from dht.publisher import Publication
from dht.record import Accepts, Kind
from federation.model.address import Endpoint
from federation.model.clocks import UnixTime
from tests.support.dht_network import MemoryNetwork, MemoryNode
from tests.support.virtual_loop import run_virtually

BEHIND = -200.0
ELSEWHERE = Endpoint("127.0.8.8", 7060)


async def a_town_with_a_forgetful_node() -> tuple[MemoryNetwork, MemoryNode]:
    """Node 2 published alice and bob, and is gone; node 1 and 3 hold its records."""
    network = MemoryNetwork()
    one, two, three = [await network.node(n) for n in (1, 2, 3)]
    for node in (two, three):
        await node.directory.join([one.endpoint])
    for login in ("alice", "bob"):
        two.directory.publish_user(login)
        assert await two.directory.published(Kind.USER, login)
    await network.stop(two)
    return network, one


async def accepts(node: MemoryNode, owner: MemoryNode, login: str) -> Accepts | None:
    result = await node.directory.find_user(owner.key.id, login)
    if not isinstance(result, Found):
        return None
    assert result.records[0].route is not None
    return result.records[0].route.accepts


def test_the_first_record_it_sends_is_newer_than_those_it_forgot() -> None:
    """The clock is behind; no storer ever has to answer that it holds something newer."""

    async def run() -> None:
        network, one = await a_town_with_a_forgetful_node()
        again = MemoryNode(network, 2, ELSEWHERE, None)
        network.nodes[ELSEWHERE] = again
        again.clock.skew = BEHIND
        with capture_logs() as logs:
            again.directory._publishing.publish(Publication(kind=Kind.ADDRESS))
            await again.directory.join([one.endpoint])
            again.directory.publish_user("alice", Accepts.TRUNK)
            await again.directory.start()
            assert await again.directory.published(Kind.USER, "alice")
        events = [line["event"] for line in logs]
        assert "state_was_lost" in events
        assert "issued_behind" not in events
        assert await accepts(one, again, "alice") == Accepts.TRUNK
        await network.close()

    run_virtually(run())


def test_published_alone_and_then_joined_it_catches_up() -> None:
    async def run() -> None:
        network, one = await a_town_with_a_forgetful_node()
        again = await network.node(2, endpoint=ELSEWHERE)
        again.clock.skew = BEHIND
        again.directory.publish_user("alice", Accepts.TRUNK)
        assert await again.directory.published(Kind.USER, "alice")
        await asyncio.sleep(10)
        await again.directory.join([one.endpoint])
        await asyncio.sleep(30)
        assert await accepts(one, again, "alice") == Accepts.TRUNK
        await network.close()

    run_virtually(run())


def test_a_login_that_went_is_buried_although_its_record_is_newer() -> None:
    async def run() -> None:
        network, one = await a_town_with_a_forgetful_node()
        again = await network.node(2, endpoint=ELSEWHERE)
        again.clock.skew = BEHIND
        again.directory.bury(Publication(kind=Kind.USER, label="bob"))
        await again.directory.join([one.endpoint])
        await asyncio.sleep(30)
        assert await one.directory.find_user(again.key.id, "bob") == NotFound()
        await network.close()

    run_virtually(run())


def test_a_tombstone_that_was_forgotten_is_overtaken() -> None:
    """A login was removed, state was lost, and the login comes back."""

    async def run() -> None:
        network = MemoryNetwork()
        one, two = [await network.node(n) for n in (1, 2)]
        await two.directory.join([one.endpoint])
        two.directory.publish_user("alice")
        assert await two.directory.published(Kind.USER, "alice")
        two.directory.withdraw(Kind.USER, "alice")
        assert await two.directory.published(Kind.USER, "alice")
        await network.stop(two)
        again = await network.node(2, endpoint=ELSEWHERE)
        again.clock.skew = BEHIND
        await again.directory.join([one.endpoint])
        again.directory.publish_user("alice")
        await asyncio.sleep(30)
        assert await accepts(one, again, "alice") == Accepts.USER
        await network.close()

    run_virtually(run())


def test_who_remembers_or_is_new_asks_once_or_not_at_all(tmp_path: Path) -> None:
    """A new node looks its own address up once; one that knows its newest record does not."""

    async def run() -> None:
        network = MemoryNetwork()
        one = await network.node(1)
        two = await network.node(2, cache=tmp_path / "peers")
        await two.directory.join([one.endpoint])
        for login in ("alice", "bob", "carol"):
            two.directory.publish_user(login)
            assert await two.directory.published(Kind.USER, login)
        assert sum(two.directory.stats().lookups.values()) == 1
        await network.stop(two)
        two = await network.node(2, cache=tmp_path / "peers")
        two.directory.publish_user("alice")
        await asyncio.sleep(10)
        assert await two.directory.published(Kind.USER, "alice")
        assert sum(two.directory.stats().lookups.values()) == 0
        await network.close()

    run_virtually(run())


def test_a_liar_that_says_it_holds_newer_does_not_make_a_publisher_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def run() -> None:
        network = MemoryNetwork()
        one, two = [await network.node(n) for n in (1, 2)]
        asked = 0

        def lie(self: Answerer, request: Store, *, now: UnixTime) -> Stored:
            nonlocal asked
            asked += 1
            return Stored(NEWER_HELD, 0)

        monkeypatch.setattr(Answerer, "stored", lie)
        await two.directory.join([one.endpoint])
        two.directory.publish_user("alice")
        await asyncio.sleep(60)
        assert 0 < asked < 20
        await network.close()

    run_virtually(run())
