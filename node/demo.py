"""`ringmesh demo`: three nodes and two phones on this machine, a call through the mesh, measured.

Everything is real: nodes are processes run by the same command line that a person uses, phones are
pjsua2 processes, and what each phone heard is judged from its recording. Nothing is left behind.
"""

import asyncio
import contextlib
import json as json_text
import secrets
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.table import Table

from federation.model.errors import RingmeshError
from federation.model.number import Number
from node.phone.check import CallReport, measure_call, measure_echo
from node.phone.phone import Phone
from node.phone.process import require_wheel
from node.phone.tones import Verdict
from node.spawned import SpawnedNode, SpawnedNodeError, free_places, peer_count

NODES = 3
MEET_WITHIN = 10.0
"Seconds for nodes to find each other by multicast before they are told of one another."
FOUND_WITHIN = 20.0
"Seconds until a new number can be found from another node."
LISTEN = 2.5
"Seconds of sound that are judged in each call."
INTERRUPTED = 130
_POLL = 0.25


class Teller(Protocol):
    """Whoever hears how the demo goes."""

    def step(self, what: str) -> contextlib.AbstractContextManager[None]:
        """A step begins; it is done when the block ends."""

    def note(self, text: str) -> None:
        """A line about the step."""

    def end(self, outcome: "Outcome") -> None:
        """Everything is known."""


@dataclass(slots=True)
class Outcome:
    """What the demo found out."""

    network: str
    nodes: list[dict[str, Any]] = field(default_factory=list)
    accounts: list[dict[str, Any]] = field(default_factory=list)
    path: dict[str, Any] = field(default_factory=dict)
    calls: dict[str, CallReport] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether everything was heard."""
        return not self.problems and all(call.ok for call in self.calls.values())

    def as_json(self) -> dict[str, Any]:
        """The outcome for a machine."""
        return {
            "ok": self.ok,
            "network": self.network,
            "nodes": self.nodes,
            "accounts": self.accounts,
            "path": self.path,
            "calls": {name: call.as_json() for name, call in self.calls.items()},
            "problems": self.problems,
        }


def run_demo(*, as_json: bool, keep: Path | None = None) -> int:
    """Run the demo to its end, Ctrl-C and SIGTERM included; returns the exit code."""
    try:
        return asyncio.run(run(json=as_json, keep=keep))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return INTERRUPTED


async def run(*, json: bool, keep: Path | None = None) -> int:
    """Run the demo; 0 if every call was heard, 1 if not.

    States and logs of the nodes are temporary, or stay in `keep`. Whatever happens, phones and
    nodes are gone when this returns or raises.
    """
    outcome = Outcome(network=f"demo-{secrets.token_hex(4)}")
    teller: Teller = _Silent() if json else _Screen()
    with _folder(keep) as folder, _ended_by_sigterm():
        try:
            require_wheel()
            await _Demo(folder, outcome, teller).run()
        except RingmeshError as error:
            outcome.problems.append(str(error))
    if json:
        Console(soft_wrap=True, highlight=False, markup=False).print(
            json_text.dumps(outcome.as_json(), indent=2, ensure_ascii=False)
        )
    else:
        teller.end(outcome)
    return 0 if outcome.ok else 1


@contextlib.contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="ringmesh-demo-") as folder:
        yield Path(folder)


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the demo as Ctrl-C does: cancelled, cleaned up."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    try:
        loop.add_signal_handler(signal.SIGTERM, task.cancel)
    except (NotImplementedError, RuntimeError):
        yield  # no signals on this platform, or in this thread
        return
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


class _Demo:
    """The story, step by step."""

    def __init__(self, folder: Path, outcome: Outcome, teller: Teller) -> None:
        self._folder = folder
        self._outcome = outcome
        self._tell = teller

    async def run(self) -> None:
        async with self._running_nodes() as nodes:
            await self._meet(nodes)
            caller_node, callee_node = nodes[0], nodes[-1]
            with self._tell.step("adding alice on node1 and bob on node3"):
                alice, bob = await asyncio.gather(
                    caller_node.add_user("alice"), callee_node.add_user("bob")
                )
                for account in (alice, bob):
                    public = {key: value for key, value in account.items() if key != "password"}
                    self._outcome.accounts.append(public)
                    self._tell.note(
                        f"{account['login']} has {Number(account['number']).spoken}, "
                        f"server {account['server']}"
                    )
            async with (
                Phone(name="alice", local_ip=_phone_ip(caller_node)) as alices,
                Phone(name="bob", local_ip=_phone_ip(callee_node)) as bobs,
            ):
                with self._tell.step("registering a real phone (pjsua2) on each"):
                    for phone, account in ((alices, alice), (bobs, bob)):
                        server = account["server"]
                        await phone.register(account["login"], account["password"], server=server)
                        self._tell.note(f"{account['login']} is registered at {server} over UDP")
                await self._find(caller_node, bob["number"])
                report = await self._call("alice calls bob by number", alices, bobs, bob["number"])
                await self._find(callee_node, alice["number"])
                back = self._number_shown(report, alice["number"])
                await self._call("bob calls back the number he saw", bobs, alices, back)
                by_key = f"bob@{callee_node.status['key_name']}"
                await self._call("alice calls bob by his node's key", alices, bobs, by_key)
                with self._tell.step("alice calls the echo test, *43"):
                    report = await measure_echo(alices, "*43", seconds=LISTEN)
                    self._note_call("echo test", report)
            await self._stop(nodes)

    @contextlib.asynccontextmanager
    async def _running_nodes(self) -> AsyncIterator[list[SpawnedNode]]:
        async with contextlib.AsyncExitStack() as stack:
            with self._tell.step(f"starting {NODES} nodes on network {self._outcome.network}"):
                nodes = [
                    SpawnedNode(
                        f"node{number}",
                        place,
                        folder=self._folder,
                        network=self._outcome.network,
                        options=("--workers", "1"),
                    )
                    for number, place in enumerate(free_places(NODES), 1)
                ]
                for node in nodes:
                    await stack.enter_async_context(node)
                begun = time.monotonic()
                for status in await asyncio.gather(*(node.ready() for node in nodes)):
                    self._outcome.nodes.append(status)
                for node in nodes:
                    self._tell.note(f"{node.name} on {node.place.ip}: {node.status['key_name']}")
                self._tell.note(f"ready after {time.monotonic() - begun:.1f} s, first start")
            yield nodes

    async def _meet(self, nodes: list[SpawnedNode]) -> None:
        with self._tell.step("the nodes find each other"):
            begun = time.monotonic()
            try:
                await self._all_met(nodes)
                self._tell.note(f"by multicast DNS, after {time.monotonic() - begun:.1f} s")
            except SpawnedNodeError:
                self._tell.note("multicast does not work here: starting again with --join")
                for node in nodes[1:]:
                    await node.stop()
                    await node.start("--join", nodes[0].place.mesh)
                await asyncio.gather(*(node.ready() for node in nodes[1:]))
                await self._all_met(nodes)

    @staticmethod
    async def _all_met(nodes: list[SpawnedNode]) -> None:
        def knows_all(status: dict[str, Any]) -> bool:
            return peer_count(status) >= NODES - 1

        what = "in contact with the other nodes"
        await asyncio.gather(*(node.until(knows_all, MEET_WITHIN, what) for node in nodes))

    async def _find(self, node: SpawnedNode, number: str) -> None:
        """Wait until `node` can find `number` without anybody but its peers."""
        with self._tell.step(f"{node.name} looks for {Number(number).spoken}"):
            begun = time.monotonic()
            while True:
                code, output, errors = await node.command("resolve", number, "--json")
                if code == 0:
                    break
                if time.monotonic() - begun > FOUND_WITHIN:
                    raise SpawnedNodeError(
                        f"{node.name} cannot find {number}: {errors or output}\n{node.log_end()}"
                    )
                await asyncio.sleep(_POLL)
            self._outcome.path[number] = found = json_text.loads(output)
            for answering in found.get("nodes", []):
                where = ", ".join(answering.get("addresses", [])) or "address unknown"
                self._tell.note(f"it lives on {answering['node_id'][:16]}… at {where}")

    def _number_shown(self, report: CallReport, number: str) -> str:
        """The number that the callee's phone showed, which must be the caller's and vouched for."""
        shown = report.shown.uri if report.shown else ""
        dialled_back = shown.partition(":")[2].partition("@")[0]
        if report.ok and dialled_back != number:
            self._outcome.problems.append(f"the callee saw {shown} instead of {number}")
        if report.ok and report.asserted is None:
            self._outcome.problems.append(f"nobody vouched for the caller's number {number}")
        return dialled_back or number

    async def _call(self, name: str, caller: Phone, callee: Phone, target: str) -> CallReport:
        with self._tell.step(name):
            report = await measure_call(caller, callee, target, seconds=LISTEN)
            if report.caller_rtp is not None and report.callee_rtp is not None:
                self._tell.note(
                    f"path: phone {caller.local_ip} -> anchor {report.caller_rtp.remote} "
                    f"-> sealed leg -> anchor {report.callee_rtp.remote} -> phone {callee.local_ip}"
                )
            self._note_call(name, report)
        return report

    def _note_call(self, name: str, report: CallReport) -> None:
        self._outcome.calls[name] = report
        for line in report.lines():
            self._tell.note(line)

    async def _stop(self, nodes: list[SpawnedNode]) -> None:
        with self._tell.step("stopping the nodes"):
            codes = await asyncio.gather(*(node.stop() for node in nodes))
            for node, code in zip(nodes, codes, strict=True):
                if code != 0:
                    self._outcome.problems.append(
                        f"{node.name} ended with exit code {code}\n{node.log_end()}"
                    )


def _phone_ip(node: SpawnedNode) -> str:
    """A phone stands beside its node: on the same address, with ports of its own."""
    return node.place.ip


class _Silent:
    """For machines: only the outcome counts."""

    @contextlib.contextmanager
    def step(self, what: str) -> Iterator[None]:
        yield

    def note(self, text: str) -> None:
        pass

    def end(self, outcome: Outcome) -> None:
        pass


class _Screen:
    """For people: each step with its time, and a table at the end."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._number = 0

    @contextlib.contextmanager
    def step(self, what: str) -> Iterator[None]:
        self._number += 1
        self._console.print(f"[bold]{self._number}. {what}[/bold]")
        begun = time.monotonic()
        with self._console.status("…"):
            yield
        self._console.print(f"   [dim]{time.monotonic() - begun:.1f} s[/dim]")

    def note(self, text: str) -> None:
        self._console.print(f"   {text}", markup=False, soft_wrap=True)

    def end(self, outcome: Outcome) -> None:
        table = Table("call", "rang after", "stood after", "caller heard", "callee heard", "")
        for name, report in outcome.calls.items():
            table.add_row(
                name,
                _milliseconds(report.post_dial_delay),
                _milliseconds(report.set_up_time),
                _heard(report.by_caller),
                _heard(report.by_callee),
                "[green]ok[/green]" if report.ok else "[red]failed[/red]",
            )
        if outcome.calls:
            self._console.print(table)
        for problem in outcome.problems:
            self._console.print(problem, style="red", markup=False)
        if outcome.ok:
            self._console.print("[bold green]Everything was heard.[/bold green]")
        else:
            self._console.print("[bold red]Not everything was heard.[/bold red]")


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.0f} ms"


def _heard(verdict: Verdict | None) -> str:
    if verdict is None:
        return "-"
    if verdict.frequency is None:
        return "silence"
    return f"{verdict.frequency:.0f} Hz {verdict.level:.1f} dBFS, loss {verdict.loss:.2%}"
