"""`make testbed`: the whole network in namespaces, from nothing to the check and away again."""

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from federation.model.errors import RingmeshError
from node.phone.process import require_wheel
from node.tether import tethered
from testbed import namespaces
from testbed.check import INTERRUPTED, parser, wanted_pairs
from testbed.folder import Folder
from testbed.namespaces import Namespaces, namespace
from testbed.programs import (
    handset_command,
    node_command,
    node_settings,
    server_commands,
)
from testbed.ruleset import MOST_LOSS
from testbed.topology import Topology, read

ROOT = Path(__file__).parent.parent
_END_WITHIN = 10.0
"Seconds that all programs together have to end."


class Programs:
    """What runs inside the namespaces, each with a log."""

    def __init__(self, net: Namespaces, folder: Folder) -> None:
        self._net = net
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(
        self, host: str, command: Sequence[str], settings: Mapping[str, str] | None = None
    ) -> None:
        """Start a program on a host; `python` means this interpreter."""
        words = [sys.executable if word == "python" else word for word in command]
        with self._folder.log(host).open("ab") as log:
            self._running[host] = subprocess.Popen(  # noqa: S603 - the commands are our own
                tethered(*self._net.inside(host, *words)),
                cwd=ROOT,
                env={**os.environ, "TMPDIR": str(self._folder.sounds), **(settings or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def ended(self) -> list[str]:
        """What has ended although nobody asked for it, in words."""
        return [
            f"{host} ended with exit code {process.returncode}"
            for host, process in self._running.items()
            if process.poll() is not None
        ]

    def stop(self) -> None:
        """Ask all of them to end, and kill those that do not."""
        for process in self._running.values():
            process.terminate()
        deadline = time.monotonic() + _END_WITHIN
        for process in self._running.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            if process.poll() is None:
                process.kill()
                process.wait()


def options() -> argparse.ArgumentParser:
    """What `make testbed ARGS=…` takes."""
    found = argparse.ArgumentParser(
        prog="make testbed ARGS=…",
        description="Build the testbed from network namespaces, and check it.",
        parents=[parser()],
    )
    found.add_argument(
        "--keep", action="store_true", help="leave it standing after the check, until Ctrl-C"
    )
    return found


def run(given: argparse.Namespace) -> int:
    """Build, start, check, and take down; returns the exit code.

    Raises:
        RingmeshError: it cannot be built here.
    """
    if not 0 <= given.loss <= MOST_LOSS:
        raise namespaces.NamespaceError(f"--loss {given.loss:g}: use 0 to {MOST_LOSS} per cent")
    require_wheel()
    reason = namespaces.lacking()
    if reason is None and (given.pbx or given.provider) and shutil.which("kamailio") is None:
        reason = "kamailio is absent: apt-get install kamailio"
    if reason is not None:
        raise namespaces.NamespaceError(f"the testbed cannot be built here: {reason}")
    topology = read()
    wanted_pairs(topology, given.only)
    hosts = list(topology.hosts(pbx=given.pbx, provider=given.provider))
    with Namespaces(topology, hosts, loss=given.loss) as net:
        folder = Folder(net.folder)
        folder.make()
        programs = Programs(net, folder)
        code = 1
        try:
            _start(topology, programs, folder, net.run, given)
            code = _check(folder, programs)
            if given.keep:
                _stand(net, folder, [host.name for host in hosts])
        finally:
            programs.stop()
            if code in (0, INTERRUPTED):
                shutil.rmtree(net.folder, ignore_errors=True)
            else:
                _say(f"logs of every host: {folder.logs}")
    return code


def _start(
    topology: Topology, programs: Programs, folder: Folder, run: str, given: argparse.Namespace
) -> None:
    ringmesh = ("python", "-m", "node.cli.main")
    for name in topology.nodes:
        command = node_command(topology, name, folder, network=f"testbed-{run}", ringmesh=ringmesh)
        programs.start(name, command, node_settings(topology, name, folder))
    phones = list(topology.phones)
    servers = [*(topology.pbxs.values() if given.pbx else ())]
    phones += [server.phone.name for server in servers]
    phones += [one.phone.name for one in topology.providers.values()] if given.provider else []
    for name in phones:
        programs.start(name, handset_command(name, folder))
    for name, command in server_commands(topology, folder, pbx=given.pbx, provider=given.provider):
        programs.start(name, command)


def _check(folder: Folder, programs: Programs) -> int:
    """Run the check as a program of its own, as the container does."""
    command = (sys.executable, "-m", "testbed.check", "--folder", str(folder.root))
    asked = [word for word in sys.argv[1:] if word != "--keep"]
    process = subprocess.Popen(  # noqa: S603 - our own program
        tethered(*command, *asked), cwd=ROOT, stdin=subprocess.DEVNULL
    )
    try:
        code = process.wait()
    except KeyboardInterrupt:
        process.terminate()  # a terminal's Ctrl-C reached it as well; it ends once
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_END_WITHIN)
        return INTERRUPTED
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    for line in programs.ended():
        _say(line)
        code = code or 1
    return code


def _stand(net: Namespaces, folder: Folder, hosts: Sequence[str]) -> None:
    _say("The network stands until Ctrl-C. To enter a host:")
    for host in hosts:
        _say(f"  ip netns exec {namespace(net.run, host)} bash")
    _say(f"To ask a node: {sys.executable} -m node.cli.main status --state {folder.states}/NODE")
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the run as Ctrl-C does, with everything taken down."""

    def end(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def main() -> int:
    """Read the command line and run; 130 after Ctrl-C."""
    given = options().parse_args()
    try:
        with _ended_by_sigterm():
            return run(given)
    except KeyboardInterrupt:
        return INTERRUPTED
    except RingmeshError as error:
        _say(str(error))
        return 1


if __name__ == "__main__":
    sys.exit(main())
