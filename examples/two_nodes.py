"""Two nodes in one process: the program used as a library.

    python examples/two_nodes.py

Each node gets an address of its own on this machine, a state folder that is deleted afterwards,
and one account. Then one node finds the other's account in three ways that a phone could dial: by
number, by the name of the node's key, and by a number that nobody has. No call is placed; that is
what `examples/softphone.py` and `ringmesh demo` do.
"""

import asyncio
import contextlib
import secrets
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from dht.overlay_id import solve
from dht.record import Kind
from federation.model.clocks import SystemEntropy
from federation.model.errors import RingmeshError
from federation.model.number import Number
from node.app import Node
from node.config import Config, LogConfig, MediaConfig, MeshConfig
from node.logs import configure
from node.process import Identity
from node.spawned import Place, free_places
from node.state import StateFolder


@contextlib.asynccontextmanager
async def running_node(folder: Path, config: Config) -> AsyncIterator[Node]:
    """A node on a state folder, from its first start until the block is left."""
    state = StateFolder.open(folder)
    with state.lock():
        entropy = SystemEntropy()
        key = state.node_key(entropy)
        nonce = await asyncio.to_thread(solve, key.id, config.net, entropy=entropy)
        node = Node(config, state, Identity(key, nonce))
        await node.start()
        try:
            yield node
        finally:
            await node.stop()


def settings(place: Place, network: str) -> Config:
    """The settings that `ringmesh up` would make of its options."""
    return Config(
        network=network,
        listen=place.ip,
        port_offset=place.port_offset,
        mesh=MeshConfig(mdns=False),
        media=MediaConfig(workers=1),
    )


async def account_on(node: Node, login: str) -> dict[str, Any]:
    """Make an account, and wait until other nodes can find it."""
    sheet = await node.user_add(login)
    account = node.accounts.by_login(login)
    assert account is not None
    await node.directory.published(Kind.USER, login)
    await node.directory.published(Kind.NUMBER, sheet["number"], account.id)
    return sheet


async def show(node: Node, target: str) -> bool:
    """Print where a call from `node` to `target` would go; `True` if anywhere."""
    answer = await node.resolve(target)
    print(f"  {target}")
    print(f"    {answer['status']} {answer['reason']}")
    for found in answer["nodes"]:
        print(f"    node {found['node_id'][:16]}… at {', '.join(found['addresses'])}")
    return bool(answer["status"] == 200)


async def main() -> int:
    """Start both, give each an account, look from each for the other's; the exit code."""
    configure(LogConfig(level="error"))
    network = f"example-{secrets.token_hex(4)}"  # apart from every other node
    here, there = free_places(2)
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="two-nodes-")))
        one = await stack.enter_async_context(running_node(folder / "one", settings(here, network)))
        two = await stack.enter_async_context(
            running_node(folder / "two", settings(there, network))
        )
        if not await two.directory.join(one.own_endpoints):
            print("the nodes did not find each other", file=sys.stderr)
            return 1

        alice, bob = await account_on(one, "alice"), await account_on(two, "bob")
        for name, node, sheet in (("one", one, alice), ("two", two, bob)):
            print(f"node {name}: {node.node_id.text[:16]}… at {node.own_endpoints[0]}")
            print(f"  login {sheet['login']}, password {sheet['password']}")
            print(f"  server {sheet['server']}, number {Number(sheet['number']).spoken}")

        print("node one looks for bob")
        found = [
            await show(one, bob["number"]),
            await show(one, f"bob@{two.node_id.key_name}"),
        ]
        print("node two looks for alice, and for a number that nobody has")
        found.append(await show(two, alice["number"]))
        nobody = await show(two, "099999999999999")
    print("both nodes are stopped, their folders are gone")
    return 0 if all(found) and not nobody else 1


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main()))
    except RingmeshError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
