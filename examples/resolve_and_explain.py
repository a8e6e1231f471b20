"""Where would a call go, and why? The same questions that `ringmesh resolve` and `why` ask.

    python examples/resolve_and_explain.py                 # on two nodes of its own
    python examples/resolve_and_explain.py ~/.local/state/ringmesh '0474 8937 4824 400'

It speaks to a running node over its API, JSON over HTTP on a Unix socket in the state folder; any
language with an HTTP client can do the same. Nothing is called.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

from stage import can_call, run, some_nodes

from node.api_client import ApiClient

NOBODYS = "099999999999999"
"A number that no key has."


def explain(client: ApiClient, target: str) -> dict[str, Any]:
    """Ask a node about a target and print what it says."""
    answer: dict[str, Any] = client.get("why", uri=target)
    print(f"{target}: {answer['status']} {answer['reason']}")
    print(f"  read as: {answer['reading']}")
    for lookup in answer["lookups"]:
        print(
            f"  looked for {lookup['record']}: {lookup['result']}, {lookup['asked']} nodes asked, "
            f"{lookup['seconds'] * 1000:.0f} ms"
        )
        for record in lookup["records"]:
            print(f"    published by {record['publisher'][:16]}…: {record['verdict']}")
    for pin in answer["pins"]:
        print(f"  pinned since {pin['since']}: {pin['verdict']}")
    for found in answer["nodes"]:
        print(f"  node {found['node_id'][:16]}… at {', '.join(found.get('addresses', []))}")
    return answer


async def main() -> int:
    """Explain what was asked for, or what there is to explain on two nodes."""
    if len(sys.argv) == 3:
        answer = explain(ApiClient(Path(sys.argv[1]) / "api.sock"), sys.argv[2])
        return 0 if answer["status"] == 200 else 1
    if len(sys.argv) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    async with some_nodes("here", "there") as (here, there):
        bob = await there.add_user("bob")
        await can_call(here, bob["number"])
        client = ApiClient(here.state / "api.sock")
        key_name = there.status["key_name"]
        targets = ("echo", bob["number"], f"bob@{key_name}", NOBODYS, "112", "12345")
        statuses = [
            (await asyncio.to_thread(explain, client, target))["status"] for target in targets
        ]
    return 0 if statuses == [200, 200, 200, 404, 403, 404] else 1


if __name__ == "__main__":
    run(main)
