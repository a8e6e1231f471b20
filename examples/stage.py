"""The stage of the other examples: nodes on this machine that know each other, gone afterwards.

Each node is a process of its own with an address in 127.0.0.0/16, its state in a temporary folder
and one network name for all, so that nothing of it meets a real network. It is started and asked
as a person would.
"""

import asyncio
import contextlib
import secrets
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from federation.model.errors import RingmeshError
from node.api_client import ApiClient
from node.phone.call import Call
from node.phone.phone import Phone
from node.phone.tones import dominant_frequency
from node.spawned import SpawnedNode, free_places, peer_count

FOUND_WITHIN = 20.0
"Seconds until a new number can be called from another node."


@contextlib.asynccontextmanager
async def some_nodes(
    *names: str, options: Sequence[str] = (), settings: str = ""
) -> AsyncIterator[list[SpawnedNode]]:
    """Nodes that know each other; `settings` is a configuration file of all of them."""
    network = f"example-{secrets.token_hex(4)}"
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ringmesh-example-")))
        file = folder / "ringmesh.toml"
        file.write_text(settings)
        nodes: list[SpawnedNode] = []
        for name, place in zip(names, free_places(len(names)), strict=True):
            further = ["--no-mdns", "--workers", "1", "--config", str(file), *options]
            if nodes:  # one that is known is enough; they tell each other of the rest
                further += ["--join", nodes[0].place.mesh]
            node = SpawnedNode(name, place, folder=folder, network=network, options=further)
            nodes.append(await stack.enter_async_context(node))
        for node in nodes:
            await node.ready()
        for node in nodes:
            await node.until(lambda s: peer_count(s) >= len(nodes) - 1, FOUND_WITHIN, "joined")
        yield nodes
        for node in nodes:
            await node.stop()


async def can_call(node: SpawnedNode, target: str) -> dict[str, Any]:
    """Wait until `node` finds `target`; returns what `ringmesh resolve` says of it."""
    client = ApiClient(node.state / "api.sock")  # as the command line does
    async with asyncio.timeout(FOUND_WITHIN):
        while True:
            found: dict[str, Any] = await asyncio.to_thread(client.get, "resolve", uri=target)
            if found["status"] == 200:
                return found
            await asyncio.sleep(0.2)


@contextlib.asynccontextmanager
async def registered(account: dict[str, Any], **settings: Any) -> AsyncIterator[Phone]:
    """A phone, or a PBX, with the three parameters of an account."""
    async with Phone(name=account["login"], **settings) as phone:
        await phone.register(account["login"], account["password"], server=account["server"])
        yield phone


async def pitch(call: Call, seconds: float = 0.8) -> int | None:
    """The tone that is heard in a call, to the next 20 Hz."""
    frequency = dominant_frequency(await call.listen(seconds))
    return None if frequency is None else round(frequency / 20) * 20


def run(main: Callable[[], Awaitable[int]]) -> None:
    """Run an example and end with its exit code; what goes wrong is one sentence."""
    try:
        sys.exit(asyncio.run(main()))  # type: ignore[arg-type]
    except RingmeshError as error:
        sys.exit(str(error))
    except TimeoutError:
        sys.exit("something took longer than it should; try again")
    except KeyboardInterrupt:
        sys.exit(130)
