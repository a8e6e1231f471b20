"""The README, carried out: its commands in a fresh clone; what they print is what it shows."""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.spawned import free_places

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
LIKE = {
    r"[a-z2-7]{52}\.ringmesh\.alt": "key name",
    r"phone1@[0-9.]+$": "sip address",
    r"Node [a-z2-7]{8}…": "node",
    r"network [a-z]+:": "network",
    r"password  [a-z0-9]{16}": "password",
    r"\b0\d{3} \d{4} \d{4} \d{3}\b": "number",
    r"server(\s+)[0-9.]+": "server",
    r"kept in \S+": "folder",
    r"\b\d+(-\d+)? {2,}(tcp|udp)": "port",
    r"https?://\S+": "link",
}
"What differs from node to node, and is compared by its form."

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed"),
    pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is no git checkout"),
]


def form_of(line: str) -> str:
    """A line with what differs replaced by its kind, and blanks evened out."""
    for pattern, kind in LIKE.items():
        line = re.sub(pattern, f"<{kind}>", line)
    return " ".join(line.split())


def shown_at_the_first_start() -> list[str]:
    """The lines of the README's picture of a first start."""
    block = next(
        block
        for block in re.findall(r"```\n(.*?)```", README, re.DOTALL)
        if "first account" in block
    )
    return [line for line in block.splitlines() if line.strip() and "QR code" not in line]


class Clone:
    """A fresh clone, its environment, and a place on the loopback that nobody else has."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "ringmesh"
        subprocess.run(["git", "clone", "-q", ROOT, self.folder], check=True)
        place = free_places(1)[0]
        state = folder / "home" / "state"
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("RINGMESH_", "MAKE", "VIRTUAL_ENV", "PYTHON", "COV_"))
        } | {
            "RINGMESH_LISTEN": place.ip,
            "RINGMESH_PORT_OFFSET": str(place.port_offset),
            "RINGMESH_NETWORK": "front",
            "RINGMESH_MESH_MDNS": "false",
            "RINGMESH_STATE": str(state),
        }

    def make(self, *words: str, seconds: float) -> str:
        done = subprocess.run(
            ["make", *words],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-2000:]
        return done.stdout

    def up(self, seconds: float) -> tuple[str, float]:
        """`make up` until it says `ready`, then Ctrl-C; what it printed, and how long that took."""
        began = time.monotonic()
        with subprocess.Popen(
            ["make", "up"],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        ) as node:
            assert node.stdout is not None
            lines = []
            try:
                for line in node.stdout:
                    lines.append(line)
                    if line.strip() == "ready":
                        break
                    assert time.monotonic() - began < seconds
                took = time.monotonic() - began
                os.killpg(node.pid, signal.SIGINT)
                node.communicate(timeout=20)
            finally:
                if node.poll() is None:
                    os.killpg(node.pid, signal.SIGKILL)
        assert lines
        assert lines[-1].strip() == "ready", "".join(lines)[-2000:]
        assert node.returncode in (0, -signal.SIGINT)  # make itself ends by the signal
        return "".join(lines), took


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    folder = tmp_path_factory.mktemp("front-door")
    yield Clone(folder)
    shutil.rmtree(folder, ignore_errors=True)


def test_make_up_ends_with_what_the_readme_shows(clone: Clone) -> None:
    """The first start line by line; a later one says its last two lines, and soon."""
    assert "make up      #" in README
    printed, _ = clone.up(seconds=400)
    forms = [form_of(line) for line in printed.splitlines()]
    missing = [line for line in shown_at_the_first_start() if form_of(line) not in forms]
    assert missing == []
    assert re.search(r"password +[a-z0-9]{16}", printed)
    again, took = clone.up(seconds=60)
    assert [form_of(line) for line in again.splitlines()][-2:] == forms[-2:]
    assert "password" not in again
    print(f"a later `make up` is ready after {took:.1f} s")


def test_make_test_sets_up_what_tests_need(clone: Clone) -> None:
    """In full it is what continuous integration runs; here one file of it."""
    assert "make test    #" in README
    said = clone.make("test", "ARGS=-q tests/unit/docs", seconds=400)
    assert re.search(r"\d+ passed", said)
    assert "failed" not in said
