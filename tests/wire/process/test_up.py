"""`ringmesh up` as a person types it: a real node in its own process, asked by real commands."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

STARTED = 30.0
"A generous bound for a loaded machine."


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    plain = {name: text for name, text in os.environ.items() if not name.startswith("RINGMESH_")}
    return plain | {
        "RINGMESH_STATE": str(tmp_path / "state"),
        "RINGMESH_NETWORK": "process-test",
        "RINGMESH_LISTEN": "127.0.0.1",
        "RINGMESH_MESH_MDNS": "no",
        "RINGMESH_MEDIA_WORKERS": "1",
        "RINGMESH_SIP_PORT": str(free_port()),
        "RINGMESH_MESH_PORT": str(free_port()),
        "RINGMESH_WEB_PORT": str(free_port()),
    }


@pytest.fixture
def node(environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "node.cli.main", "up", "--json"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    yield process
    process.kill()
    process.communicate()


def ringmesh(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "node.cli.main", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=STARTED,
    )


def line(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


def test_a_node_lives(environment: dict[str, str], node: subprocess.Popen[str]) -> None:
    """First account, questions, a user added and kept, a clash told, SIGTERM, exit code 0."""
    sheet = line(node)["first_account"]
    assert sheet["server"] == f"127.0.0.1:{environment['RINGMESH_SIP_PORT']}"
    assert line(node)["ready"]["accounts"] == 1

    status = json.loads(ringmesh(environment, "status", "--json").stdout)
    assert status["ready"] is True
    assert status["key_name"].endswith(".ringmesh.alt")
    assert json.loads(ringmesh(environment, "user", "add", "bob", "--json").stdout)["number"]
    assert ringmesh(environment, "resolve", "bob").returncode == 0
    assert ringmesh(environment, "resolve", "nobody").returncode == 1
    assert ringmesh(environment, "call", "list", "--json").stdout == "[]\n"

    elsewhere = environment | {"RINGMESH_STATE": environment["RINGMESH_STATE"] + "2"}
    clash = ringmesh(elsewhere, "up")
    assert clash.returncode == 1
    complaint = clash.stderr.splitlines()[-1]
    assert environment["RINGMESH_SIP_PORT"] in complaint
    assert "in use" in complaint
    assert "--port-offset" in complaint

    node.send_signal(signal.SIGTERM)
    assert node.wait(5) == 0
    assert ringmesh(environment, "status").returncode == 3
    users = json.loads(ringmesh(environment, "user", "list", "--json").stdout)
    assert [user["login"] for user in users] == ["bob", sheet["login"]]
