"""The systemd unit: its command is one of ours, systemd understands it, it gives nothing away."""

import configparser
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from node.cli import up
from node.cli.commands import run
from node.config import Config

ROOT = Path(__file__).parents[3]
UNIT = ROOT / "packaging" / "ringmesh.service"
MAX_EXPOSURE = 20
"Tenths; systemd calls up to 25 OK. An ordinary service has 96."

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="systemd-analyze is absent: apt-get install systemd",
)


def command() -> list[str]:
    (line,) = re.findall(r"^ExecStart=(.+)$", UNIT.read_text(), re.MULTILINE)
    return shlex.split(line)


def test_its_command_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Down to the state folder; only the file with the settings is another one here."""
    program, *arguments = command()
    assert program == "/opt/ringmesh/bin/ringmesh"
    settings = tmp_path / "ringmesh.toml"
    settings.write_text('[storage]\nurl = "postgresql:///ringmesh"\n')
    at = arguments.index("/etc/ringmesh/ringmesh.toml")
    arguments[at] = str(settings)
    started: list[tuple[Config, Path]] = []

    def start(config: Config, path: Path, **_: Any) -> int:
        started.append((config, path))
        return 0

    monkeypatch.setattr(up, "start", start)
    assert run(arguments) == 0
    ((config, path),) = started
    assert (path, config.log.format) == (Path("/var/lib/ringmesh"), "json")
    assert config.storage.url == "postgresql:///ringmesh"


def test_it_waits_for_longer_than_the_node_takes() -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(UNIT.read_text())
    service = unit["Service"]
    assert float(service["TimeoutStopSec"]) > up.STOP_SECONDS
    assert int(service["LimitNOFILE"]) >= up.OPEN_FILES
    assert service["StateDirectory"] == "ringmesh"


@needs_systemd
def test_systemd_understands_every_line(tmp_path: Path) -> None:
    """With a program that is here in place of the one that is to be installed."""
    copy = tmp_path / "ringmesh.service"
    copy.write_text(
        UNIT.read_text().replace(command()[0], "/bin/true").replace("=ringmesh", "=root", 2)
    )
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)],
        capture_output=True,
        text=True,
        check=False,
    )
    about_it = [line for line in done.stderr.splitlines() if "ringmesh" in line]
    assert about_it == []


@needs_systemd
def test_the_sandbox_is_tight(tmp_path: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={MAX_EXPOSURE}", str(UNIT)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Overall exposure level" in done.stdout
