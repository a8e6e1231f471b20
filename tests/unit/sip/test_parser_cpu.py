"""No input costs more CPU time than it should, whatever it is made of."""

from collections.abc import Iterator

import pytest

from tests.support.sip_hostile import hostile, hostile_sdp
from tests.support.sip_load import cpu_seconds, exercise, exercise_sdp, is_traced

pytestmark = pytest.mark.skipif(is_traced(), reason="CPU time says nothing under a tracer")

GATES = [(64_000, 0.050), (3_000, 0.005)]
"Bytes of a message, and the seconds that parsing, checking and every view may take together."


def too_slow(
    messages: Iterator[tuple[str, bytes]], work: object, limit: float
) -> list[tuple[float, str]]:
    assert callable(work)
    found = []
    for name, data in messages:
        seconds = cpu_seconds(lambda data=data: work(data), limit)  # type: ignore[misc]
        if seconds > limit:
            found.append((seconds, name))
    return sorted(found, reverse=True)


@pytest.mark.parametrize(("size", "limit"), GATES)
def test_hostile_messages_are_cheap(size: int, limit: float) -> None:
    """Runs of one character, thousands of commas, quotes, semicolons, brackets, folds, fields."""
    assert too_slow(hostile(size), exercise, limit) == []


@pytest.mark.parametrize(("size", "limit"), GATES)
def test_hostile_descriptions_are_cheap(size: int, limit: float) -> None:
    assert too_slow(hostile_sdp(size), exercise_sdp, limit) == []


def test_the_gate_sees_a_slow_parser() -> None:
    """The same measure refuses work that takes its time."""

    def quadratic(data: bytes) -> None:
        for start in range(0, len(data), 16):
            data[start:].count(b"x")

    assert too_slow(iter([("x" * 3, b"x" * 100_000)]), quadratic, 0.005)
