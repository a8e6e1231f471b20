"""A small version of `make simulate`: a few hundred nodes, seeded, in some seconds."""

import pytest

from tests.simulation.cases import LIARS, Case, full_run
from tests.simulation.core_run import run_core
from tests.simulation.figures import percentile
from tests.simulation.report import meets
from tests.simulation.stock import run_stock
from tests.simulation.whole_run import run_whole
from tests.simulation.world import MIX, Kind, World


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
    assert result["lost"] == 0.0


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
