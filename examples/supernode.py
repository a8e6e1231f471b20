"""A supernode: a node without users that relays for others, within what its owner allows.

    python examples/supernode.py

`ringmesh relay on --kbit … --sessions … --gb-month …` is all that it takes on a machine with a
public address. Here another node looks for such relays, borrows one, and gives it back; then the
supernode stops lending, at once, with `relay off`.
"""

import asyncio
from typing import Any

from stage import FOUND_WITHIN, run, some_nodes

from node.api_client import ApiClient
from node.spawned import SpawnedNode

# Addresses of this machine are never relayed to, but for tests.
SETTINGS = '[relay]\nallow_peers = ["127.0.0.0/8"]\n'
LIMITS = ("--kbit", "800", "--sessions", "4", "--gb-month", "5")


async def main() -> int:
    """Lend, borrow, give back, stop lending; the exit code is 1 if a step fails."""
    async with some_nodes("super", "home", settings=SETTINGS) as (supernode, home):
        before = await home.ask("relay", "candidates")
        print(f"before: {len(before)} nodes relay for strangers")
        agreed = await supernode.ask("relay", "on", *LIMITS)
        print(f"the supernode lends: {agreed['limits']}")
        (candidate,) = await candidates(home, 1)
        print(f"found: {candidate['address']}, {candidate['sessions_free']} sessions free")

        client = ApiClient(home.state / "api.sock")
        lease = (await asyncio.to_thread(borrow, client))[0]
        print(f"borrowed: {', '.join(lease['uris'])}")
        print(f"  as {lease['username']}, whose password ends by itself")
        receipt = await asyncio.to_thread(client.delete, "relay", "leases", str(lease["lease"]))
        print(f"given back; the supernode's signed receipt: {receipt}")

        await supernode.ask("relay", "off")
        await candidates(home, 0)
        print("after `relay off`: none")
    return 0


def borrow(client: ApiClient) -> list[dict[str, Any]]:
    """What an application asks its own node for: TURN credentials at somebody else's relay."""
    leases: list[dict[str, Any]] = client.post("relay", "leases", body={"count": 1})
    return leases


async def candidates(node: SpawnedNode, count: int) -> list[dict[str, Any]]:
    """Wait until a node knows that many relays."""
    async with asyncio.timeout(FOUND_WITHIN):
        while True:
            found: list[dict[str, Any]] = await node.ask("relay", "candidates")
            if len(found) == count:
                return found
            await asyncio.sleep(0.3)


if __name__ == "__main__":
    run(main)
