"""A small version of `make simulate`: a few hundred nodes, seeded, in some seconds."""

import json
from pathlib import Path

import pytest

from dht.finder import Found, Inconclusive, LookupResult, NotFound
from dht.frame import FrameType
from dht.record import Record
from federation.model.address import Endpoint
from tests.simulation import report
from tests.simulation.__main__ import main, one, settings
from tests.simulation.cases import LIARS, Case, full_run
from tests.simulation.core_run import run_core
from tests.simulation.figures import percentile, verdict_on
from tests.simulation.report import meets
from tests.simulation.stock import run_stock
from tests.simulation.whole_run import run_whole
from tests.simulation.wire import Wire
from tests.simulation.world import MIX, Kind, World
from tests.support.dht_records import NOW, OTHER, a_record
from tests.support.virtual_loop import VirtualLoop


def small(**fields: object) -> Case:
    values = {"name": "small", "nodes": 300, "lookups": 60, "records": 6, **fields}
    return Case(**values)  # type: ignore[arg-type]


def test_the_zoo_hides_nothing_and_a_seed_repeats_exactly() -> None:
    """Every hostile kind at once, 30 %: nothing lost or wrong; the same log twice, another else."""
    case = small(hostile=0.3, mix=MIX, seed=1)
    result = run_core(case)
    assert result["found"] == 1.0
    assert float(str(result["p99_s"])) <= 2.0
    assert float(str(result["messages_p99"])) <= 60
    assert run_core(case) == result
    assert (
        run_core(small(hostile=0.3, mix=MIX, seed=2, lookups=4, records=1))["log"] != result["log"]
    )


def test_absence_is_proven_among_the_honest_only() -> None:
    assert run_core(small(lookups=30, records=2))["miss_proven"] == 1.0
    silent = run_core(small(hostile=0.5, mix={Kind.SILENT: 1}, lookups=30, records=2))
    assert float(str(silent["miss_proven"])) < 0.5
    assert silent["miss_wrong"] == 0


def test_a_record_survives_ids_placed_all_around_it() -> None:
    result = run_core(small(sybils=60, records=2, lookups=20))
    assert result["found"] == 1.0


def test_half_the_nodes_gone_delays_little_and_stock_much() -> None:
    ours = run_core(small(gone=0.5))
    stock = run_stock(small(gone=0.5))
    assert ours["found"] == 1.0
    assert float(str(ours["p99_s"])) <= 2.0 < 5.0 <= float(str(stock["p99_s"]))


def test_whole_directories_join_publish_and_find() -> None:
    """Nothing generated: 45 directories, a fifth of them of the zoo."""
    result = run_whole(small(layer="whole", nodes=45, lookups=40, hostile=0.2, mix=MIX))
    assert float(str(result["found"])) >= 0.95
    assert result["lost"] == result["wrong"] == 0.0


def test_whole_directories_repeat_exactly_too() -> None:
    case = small(layer="whole", nodes=12, lookups=6)
    assert run_whole(case) == run_whole(case)


def test_one_case_ends_with_a_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    """As `make simulate NODES=... LOOKUPS=... HOSTILE=... SEED=...` does."""
    one({"NODES": "300", "LOOKUPS": "20", "HOSTILE": "30", "SEED": "1"})
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["found"] + figures["inconclusive"] + figures["lost"] + figures["wrong"] == 1
    assert {"p50_s", "p99_s", "hops_p99", "messages_p99"} <= set(figures)
    assert figures["nodes"] == 300
    assert figures["seed"] == 1


def test_settings_are_variables_or_arguments() -> None:
    assert settings(["NODES=10"], {"SEED": "2"}) == {"NODES": "10", "SEED": "2"}
    assert settings([], {"SEED": "2"}) == {"SEED": "2"}
    assert settings(["NODE=10"], {}) is None


@pytest.mark.parametrize(("argument", "code"), [("--help", 0), ("whole", 2), ("NODE=1", 2)])
def test_what_is_no_setting_is_explained(
    argument: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["simulation", argument])
    assert main() == code
    assert "NODES=1000" in capsys.readouterr().out


def test_answers_to_others_are_no_messages_of_a_lookup() -> None:
    loop = VirtualLoop()
    here, there = Endpoint("20.0.0.1", 1), Endpoint("20.0.0.2", 1)
    wire = Wire(loop, seed=1)
    counted = wire.watch(here)
    for kind in (FrameType.REQUEST, FrameType.REPLY, FrameType.CHALLENGE, FrameType.REFUSAL):
        for sealed in (0, 0x80):
            wire.carry(bytes((8, kind | sealed)) + bytes(8), here, there)
    wire.carry(b"\x00" + bytes(9), here, there)  # rpcudp: a call
    wire.carry(b"\x01" + bytes(9), here, there)  # and a result
    loop.close()
    assert counted == [3, 100, 0]


OLDER, NEWEST, LATER = (a_record(now=NOW + n) for n in (0, 1, 2))


@pytest.mark.parametrize(
    ("result", "newest", "verdict"),
    [
        (Found((NEWEST,)), NEWEST, "found"),
        (Found((OLDER,)), NEWEST, "wrong"),
        (Found((LATER,)), NEWEST, "found"),
        (Found((a_record(key=OTHER, now=NOW + 2),)), NEWEST, "wrong"),
        (Found((OLDER, NEWEST)), NEWEST, "wrong"),
        (Found((NEWEST,)), None, "wrong"),
        (NotFound(), NEWEST, "lost"),
        (NotFound(), None, "miss"),
        (Inconclusive("silence"), NEWEST, "inconclusive"),
        (Inconclusive("silence"), None, "unsure"),
    ],
)
def test_what_counts_as_found(result: LookupResult, newest: Record | None, verdict: str) -> None:
    assert verdict_on(result, newest) == verdict


def test_a_result_of_another_seed_is_told_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PAGE", "PLOT"):
        monkeypatch.setattr(report, name, tmp_path / name)
    first = report.read_results()["healthy"]
    other = {**first, "found": 0.5, "seed": 2}
    goals = report.write({"healthy": first, "healthy~2": other})
    assert next(line for line in goals if "healthy~2 | found" in line).endswith("**missed** |")
    page = (tmp_path / "PAGE").read_text()
    assert "| healthy~2 | nobody hostile |" in page
    assert "| healthy~2 | 2 |" in page


def test_tables_are_poisoned_as_far_as_hostile_nodes_reach() -> None:
    world = World(2_000, seed=1)
    world.turn_hostile(0.2, LIARS)
    world.poison = 0.6
    owner = next(citizen for citizen in world.citizens if not citizen.is_hostile)
    far = [c for c in world.table_of(owner) if c.long_id >> 255 != owner.long_id >> 255]
    assert len(far) == 20
    assert sum(citizen.is_hostile for citizen in far) == 12


def test_what_a_percentile_is() -> None:
    values = [float(n) for n in range(1, 101)]
    assert [percentile(values, share) for share in (0.5, 0.99, 1.0)] == [50.0, 99.0, 100.0]
    assert percentile([], 0.5) == 0.0


@pytest.mark.parametrize(
    ("goal", "verdict"), [((">=", 0.9), True), (("<=", 0.9), False), (("<=", 0.95), True)]
)
def test_a_goal_is_met_or_missed(goal: tuple[str, float], verdict: bool) -> None:
    assert meets({"found": 0.95}, ("found", *goal)) is verdict


def test_each_case_has_a_name_of_its_own_and_stock_has_the_same_load() -> None:
    cases = {case.name: case for case in full_run()}
    assert len(cases) == len(full_run())
    for name, case in cases.items():
        if case.layer == "stock":
            ours = cases[name.removeprefix("stock-")]
            assert (case.hostile, case.mix, case.gone) == (ours.hostile, ours.mix, ours.gone)


def test_a_figure_that_is_not_there_misses_its_goal() -> None:
    (case,) = (case for case in full_run() if case.name == "whole-idle")
    lines = report.goal_lines([case], {"whole-idle": {"idle_bytes_s": 170.0}})
    assert lines[2:] == [
        "| whole-idle | idle_bytes_s | <= 200 | 170.0 | met |",
        "| whole-idle | route_bytes_s | <= 5 | not measured | **missed** |",
    ]
