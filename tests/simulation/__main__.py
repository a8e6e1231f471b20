"""`make simulate`: one case, or the full run.

With any of NODES, LOOKUPS, HOSTILE, SEED set, one case runs: `make simulate NODES=1000 LOOKUPS=500
HOSTILE=30 SEED=1`. Its last line is one JSON object. KIND chooses what the hostile share does
(liar, zoo, or one of the zoo), LAYER what is run (core, whole, stock).

Without them every case runs that has no result yet, two at a time (JOBS), and the report is
written. A result is kept in docs/simulation-results.json; FRESH=1 forgets them, CASES=a,b names
some only. RUN_SEED sets the seed; what ran with another than 1 is told beside it.
"""

import logging
import os
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed

import structlog

from tests.simulation import report
from tests.simulation.cases import OTHER_SEED, Case, full_run
from tests.simulation.core_run import run_core
from tests.simulation.figures import as_json
from tests.simulation.stock import run_stock
from tests.simulation.whole_run import run_whole
from tests.simulation.world import MIX, Kind

Result = dict[str, object]
ONE_CASE = ("NODES", "LOOKUPS", "HOSTILE", "SEED")
SETTINGS = {*ONE_CASE, "KIND", "LAYER", "CASES", "FRESH", "JOBS", "RUN_SEED"}


def run(case: Case) -> Result:
    """Run one case in this process."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    logging.disable(logging.ERROR)  # kademlia logs each silent peer as an error
    started, cpu = time.monotonic(), time.process_time()
    try:
        result = {"core": run_core, "whole": run_whole, "stock": run_stock}[case.layer](case)
    finally:
        logging.disable(logging.NOTSET)
        structlog.reset_defaults()
    result["wall_s"] = round(time.monotonic() - started, 1)
    result["cpu_s"] = round(time.process_time() - cpu, 1)
    result["case"] = case.name
    result["seed"] = case.seed
    result["nodes"] = case.nodes
    return result


def one(env: dict[str, str]) -> int:
    kind = env.get("KIND") or "liar"
    case = Case(
        name="one",
        layer=env.get("LAYER") or "core",
        nodes=int(env.get("NODES") or 1_000),
        lookups=int(env.get("LOOKUPS") or 500),
        hostile=float(env.get("HOSTILE") or 0) / 100,
        mix=MIX if kind == "zoo" else {Kind(kind): 1},
        seed=int(env.get("SEED") or 1),
    )
    print(f"{case.nodes} nodes, {case.lookups} lookups, {case.hostile:.0%} hostile ({kind})")
    print(as_json(run(case)))
    return 0


def everything(env: dict[str, str]) -> int:
    results = {} if env.get("FRESH") else report.read_results()
    cases = full_run(int(env.get("RUN_SEED") or 1))
    named = set((env.get("CASES") or "").split(",")) - {""}
    todo = [
        case
        for case in cases
        if (not named and case.name not in results) or case.name.split(OTHER_SEED)[0] in named
    ]
    with ProcessPoolExecutor(int(env.get("JOBS") or 2)) as pool:
        running = {pool.submit(run, case): case for case in todo}
        for future in as_completed(running):
            result = future.result()
            results[running[future].name] = result
            report.write_results(results)
            print(as_json(result), flush=True)
    lines = report.write(results)
    print("\n".join(lines))
    return 0


def settings(arguments: list[str], environment: Mapping[str, str]) -> dict[str, str] | None:
    """The environment, and NAME=VALUE arguments as `make` takes them; None if one is neither."""
    given = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    if len(given) < len(arguments) or not set(given) <= SETTINGS:
        return None
    return {**environment, **given}


def main() -> int:
    env = settings(sys.argv[1:], os.environ)
    if env is None:
        print(__doc__)
        return 0 if sys.argv[1:] in (["-h"], ["--help"]) else 2
    single = any(env.get(name) for name in ONE_CASE)
    return one(env) if single else everything(env)


if __name__ == "__main__":
    sys.exit(main())
