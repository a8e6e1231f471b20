"""Twice the calls that one core carries: how many are finished still, and how fast they ring.

The node, as it is and compiled where `make fast` has made that, and SIPp have a core each. First
the load grows until calls are lost: that is the carried maximum. Then twice as many are offered. A
call counts as finished after its BYE was answered; its set-up lasts from the first INVITE to the
200. SIPp repeats what is not answered, as phones do, and a call that got 503 is over. Kamailio,
where it is installed, takes the same beside it, in its default of not refusing anything.
"""

import asyncio
import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from node.spawned import free_places
from tests.benchmarks.bench_sip import KAMAILIO, SETTLE, Server, a_kamailio, a_node, builds
from tests.benchmarks.figures import scheduled_seconds, show, skipped, title
from tests.benchmarks.load import Sipp, called, prepared_rows
from tests.support.programs import PACKAGES

SECONDS = 8
FIRST_RATE, STEP = 250, 1.3
"Calls a second that are offered first while the maximum is looked for, and how that grows."
LOST = 0.02
"Part of the calls that may fail while a rate counts as carried."
KEPT_GOAL = 0.8
SETUP_GOAL = 1.0
REST = 3.0
"Seconds between two loads."
NODE_CORE, SIPP_CORE = 0, 1


@dataclass(frozen=True, slots=True)
class Carried:
    """What became of one load."""

    offered: float
    "Calls begun a second."
    finished: float
    "Calls finished a second."
    refused: float
    "Calls a second that ended with 503."
    setup: float
    "Seconds to the 200, the 99th percentile of those that got it."
    share: float
    "Part of a core that the server had."
    waited: float
    "Part of the time that it could have run and something else did."

    def __str__(self) -> str:
        return (
            f"offered {self.offered:,.0f}/s, 503 {self.refused:,.0f}/s, "
            f"set-up p99 {self.setup:.2f} s, {self.share:.0%} of a core, "
            f"{self.waited:.0%} kept from it"
        )


class Overload:
    """Puts loads on one server."""

    def __init__(self, name: str, server: Server, folder: Path) -> None:
        self.name = name
        self._server = server
        self._sipp = Sipp(folder, server.place, server.pids, core=SIPP_CORE)
        for pid in server.pids:
            _pin(pid, NODE_CORE)

    async def measure(self) -> tuple[Carried, Carried]:
        """The carried maximum, and what became of twice as much."""
        rate, most = FIRST_RATE, await self._load(FIRST_RATE)
        while True:
            rate = round(rate * STEP)
            found = await self._load(rate)
            most = max(most, found, key=lambda load: load.finished)
            if found.finished < (1 - LOST) * found.offered:
                break
        twice = await self._load(2 * round(most.finished))
        show(f"{self.name}: most that is carried", most.finished, "calls/s", note=str(most))
        show(f"{self.name}: finished of twice as much", twice.finished, "calls/s", note=str(twice))
        return most, twice

    async def _load(self, rate: int) -> Carried:
        """Offer calls for `SECONDS`."""
        server, count = self._server, rate * SECONDS
        aims = [user.login for user in server.callees]
        rows = await prepared_rows(server.place, server.callers, aims, "INVITE", count)
        async with (
            called(server.place, server.callees) as phone,
            self._sipp.answering("answer", [phone]),
        ):
            await asyncio.sleep(SETTLE)
            before, began = scheduled_seconds(*server.pids), time.monotonic()
            offered = await self._sipp.offer("call_refusable", rows, rate=rate, count=count)
            after, took = scheduled_seconds(*server.pids), time.monotonic() - began
        await asyncio.sleep(REST)
        setups = sorted(offered.response_times)
        return Carried(
            rate,
            offered.successful / SECONDS,
            offered.counted / SECONDS,
            setups[len(setups) * 99 // 100] if setups else float("inf"),
            (after[0] - before[0]) / took,
            (after[1] - before[1]) / took,
        )


def _pin(pid: int, core: int) -> None:
    """Give every thread of a process one core."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})


async def main() -> int:
    """Print the figures."""
    title("Calls without SDP over UDP, the server on one core:")
    if shutil.which("sipp") is None:
        skipped("everything", f"SIPp is absent (apt-get install {PACKAGES['sipp']})")
        return 0
    if (os.cpu_count() or 1) < 2:
        skipped("everything", "the server and SIPp need a core each")
        return 0
    with tempfile.TemporaryDirectory(prefix="ringmesh-bench-") as name:
        folder = Path(name)
        for build, environment in builds().items():
            own = folder / build
            own.mkdir()
            async with a_node(own, free_places(1)[0], environment) as node:
                most, twice = await Overload(build, node, own / "load").measure()
            kept = twice.finished / most.finished
            show(f"{build}: part lost at twice the load", 1 - kept, "", goal=1 - KEPT_GOAL)
            show(f"{build}: set-up of what was taken on", twice.setup, "s", goal=SETUP_GOAL)
        if shutil.which("kamailio") is None:
            skipped("Kamailio beside it", f"absent (apt-get install {PACKAGES['kamailio']})")
            return 0
        async with a_kamailio(folder, free_places(1)[0]) as other:
            await Overload(KAMAILIO, other, folder / "other-load").measure()
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
