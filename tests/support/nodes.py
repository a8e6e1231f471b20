"""Real nodes for tests: processes of their own, on a network of their own, gone afterwards."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from node.phone.phone import Phone
from node.spawned import Place, SpawnedNode, SpawnedNodeError, free_places, is_free, peer_count

Account = dict[str, Any]
MEET_WITHIN = 15.0
_REGISTERING = ("transport", "asks_for_messages")


class NodeProcess(SpawnedNode):
    """A node that a test can start, ask, stop and kill."""

    async def stop_cleanly(self) -> None:
        """End it by SIGTERM; it must say goodbye with exit code 0."""
        code = await self.stop()
        if code != 0:
            pytest.fail(f"{self.name} ended with exit code {code}:\n{self.log_end(40)}")

    async def meets(self, peers: int, within: float = MEET_WITHIN) -> None:
        """Wait until it knows that many other nodes."""
        await self.until(lambda status: peer_count(status) >= peers, within, f"with {peers} peers")

    async def finds(self, target: str, within: float = MEET_WITHIN) -> None:
        """Wait until a call to `target` would be placed: its records have arrived."""
        try:
            async with asyncio.timeout(within):
                while (await self.get("resolve", uri=target))["status"] >= 300:
                    await asyncio.sleep(0.1)
        except TimeoutError:
            pytest.fail(f"{self.name} does not find {target}:\n{self.log_end()}")

    async def until_resolved(self, target: str, nodes: set[str], within: float = 15.0) -> None:
        """Wait until a call to `target` would go to these nodes and no others."""
        found: set[str] = set()
        try:
            async with asyncio.timeout(within):
                while found != nodes:
                    answer = await self.get("resolve", uri=target)
                    found = {node["node_id"] for node in answer["nodes"]}
                    await asyncio.sleep(0.1)
        except TimeoutError:
            pytest.fail(f"{self.name} finds {target} at {found}, not {nodes}")

    async def has(self, within: float = 10.0, **wanted: int) -> None:
        """Wait until `status` counts these, as in `has(calls=0, registrations=1)`."""
        try:
            await self.until(
                lambda status: all(_count(status[key]) == value for key, value in wanted.items()),
                within,
                f"at {wanted}",
            )
        except SpawnedNodeError as error:
            pytest.fail(f"{error}\nthe last status: {self.status}")


def _count(value: Any) -> int:
    return len(value) if isinstance(value, list) else int(value)


async def add_user(node: SpawnedNode, login: str) -> Account:
    """Add a user; the account has login, password, server, uri and number."""
    return await node.add_user(login)


@contextlib.asynccontextmanager
async def running_nodes(
    folder: Path,
    count: int,
    *,
    options: Sequence[str] = ("--no-mdns", "--workers", "1"),
    each: Sequence[Sequence[str]] = (),
    places: Sequence[Place] = (),
) -> AsyncIterator[list[NodeProcess]]:
    """`count` nodes that know each other, all joined through the first; ended cleanly afterwards.

    `each` has further options for the first, the second …; `places` says where they listen, if
    not just anywhere. A node that the test has stopped or killed itself is left alone. When the
    test fails, pytest shows the end of every log.
    """
    network = f"test-{secrets.token_hex(6)}"
    async with contextlib.AsyncExitStack() as stack:
        nodes: list[NodeProcess] = []
        for number, place in enumerate(places or free_places(count), 1):
            joins = ("--join", nodes[0].place.mesh) if nodes else ()
            own = each[number - 1] if number <= len(each) else ()
            node = NodeProcess(
                f"node{number}",
                place,
                folder=folder,
                network=network,
                options=(*options, *own, *joins),
            )
            nodes.append(await stack.enter_async_context(node))
        try:
            for node in nodes:
                await node.ready()
            for node in nodes:
                await node.meets(count - 1)
            yield nodes
            for node in nodes:
                if node.is_running:
                    await node.stop_cleanly()
        except BaseException:
            for node in nodes:
                print(f"--- {node.name} ({node.place.ip}) ---\n{node.log_end(60)}")
            raise


def offset_places(ip: str, count: int) -> list[Place]:
    """Places on one address (empty: on all), told apart by their port offset.

    The highest offsets come first: they are in nobody's way.
    """
    found = [place for offset in range(280, -10, -10) if is_free(place := Place(ip, offset))]
    if len(found) < count:
        pytest.skip(f"{ip or 'this machine'} has no room for {count} nodes")
    return found[:count]


@contextlib.asynccontextmanager
async def phone_of(account: Account, **settings: Any) -> AsyncIterator[Phone]:
    """A phone registered as `account`; keywords go to `Phone`, or to `register` if it has them."""
    registering = {key: settings.pop(key) for key in _REGISTERING if key in settings}
    async with Phone(name=account["login"], **settings) as phone:
        await phone.register(
            account["login"], account["password"], server=account["server"], **registering
        )
        yield phone


__all__ = [
    "Account",
    "NodeProcess",
    "Place",
    "add_user",
    "free_places",
    "offset_places",
    "phone_of",
    "running_nodes",
]
