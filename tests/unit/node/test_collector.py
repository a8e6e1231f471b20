"""When reference cycles are looked for."""

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from node.collector import (
    ALL_AT_LAST,
    ALL_EVERY,
    FEW,
    MANY,
    REST,
    Collector,
    Look,
    Rhythm,
)


def test_little_is_looked_through_and_much_put_aside() -> None:
    rhythm = Rhythm(0.0)
    looks = [rhythm.look(made, 1.0) for made in (FEW - 1, FEW, MANY - 1, MANY)]
    assert looks == [Look.NOTHING, Look.YOUNG, Look.YOUNG, Look.PUT_ASIDE]


def test_everything_is_looked_through_at_rest() -> None:
    rhythm = Rhythm(0.0)
    assert rhythm.look(0, ALL_EVERY - 1) is Look.NOTHING
    assert rhythm.look(0, ALL_EVERY) is Look.ALL
    assert rhythm.look(0, ALL_EVERY + 1) is Look.NOTHING
    assert rhythm.look(0, 2 * ALL_EVERY) is Look.ALL


def test_everything_waits_for_a_rest() -> None:
    rhythm = Rhythm(0.0)
    assert rhythm.look(FEW, ALL_EVERY) is Look.YOUNG
    assert rhythm.look(0, ALL_EVERY + REST - 1) is Look.NOTHING
    assert rhythm.look(0, ALL_EVERY + REST) is Look.ALL


def test_without_any_rest_everything_has_its_turn_at_last() -> None:
    rhythm = Rhythm(0.0)
    looks = [rhythm.look(MANY, float(now)) for now in range(10, int(ALL_AT_LAST) + 10, 10)]
    assert looks[-1] is Look.ALL
    assert set(looks[:-1]) == {Look.PUT_ASIDE}


class Knot:
    """In a cycle with itself."""

    def __init__(self) -> None:
        self.own = self


@pytest.fixture
def collector_as_before() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


@pytest.mark.usefixtures("collector_as_before")
async def test_the_process_loses_its_cycles() -> None:
    collector = Collector()
    knot = weakref.ref(Knot())
    kept = [[number] for number in range(FEW)]
    assert not gc.isenabled()
    assert knot() is not None
    collector.follow(asyncio.get_running_loop())
    assert knot() is None
    assert len(kept) == FEW


@pytest.mark.usefixtures("collector_as_before")
async def test_what_was_put_aside_is_looked_through_later(monkeypatch: pytest.MonkeyPatch) -> None:
    collector = Collector()
    knot = weakref.ref(Knot())
    kept = [[number] for number in range(MANY)]
    collector.follow(asyncio.get_running_loop())
    assert knot() is not None
    del kept
    monkeypatch.setattr("node.collector.ALL_EVERY", 0.0)
    monkeypatch.setattr("node.collector.REST", 0.0)
    collector.follow(asyncio.get_running_loop())
    assert knot() is None
