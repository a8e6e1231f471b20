"""Places calls between all phones of a testbed, measures what is heard, and says how it went.

`python -m testbed.check --folder DIR` needs nothing but the folder that all programs of the testbed
share. The exit code is 0 if every call was heard, 1 if not.
"""

import argparse
import asyncio
import contextlib
import fcntl
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from federation.model.errors import RingmeshError
from node.phone.check import CallReport, measure_call
from testbed.chaos import chaos
from testbed.desk import NodeDesk, NodeDeskError
from testbed.folder import Folder
from testbed.limits import ANSWER_WITHIN, SECONDS, limits_between
from testbed.matrix import Outcome, Pair, all_pairs, rounds, table, verdict
from testbed.people import Person, person
from testbed.servers import pbx_calls, provider_calls
from testbed.topology import Topology, read

READY_WITHIN = 60.0
"Seconds until a node is ready; containers may still be starting."
MEET_WITHIN = 30.0
FIND_WITHIN = 30.0
INTERRUPTED = 130


class Check:
    """One run, step by step."""

    def __init__(
        self, topology: Topology, folder: Folder, console: Console, *, loss: float, at_once: int
    ) -> None:
        self._topology = topology
        self._folder = folder
        self._console = console
        self._loss = loss
        self._at_once = at_once
        self.outcome = Outcome()
        self.desks = {name: NodeDesk(name, folder.state(name)) for name in topology.nodes}
        self.people: dict[str, Person] = {}

    async def run(self, pairs: Sequence[Pair], parts: argparse.Namespace) -> None:
        """All that was asked for; what goes wrong is in the outcome."""
        async with contextlib.AsyncExitStack() as stack:
            try:
                await self._meet()
                names = dict.fromkeys(name for pair in pairs for name in (pair.caller, pair.callee))
                if parts.pbx or parts.provider or parts.chaos:
                    names |= dict.fromkeys(self._topology.phones)
                await self._bring(list(names), stack)
                await self._call_all(pairs)
                for wanted, place in ((parts.pbx, pbx_calls), (parts.provider, provider_calls)):
                    if wanted:
                        await self._further(place(self._topology, self._folder, self.people))
                if parts.chaos:
                    rounds_of = chaos(self._topology, self._folder, self.people, self.desks)
                    await self._further(rounds_of)
            except RingmeshError as error:
                self.outcome.problems.append(str(error))

    async def _meet(self) -> None:
        with self._step("nodes are ready"):
            for name, status in zip(
                self.desks,
                await asyncio.gather(
                    *(
                        desk.until(
                            lambda status: bool(status["ready"]),
                            "status",
                            within=READY_WITHIN,
                            what="ready",
                        )
                        for desk in self.desks.values()
                    )
                ),
                strict=True,
            ):
                self.outcome.nodes[name] = {
                    key: status[key] for key in ("node_id", "addresses", "version")
                }
        others = len(self.desks) - 1
        with self._step("each node knows all others"):
            await asyncio.gather(
                *(
                    desk.until(
                        lambda status: int(status["peers"]) >= others,
                        "status",
                        within=MEET_WITHIN,
                        what=f"in contact with {others} nodes",
                    )
                    for desk in self.desks.values()
                )
            )

    async def _bring(self, names: Sequence[str], stack: contextlib.AsyncExitStack) -> None:
        with self._step("phones are registered"):
            for name in names:
                desk = self.desks[self._topology.phones[name].node]
                self.people[name] = await person(self._topology, name, self._folder, desk)
            everybody = self.people.values()
            await asyncio.gather(*(stack.enter_async_context(one.phone) for one in everybody))
            await asyncio.gather(*(one.register() for one in everybody))
        with self._step("every number is found from every node"):
            await asyncio.gather(
                *(
                    desk.finds(one.number, within=FIND_WITHIN)
                    for desk in {one.desk.name: one.desk for one in everybody}.values()
                    for one in everybody
                )
            )

    async def _call_all(self, pairs: Sequence[Pair]) -> None:
        with self._step(f"{len(pairs)} calls"):
            for here in rounds(list(pairs), self._at_once):
                reports = await asyncio.gather(*(self._call(pair) for pair in here))
                for pair, report in zip(here, reports, strict=True):
                    self.outcome.calls[pair] = report
                    self._tell(f"{pair.caller} calls {pair.callee}", report)

    async def _call(self, pair: Pair) -> CallReport:
        caller, callee = self.people[pair.caller], self.people[pair.callee]
        return await measure_call(
            caller.phone,
            callee.phone,
            callee.number,
            seconds=SECONDS,
            within=ANSWER_WITHIN,
            limits=limits_between(self._topology, pair, self._loss),
        )

    async def _further(self, calls: AsyncIterator[tuple[str, CallReport]]) -> None:
        async for name, report in calls:
            self.outcome.further[name] = report
            self._tell(name, report)

    def _tell(self, name: str, report: CallReport) -> None:
        colour = "green" if report.ok else "red"
        self._console.print(f"   {name}: [{colour}]{verdict(report)}[/{colour}]")
        for problem in report.problems:
            self._console.print(f"      {problem}", markup=False)

    @contextlib.contextmanager
    def _step(self, what: str) -> Iterator[None]:
        begun = time.monotonic()
        yield
        took = self.outcome.seconds[what] = time.monotonic() - begun
        self._console.print(f"{what} [dim]({took:.1f} s)[/dim]")


def wanted_pairs(topology: Topology, only: Sequence[str]) -> list[Pair]:
    """All pairs, or those that were asked for as `alice-bob`.

    Raises:
        RingmeshError: there is no such pair.
    """
    everybody = all_pairs(list(topology.phones))
    if not only:
        return everybody
    known = {str(pair): pair for pair in everybody}
    for text in only:
        if text not in known:
            names = ", ".join(topology.phones)
            raise NodeDeskError(f"{text!r} is no pair like alice-bob; the phones are {names}")
    return [known[text] for text in only]


def parser() -> argparse.ArgumentParser:
    """The options that say what is checked; `make testbed` has them as well."""
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument(
        "--only", metavar="A-B", action="append", default=[], help="only the call from A to B"
    )
    options.add_argument(
        "--loss", metavar="PERCENT", type=float, default=0.0, help="UDP that gateways lose"
    )
    options.add_argument("--pbx", action="store_true", help="also the PBX and its trunk")
    options.add_argument("--provider", action="store_true", help="also the provider and its number")
    options.add_argument("--chaos", action="store_true", help="also kill nodes while calls go on")
    options.add_argument("--json", action="store_true", help="print the outcome as JSON")
    options.add_argument(
        "--at-once", metavar="N", type=int, default=2, help="calls at the same time (2)"
    )
    return options


async def check(folder: Folder, given: argparse.Namespace) -> Outcome:
    """Run the check; Ctrl-C and SIGTERM end it with everything hung up."""
    topology = read()
    console = Console(highlight=False, quiet=given.json)
    run = Check(topology, folder, console, loss=given.loss, at_once=given.at_once)
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None

    def end() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)  # it is ending: a second one changes nothing
        task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    await run.run(wanted_pairs(topology, given.only), given)
    if run.outcome.calls:
        console.print(table(run.outcome.calls))
    for problem in run.outcome.problems:
        console.print(problem, style="red", markup=False)
    return run.outcome


def main() -> None:
    """Read the command line, check, and exit with 0 or 1."""
    options = argparse.ArgumentParser(
        prog="testbed.check", description="Call between all phones.", parents=[parser()]
    )
    options.add_argument("--folder", type=Path, required=True, help="shared by all programs")
    given = options.parse_args()
    folder = Folder(given.folder)
    folder.make()
    turn = folder.turn.open("w")
    fcntl.flock(turn, fcntl.LOCK_EX)  # another check may be at it: a phone serves one at a time
    tempfile.tempdir = os.fspath(folder.sounds)  # where phones, too, can write
    try:
        outcome = asyncio.run(check(folder, given))
    except RingmeshError as error:
        sys.exit(str(error))
    except asyncio.CancelledError:
        sys.exit(INTERRUPTED)
    if given.json:
        _print_json(outcome.as_json())
    sys.exit(0 if outcome.ok else 1)


def _print_json(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
