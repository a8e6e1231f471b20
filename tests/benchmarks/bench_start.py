"""How long a node takes from its command line to ready, on a start that is not its first."""

import asyncio
import json
import os
import secrets
import sys
import tempfile
import time
from pathlib import Path

from node.spawned import Place, free_places
from node.tether import tethered
from tests.benchmarks.figures import show, title

GOAL_SECONDS = 2.0
STARTS = 5
READY_WITHIN = 60.0


async def start(state: Path, place: Place, network: str) -> tuple[float, float]:
    """Start a node, wait until it is ready and end it; returns wall and CPU seconds till then."""
    began, before = time.monotonic(), os.times()
    process = await asyncio.create_subprocess_exec(
        *tethered(
            *(sys.executable, "-m", "node.cli.main", "up", "--state", str(state), "--json"),
            *("--listen", place.ip, "--port-offset", str(place.port_offset)),
            *("--network", network, "--workers", "2", "--no-mdns"),
        ),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    async with asyncio.timeout(READY_WITHIN):
        while "ready" not in json.loads(line := await process.stdout.readline() or b"{}"):
            if line == b"{}":
                raise RuntimeError("the node ended before it was ready")
    took = time.monotonic() - began
    process.terminate()
    await process.wait()
    after = os.times()
    if process.returncode != 0:
        raise RuntimeError(f"the node ended with exit code {process.returncode}")
    used = after.children_user + after.children_system
    return took, used - before.children_user - before.children_system


async def main() -> int:
    """Print the figures."""
    title("Start to ready, state at hand:")
    with tempfile.TemporaryDirectory(prefix="ringmesh-bench-") as folder:
        state, place = Path(folder) / "node", free_places(1)[0]
        network = f"bench-{secrets.token_hex(4)}"
        await start(state, place, network)
        taken = [await start(state, place, network) for _ in range(STARTS)]
    walls, cpus = sorted(wall for wall, _ in taken), sorted(cpu for _, cpu in taken)
    show(f"median of {STARTS} starts", walls[STARTS // 2], "s", goal=GOAL_SECONDS)
    show("slowest", walls[-1], "s", goal=GOAL_SECONDS)
    show("CPU time of all processes, stop included", cpus[STARTS // 2], "s")
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
