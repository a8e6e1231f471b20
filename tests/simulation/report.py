"""The page and the plot that the full run leaves behind."""

import json
from pathlib import Path

from tests.simulation.cases import OTHER_SEED, Case, full_run
from tests.simulation.plot import plot

DOCS = Path(__file__).parents[2] / "docs"
RESULTS = DOCS / "simulation-results.json"
PAGE = DOCS / "dht-simulation.md"
PLOT = DOCS / "dht-simulation.svg"

Result = dict[str, object]


def read_results() -> dict[str, Result]:
    if not RESULTS.exists():
        return {}
    results: dict[str, Result] = json.loads(RESULTS.read_text())
    return results


def write_results(results: dict[str, Result]) -> None:
    lines = [f"{json.dumps(name)}: {json.dumps(results[name])}" for name in sorted(results)]
    RESULTS.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def meets(result: Result, goal: tuple[str, str, float]) -> bool:
    name, relation, bound = goal
    value = float(str(result.get(name, "nan")))
    return value >= bound if relation == ">=" else value <= bound


def goal_lines(cases: list[Case], results: dict[str, Result]) -> list[str]:
    lines = ["| case | figure | goal | got | |", "|---|---|---|---|---|"]
    for case in cases:
        result = results.get(case.name)
        for goal in case.goals if result is not None else ():
            name, relation, bound = goal
            verdict = "met" if meets(result, goal) else "**missed**"
            got = result.get(name, "not measured")
            lines.append(f"| {case.name} | {name} | {relation} {bound:g} | {got} | {verdict} |")
    return lines


def table_lines(cases: list[Case], results: dict[str, Result], layers: set[str]) -> list[str]:
    lines = [
        "| case | | nodes | lookups | found | inconclusive | lost | wrong | p50 / p99 s | hops p99 "
        "| messages p50 / p99 | bytes p50 / p99 | miss proven | miss messages p99 |",
        "|---|" * 1 + "---|" * 13,
    ]
    for case in cases:
        r = results.get(case.name)
        if r is None or case.layer not in layers:
            continue
        shares = " | ".join(
            f"{float(str(r[k])):.2%}" for k in ("found", "inconclusive", "lost", "wrong")
        )
        miss = (
            f"{float(str(r['miss_proven'])):.0%} of {r['misses']} | {r['miss_messages_p99']}"
            if r["misses"]
            else "- | -"
        )
        hops = "-" if case.layer == "stock" else r["hops_p99"]
        lines.append(
            f"| {case.name} | {case.what} | {r['nodes']} | {r['lookups']} | {shares} "
            f"| {r['p50_s']} / {r['p99_s']} | {hops} | {r['messages_p50']} / {r['messages_p99']} "
            f"| {r['bytes_p50']} / {r['bytes_p99']} | {miss} |"
        )
    return lines


def other_seeds(results: dict[str, Result]) -> list[Case]:
    """The cases that ran with other seeds than the first."""
    seeds = {int(name.split(OTHER_SEED)[1]) for name in results if OTHER_SEED in name}
    every = (case for seed in sorted(seeds) for case in full_run(seed))
    return [case for case in every if case.name in results]


def write(results: dict[str, Result]) -> list[str]:
    """Write the page and the plot; return the table of goals."""
    cases, others = full_run(), other_seeds(results)
    goals = goal_lines([*cases, *others], results)
    missing = [case.name for case in cases if case.name not in results]
    logs = [
        f"| {c.name} | {results[c.name]['seed']} | {results[c.name]['cpu_s']} "
        f"| `{str(results[c.name].get('log', ''))[:16]}` |"
        for c in (*cases, *others)
        if c.name in results
    ]
    PLOT.write_text(plot(cases, results))
    PAGE.write_text("\n".join([
        _INTRODUCTION,
        "## Goals\n",
        *goals,
        "\n![Found, by hostile share](dht-simulation.svg)\n",
        "## The real core among generated tables\n",
        *table_lines(cases, results, {"core"}),
        "\n## Whole directories\n",
        *table_lines(cases, results, {"whole"}),
        *_extras(cases, results),
        "\n## With other seeds\n",
        "The seed stands behind the name. The plot and the tables above are of seed 1.\n",
        *table_lines(others, results, {"core", "whole", "stock"}),
        *_extras(others, results),
        "\n## kademlia 2.2.3 under the same load\n",
        _STOCK,
        *table_lines(cases, results, {"stock"}),
        "\n## Repeating it\n",
        "The same seed gives the same log, byte for byte; its SHA-256 begins as given here.\n",
        "| case | seed | CPU s | log |", "|---|---|---|---|", *logs,
        f"\nNot run: {', '.join(missing) if missing else 'nothing'}.\n",
    ]))  # fmt: skip
    return goals


def _extras(cases: list[Case], results: dict[str, Result]) -> list[str]:
    """Figures that only some cases have."""
    lines = []
    for case in cases:
        more = results.get(case.name, {}).get("more")
        if isinstance(more, dict):
            told = ", ".join(f"{name} {value}" for name, value in more.items())
            lines.append(f"\n{case.name}: {told}.")
    return lines


_INTRODUCTION = """# The DHT under attack, simulated

Written by `make simulate`; figures in `simulation-results.json`. Virtual time, seeded. Round
trips are lognormal (median 80 ms, p99 320 ms), one for each pair of nodes, with 5 % jitter and no
loss.

**What is real**: datagrams, frames, cookies, request desk, answers, stores, records, lookups,
both regions, publishing, by the code of `dht/`. At 10,000 nodes the tables of those who answer
are generated (buckets filled at random from the whole network, or poisoned, or out of date),
those who publish and look up are whole directories with generated tables. The whole layer has
nothing generated: directories join, ping, refresh, publish and look up.
Lookups are sealed, as they are by default: a stranger is asked twice, for its key and then for the
record.
**What is not**: signatures, puzzles and Argon2id are counted stand-ins
(`tests/simulation/standins.py`); their CPU is reported from a table of measured costs. Sybils get
the ids they want without paying.

`found`: exactly the newest record whose publication had ended, or one that was being brought out.
`wrong`: anything else than that. `lost`: told that it does
not exist.
Messages: every datagram the asking node sends between question and answer, repetitions and
background pings included, its answers to others left out.
Bytes: UDP payload, both directions. Hops and times as the caller sees them, inconclusive ones
included.
"""
_STOCK = """\
Its classes unmodified: `KademliaProtocol`, `RoutingTable`, `ValueSpiderCrawl`, k 20, alpha 3,
over the same wire with the same tables. Hostile nodes do to it what they do to ours, where its
protocol has such a thing. It has no misses that it could prove and counts no hops. A lookup is
given 60 s.
"""
