"""What is missing on a fresh machine is named with the line that installs it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def check(python: str) -> subprocess.CompletedProcess[str]:
    make = shutil.which("make")
    assert make is not None
    return subprocess.run(
        [make, "--no-print-directory", "-C", str(ROOT), "check-system", f"PYTHON={python}"],
        capture_output=True,
        text=True,
        check=False,
    )


def a_python(folder: Path, *, version_ok: bool, has_venv: bool) -> str:
    """A program that answers the three questions the way another Python would."""
    script = folder / "python"
    script.write_text(
        "#!/bin/sh\n"
        'case "$2" in\n'
        f"*version_info\\ *) exit {0 if version_ok else 1} ;;\n"
        f"*ensurepip*) exit {0 if has_venv else 1} ;;\n"
        "*) echo python3.11-venv ;;\n"
        "esac\n"
    )
    script.chmod(0o755)
    return str(script)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_machine_with_everything_passes() -> None:
    done = check(sys.executable)
    assert (done.returncode, done.stderr) == (0, "")


def test_no_python_is_named() -> None:
    done = check("")
    assert done.returncode != 0
    assert "needs Python 3.11 or 3.12, and none was found" in done.stderr
    assert "sudo apt install python3 python3-venv" in done.stderr


def test_a_python_of_another_version_is_named(tmp_path: Path) -> None:
    done = check(a_python(tmp_path, version_ok=False, has_venv=True))
    assert done.returncode != 0
    assert f"{tmp_path}/python is not Python 3.11 or 3.12" in done.stderr


def test_a_python_without_venv_is_named_with_its_package(tmp_path: Path) -> None:
    done = check(a_python(tmp_path, version_ok=True, has_venv=False))
    assert done.returncode != 0
    assert "lacks the venv module" in done.stderr
    assert "sudo apt install python3.11-venv" in done.stderr
