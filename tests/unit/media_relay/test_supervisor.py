import subprocess
import sys

import pytest

from media_relay.supervisor import (
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    Ids,
    respawn_pause,
)


def test_ids_are_consecutive_nonzero_and_not_in_use() -> None:
    used: set[int] = set()
    ids = Ids(0xFFFFFFFC)
    for _ in range(4):
        first = ids.take(2, used.__contains__)
        block = set(range(first, first + 2))
        assert not block & used
        used |= block
    assert used == {0xFFFFFFFD, 0xFFFFFFFE, *range(1, 7)}
    assert 0 not in used


def test_ids_in_use_are_passed_over() -> None:
    assert Ids(0).take(3, {2, 5}.__contains__) == 6


def test_a_first_early_death_is_mended_at_once_and_later_ones_with_patience() -> None:
    assert [respawn_pause(deaths) for deaths in (0, 1, 2, 3)] == [
        0.0,
        0.0,
        FIRST_PAUSE_SECONDS,
        2 * FIRST_PAUSE_SECONDS,
    ]
    assert respawn_pause(50) == LONGEST_PAUSE_SECONDS


@pytest.mark.parametrize("module", ["asyncio", "aioquic", "sqlalchemy", "structlog", "numpy"])
def test_a_worker_imports_nothing_heavy(module: str) -> None:
    code = f"import sys, media_relay.worker; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
