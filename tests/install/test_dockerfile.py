"""The Dockerfile's steps, done without a container engine: in a clean virtual environment."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOME = "/opt/ringmesh"
"Where the image has the program."


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, continued lines joined, comments left out."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    lines = [line.partition(" ") for line in text.splitlines() if line.strip()]
    return [(word, " ".join(rest.split())) for word, _, rest in lines]


def stages() -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    here: list[tuple[str, str]] = []
    for word, rest in instructions():
        if word == "FROM":
            here = found.setdefault(rest.partition(" AS ")[2] or "last", [])
        here.append((word, rest))
    return found


def test_what_runs_is_no_root_and_is_asked_how_it_is() -> None:
    node = dict(stages()["node"])
    assert node["USER"] == "ringmesh"
    assert "ringmesh status --json" in node["HEALTHCHECK"]
    assert node["FROM"] == "${BASE_IMAGE} AS node"
    assert dict(stages()["testbed"])["USER"] == "ringmesh"
    assert stages()["last"] == [("FROM", "node")]


def test_the_context_has_what_is_copied() -> None:
    kept = [
        line[1:]
        for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line.startswith("!")
    ]
    for word, rest in instructions():
        if word == "COPY" and not rest.startswith("--from"):
            for source in rest.split()[:-1]:
                assert source in kept
                assert (ROOT / source).exists()


@pytest.mark.slow
def test_the_build_stage_makes_a_program_that_runs(tmp_path: Path) -> None:
    """COPY brings what is there, RUN runs; only the paths are others."""
    asked = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", str(tmp_path)]
    if subprocess.run([*asked, "ifaddr"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no package index can be reached")
    source, home = tmp_path / "src", tmp_path / "ringmesh"
    source.mkdir()
    for word, rest in stages()["build"]:
        if word == "COPY":
            *names, target = rest.split()
            for name in names:
                if (ROOT / name).is_dir():
                    ignored = shutil.ignore_patterns("__pycache__")
                    shutil.copytree(ROOT / name, source / target, ignore=ignored)
                else:
                    shutil.copy(ROOT / name, source / target)
        elif word == "RUN":
            command = rest.replace(HOME, str(home)).replace("python3 ", f"{sys.executable} ")
            done = subprocess.run(
                ["sh", "-c", command], cwd=source, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    shutil.rmtree(source)
    told = subprocess.run(
        [home / "bin" / "ringmesh", "version"], capture_output=True, text=True, check=False
    )
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.startswith("ringmesh ")
    absent = [home / "bin" / "python", "-c", "import pjsua2"]
    assert subprocess.run(absent, capture_output=True, check=False).returncode != 0
