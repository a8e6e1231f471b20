"""What continuous integration makes of a run of the tests that failed."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PASSED = "==== 3400 passed, 2 skipped in 100.10s (0:01:40) ===="
ONE_FAILED = "==== 1 failed, 3399 passed in 100.10s (0:01:40) ===="
MANY_FAILED = "==== 6 failed, 3394 passed in 100.10s (0:01:40) ===="
MAKE = """#!/bin/bash
case "$*" in
    *last-failed*) echo AGAIN; exit 0 ;;
    test) cat "$SAID"; exit "$STATUS" ;;
esac
"""


def run(folder: Path, status: int, *said: str) -> tuple[int, bool]:
    """The script's exit code where `make test` says this, and whether tests were repeated."""
    for name, text in (("make", MAKE), ("apt-get", "#!/bin/sh\n")):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    (folder / "said").write_text("\n".join([*said, ""]))
    environment = os.environ | {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "SAID": str(folder / "said"),
        "STATUS": str(status),
    }
    done = subprocess.run(
        [ROOT / ".ci" / "run"],
        check=False,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, "AGAIN" in done.stdout


def test_where_all_passed_nothing_is_repeated(tmp_path: Path) -> None:
    assert run(tmp_path, 0, PASSED, PASSED) == (0, False)


def test_a_few_that_failed_are_run_once_more(tmp_path: Path) -> None:
    assert run(tmp_path, 2, ONE_FAILED, PASSED) == (0, True)
    assert run(tmp_path, 2, PASSED, ONE_FAILED) == (0, True)


@pytest.mark.parametrize(
    "said",
    [
        (MANY_FAILED, PASSED),
        (ONE_FAILED, "Fatal Python error: Segmentation fault"),
        (ONE_FAILED, "INTERNALERROR> ValueError", "==== 9 passed in 1.00s ===="),
        (ONE_FAILED, "!!!!!! KeyboardInterrupt !!!!!!", "==== 9 passed in 1.00s ===="),
        (ONE_FAILED, "==== 9 passed, 1 error in 1.00s ===="),
        (PASSED,),
    ],
)
def test_many_that_failed_or_a_run_that_did_not_end_is_a_failure(
    tmp_path: Path, said: tuple[str, ...]
) -> None:
    assert run(tmp_path, 2, *said) == (2, False)
