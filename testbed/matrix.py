"""Who called whom, and what was heard: as a table for people and as JSON."""

from dataclasses import dataclass, field
from itertools import permutations
from typing import Any

from rich.table import Table

from node.phone.check import CallReport


@dataclass(frozen=True, slots=True)
class Pair:
    """One call that is to be placed."""

    caller: str
    callee: str

    def __str__(self) -> str:
        return f"{self.caller}-{self.callee}"


@dataclass(slots=True)
class Outcome:
    """What the check found."""

    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    calls: dict[Pair, CallReport] = field(default_factory=dict)
    "Between the phones, in the order of their end."
    further: dict[str, CallReport] = field(default_factory=dict)
    "Of PBXs, providers and chaos, by what they are."
    seconds: dict[str, float] = field(default_factory=dict)
    "How long the steps took."
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether every call was heard and nothing else went wrong."""
        reports = [*self.calls.values(), *self.further.values()]
        return bool(reports) and not self.problems and all(report.ok for report in reports)

    def as_json(self) -> dict[str, Any]:
        """All of it for a machine; times in seconds."""
        return {
            "ok": self.ok,
            "nodes": self.nodes,
            "calls": [
                {"caller": pair.caller, "callee": pair.callee, **report.as_json()}
                for pair, report in self.calls.items()
            ],
            "further": {name: report.as_json() for name, report in self.further.items()},
            "seconds": {name: round(seconds, 2) for name, seconds in self.seconds.items()},
            "problems": self.problems,
        }


def all_pairs(phones: list[str]) -> list[Pair]:
    """Everybody calls everybody else."""
    return [Pair(caller, callee) for caller, callee in permutations(phones, 2)]


def rounds(pairs: list[Pair], at_once: int) -> list[list[Pair]]:
    """Cut `pairs` into rounds of calls that go on at the same time, no phone in two of them."""
    left, cut = list(pairs), []
    while left:
        here: list[Pair] = []
        busy: set[str] = set()
        for pair in left:
            if len(here) < at_once and not busy & {pair.caller, pair.callee}:
                here.append(pair)
                busy |= {pair.caller, pair.callee}
        left = [pair for pair in left if pair not in here]
        cut.append(here)
    return cut


def table(calls: dict[Pair, CallReport]) -> Table:
    """Callers down, callees across; each call with its set-up time, or with what was wrong."""
    callers = list(dict.fromkeys(pair.caller for pair in calls))
    callees = sorted({pair.callee for pair in calls})
    shown = Table("calls", *callees)
    for caller in callers:
        cells = [_cell(calls.get(Pair(caller, callee))) for callee in callees]
        shown.add_row(caller, *cells)
    return shown


def _cell(report: CallReport | None) -> str:
    if report is None:
        return ""
    return f"[green]{verdict(report)}[/green]" if report.ok else f"[red]{verdict(report)}[/red]"


def verdict(report: CallReport) -> str:
    """A report in a word or two."""
    if report.by_caller is None:
        return f"{report.status or 'no answer'}"
    heard = {"caller": report.by_caller, "callee": report.by_callee}
    deaf = [who for who, what in heard.items() if what is not None and what.frequency is None]
    if deaf:
        return f"{' and '.join(deaf)} deaf"
    if not report.ok:
        return report.problems[0]
    return f"{(report.set_up_time or 0) * 1000:.0f} ms"
