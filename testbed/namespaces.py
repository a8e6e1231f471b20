"""The network as Linux network namespaces: what containers would be, with what every kernel has.

Each host is a namespace, and one more holds the bridges that are the networks. Nothing of it
appears in the machine's own network, and no way leads out of it.
"""

import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from federation.model.errors import RingmeshError
from testbed.ruleset import SYSCTLS, ruleset
from testbed.topology import Host, Topology

PREFIX = "ringmesh-"
"What the names of our namespaces begin with; the run and the host follow."
_LOCKS = Path("/run/ringmesh-testbed")
_STEP_WITHIN = 20.0


class NamespaceError(RingmeshError):
    """The network cannot be built; the text says what the system answered."""


@dataclass(frozen=True, slots=True)
class Step:
    """One command of the build."""

    command: tuple[str, ...]
    given: str = ""
    "What it reads on its standard input."


def lacking() -> str | None:
    """Why namespaces cannot be had here, in words; `None` where they can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for program, package in (("ip", "iproute2"), ("nft", "nftables")):
        if shutil.which(program) is None:
            return f"{program} is absent: apt-get install {package}"
    name = f"{PREFIX}try{secrets.token_hex(3)}"
    try:
        _run(Step(("ip", "netns", "add", name)))
        rules = "table ip t {\n chain c {\n type nat hook postrouting priority 100\n }\n}\n"
        _run(Step(("ip", "netns", "exec", name, "nft", "-f", "-"), rules))
    except NamespaceError as error:
        return str(error)
    finally:
        with contextlib.suppress(NamespaceError):
            _run(Step(("ip", "netns", "delete", name)))
    return None


def steps(topology: Topology, hosts: Sequence[Host], run: str, *, loss: float = 0) -> list[Step]:
    """The commands that build the network, in their order."""
    switch = namespace(run, "switch")
    done = [Step(("ip", "netns", "add", namespace(run, host.name))) for host in hosts]
    done += [Step(("ip", "netns", "add", switch))]
    done += [_setting(switch, "net.ipv6.conf.all.disable_ipv6", "1")]
    bridges = [
        line
        for network in topology.networks
        for line in (f"link add name {network} type bridge", f"link set dev {network} up")
    ]
    done += [_batch(switch, bridges)]
    for number, host in enumerate(hosts):
        done += _host_steps(topology, host, number, run)
    for name in topology.gateways:
        here = namespace(run, name)
        done += [Step(_inside(here, "nft", "-f", "-"), ruleset(topology, name, loss=loss))]
        done += [_setting(here, key, value) for key, value in SYSCTLS.items()]
    return done


def _host_steps(topology: Topology, host: Host, number: int, run: str) -> Iterator[Step]:
    here, switch = namespace(run, host.name), namespace(run, "switch")
    lines, ports = ["link set dev lo up"], []
    for index, (network, address) in enumerate(host.links):
        port, prefix = f"h{number}-{index}", topology.networks[network].prefixlen
        lines += [f"link add name eth{index} type veth peer name {port} netns {switch}"]
        lines += [f"address add {address}/{prefix} broadcast + dev eth{index}"]
        lines += [f"link set dev eth{index} up"]
        ports += [f"link set dev {port} master {network} up"]
    lines += [f"route add default via {host.via}"] if host.via is not None else []
    yield _batch(here, lines)
    yield _batch(switch, ports)


def namespace(run: str, host: str) -> str:
    """The name of a host's namespace."""
    return f"{PREFIX}{run}-{host}"


class Namespaces:
    """The network from `build` to `close`. As a context manager it leaves nothing behind."""

    def __init__(self, topology: Topology, hosts: Sequence[Host], *, loss: float = 0) -> None:
        """Plan it; `loss` in per cent, as `ruleset` means it."""
        self.run = secrets.token_hex(3)
        "What tells this run's namespaces from another's."
        self.folder = Path(tempfile.gettempdir(), f"ringmesh-testbed-{self.run}")
        "Logs and states of this run; whoever uses the network makes and removes it."
        self._steps = steps(topology, hosts, self.run, loss=loss)
        self._lock: IO[str] | None = None

    def __enter__(self) -> Self:
        remove_leftovers()
        self._lock = _locked(_LOCKS / self.run)
        try:
            for step in self._steps:
                _run(step)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End what still runs inside, and remove the namespaces. Harmless when repeated."""
        _remove(self.run)
        if self._lock is not None:
            (_LOCKS / self.run).unlink(missing_ok=True)
            self._lock.close()
            self._lock = None

    def inside(self, host: str, *command: str) -> tuple[str, ...]:
        """The command line that runs `command` on that host; its first word is a path."""
        return (shutil.which("ip") or "ip", *_inside(namespace(self.run, host), *command)[1:])


def remove_leftovers() -> list[str]:
    """Remove what runs left that were killed, folders included; returns those runs.

    A run holds a lock on its file as long as it lives.
    """
    gone = []
    for file in _LOCKS.iterdir() if _LOCKS.is_dir() else ():
        lock = _locked(file)
        if lock is not None:
            _remove(file.name)
            shutil.rmtree(
                Path(tempfile.gettempdir(), f"ringmesh-testbed-{file.name}"), ignore_errors=True
            )
            file.unlink(missing_ok=True)
            lock.close()
            gone.append(file.name)
    return gone


def _locked(file: Path) -> IO[str] | None:
    """The opened file, which nobody else can lock until it is closed; `None`: another has it."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = file.open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock


def _remove(run: str) -> None:
    listed = _run(Step(("ip", "netns", "list"))).splitlines()
    names = [line.split()[0] for line in listed if line.startswith(f"{PREFIX}{run}-")]
    for name in names:
        for pid in _run(Step(("ip", "netns", "pids", name))).split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
    for name in names:
        _run(Step(("ip", "netns", "delete", name)))


def _batch(here: str, lines: Sequence[str]) -> Step:
    return Step(("ip", "-n", here, "-batch", "-"), "".join(f"{line}\n" for line in lines))


def _setting(here: str, key: str, value: str) -> Step:
    """Tell the kernel, as sysctl would."""
    file = f"/proc/sys/{key.replace('.', '/')}"
    return Step(_inside(here, "sh", "-c", f"echo {value} > {file}"))


def _inside(here: str, *command: str) -> tuple[str, ...]:
    return ("ip", "netns", "exec", here, *command)


def _run(step: Step) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - the commands are those above
            step.command,
            input=step.given,
            capture_output=True,
            text=True,
            timeout=_STEP_WITHIN,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NamespaceError(f"`{' '.join(step.command)}`: {error}") from error
    if done.returncode != 0:
        raise NamespaceError(f"`{' '.join(step.command)}`: {done.stderr.strip()}")
    return done.stdout
