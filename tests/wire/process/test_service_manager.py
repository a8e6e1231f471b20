"""What a node tells systemd, and that it needs no more than the unit leaves it."""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from node.service_manager import READY, ServiceManager
from node.spawned import free_places


def listener(address: str) -> socket.socket:
    told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    told.bind(address)
    told.settimeout(40)
    return told


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_lines_arrive_as_one_datagram(tmp_path: Path, kind: str) -> None:
    name = f"ringmesh-test-{secrets.token_hex(4)}"
    address, shown = f"{tmp_path}/socket", f"{tmp_path}/socket"
    if kind == "abstract":
        address, shown = f"\0{name}", f"@{name}"
    with listener(address) as told:
        ServiceManager({"NOTIFY_SOCKET": shown}).tell(READY, "STATUS=a\nb")
        assert told.recv(100) == b"READY=1\nSTATUS=a b"


def test_nobody_need_listen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ServiceManager({}).tell(READY)
    ServiceManager({"NOTIFY_SOCKET": "vsock:2:1234"}).tell(READY)
    assert capsys.readouterr().out == ""
    ServiceManager({"NOTIFY_SOCKET": f"{tmp_path}/gone"}).tell(READY)
    assert "service_manager_not_told" in capsys.readouterr().out


LIKE_THE_UNIT = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
libc.prctl(65, 1, 0, 0, 0)  # PR_SET_MDWE, which older kernels do not know
os.execvp(sys.argv[1], sys.argv[1:])
"""
"No new privileges, and no memory that is both writable and executable."


def test_a_node_without_capabilities_gets_ready_and_says_when_it_stops(tmp_path: Path) -> None:
    place = free_places(1)[0]
    command = [sys.executable, "-m", "node.cli.main", "up", "--state", str(tmp_path / "state")]
    command += ["--listen", place.ip, "--port-offset", str(place.port_offset), "--no-mdns"]
    command += ["--workers", "1", "--network", f"test-{secrets.token_hex(6)}", "--json"]
    if os.geteuid() == 0 and shutil.which("setpriv"):
        command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", *command]
    command = [sys.executable, "-c", LIKE_THE_UNIT, *command]
    with listener(f"{tmp_path}/socket") as told:
        node = subprocess.Popen(
            command,
            env=os.environ | {"NOTIFY_SOCKET": f"{tmp_path}/socket"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            lines = told.recv(1000).decode().splitlines()
            assert lines[0] == READY
            assert lines[1].startswith("STATUS=ready on network test-")
            status = Path(f"/proc/{node.pid}/status").read_text()
            assert "CapEff:\t0000000000000000" in status
            node.send_signal(signal.SIGTERM)
            assert told.recv(1000) == b"STOPPING=1"
            output, complaints = node.communicate(timeout=10)
        finally:
            node.kill()
            node.wait()
    assert node.returncode == 0, complaints
    assert "ready" in json.loads(output.splitlines()[-1])
