"""A node in a process of its own, run and asked as a person would: by commands, or by its API.

The demo, examples and tests share it. The process cannot outlive the one that started it.
"""

import asyncio
import contextlib
import itertools
import json
import os
import secrets
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from federation.model.address import Endpoint
from federation.model.errors import RingmeshError
from node.api_client import ApiClient, NodeNotRunningError
from node.control import RefusedError
from node.tether import tethered

READY_WITHIN = 30.0
"Seconds a first start may take, key and puzzle included."
STOP_WITHIN = 8.0
"Seconds after SIGTERM; a node promises 5."
ASK_WITHIN = 40.0
"Seconds for one command."
NO_NODE = 3
"The exit code of commands while no node runs."
_POLL = 0.1
_LOOK_WITHIN = 2.0
"Seconds one look at the status may take."
_LOG_LINES = 15
_PORTS = {
    socket.SOCK_DGRAM: (5060, 7060, 3478),
    socket.SOCK_STREAM: (5060, 5061, 3478, 5349, 8060),
}
_OFFSETS = range(0, 290, 10)


class SpawnedNodeError(RingmeshError):
    """A node did not start, answer or stop as it should; the text holds the end of its log."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node listens."""

    ip: str
    "Empty: on all addresses of both families."
    port_offset: int = 0

    @property
    def sip_port(self) -> int:
        """Where its phones find it."""
        return 5060 + self.port_offset

    @property
    def mesh(self) -> str:
        """Where other nodes find it, `host:port`."""
        return str(Endpoint(self.ip or "127.0.0.1", 7060 + self.port_offset))


def free_places(count: int) -> list[Place]:
    """Places on this machine's loopback where nodes can run side by side.

    On Linux each has an address of its own and the standard ports, unless another program holds
    those on every address; elsewhere there is one address and offsets. All are in one of 255
    networks of 127.0.0.0/16, so that programs which ask at the same moment do not meet.

    Raises:
        SpawnedNodeError: everything is taken.
    """
    found = []
    for place in _candidates():
        if is_free(place):
            found.append(place)
            if len(found) == count:
                return found
    raise SpawnedNodeError(f"the loopback has no room for {count} nodes: all ports are taken")


def _candidates() -> Iterator[Place]:
    if sys.platform != "linux":
        yield from (Place("127.0.0.1", offset) for offset in _OFFSETS)
        return
    network, start = secrets.randbelow(255), secrets.randbelow(253)
    for offset in _OFFSETS:
        yield from (Place(f"127.0.{network}.{2 + (start + n) % 253}", offset) for n in range(253))


def is_free(place: Place) -> bool:
    """Whether no program holds a port that a node at this place would need."""
    hosts = [place.ip] if place.ip else ["0.0.0.0", "::"]  # noqa: S104 - asked for
    wanted = itertools.product(hosts, _PORTS.items())
    return all(
        _is_free(host, port + place.port_offset, kind)
        for host, (kind, ports) in wanted
        for port in ports
    )


def _is_free(host: str, port: int, kind: socket.SocketKind) -> bool:
    is_ipv6 = ":" in host
    with socket.socket(socket.AF_INET6 if is_ipv6 else socket.AF_INET, kind) as probe:
        try:
            if is_ipv6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind((host, port))
        except OSError:
            return False
    return True


class SpawnedNode:
    """One `ringmesh up`, from `start` to `stop`. As a context manager it never leaves a process."""

    def __init__(
        self,
        name: str,
        place: Place,
        *,
        folder: Path,
        network: str,
        options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Describe a node that keeps its state and log in `folder`.

        `environment` is added to that of this process.
        """
        self.name = name
        self.place = place
        self.state = folder / name
        self.log = folder / f"{name}.log"
        self._api = ApiClient(self.state / "api.sock", _LOOK_WITHIN)
        self.status: dict[str, Any] = {}
        "What its status last said."
        self._network = network
        self._options = tuple(options)
        self._environment = {**os.environ, **(environment or {})}
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()

    @property
    def pid(self) -> int:
        """The process id of a started node."""
        return self._running().pid

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.returncode is None

    async def start(self, *further: str) -> None:
        """Start the process; `further` options are for this run alone."""
        command = (sys.executable, "-m", "node.cli.main", "up", "--state", str(self.state))
        listen = ("--listen", self.place.ip) if self.place.ip else ()
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *tethered(
                    *(*command, "--network", self._network, *listen),
                    *("--port-offset", str(self.place.port_offset)),
                    *("--log-format", "json", "--json", *self._options, *further),
                ),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,  # Ctrl-C is handled by whoever started the node
            )

    async def ready(self, within: float = READY_WITHIN) -> dict[str, Any]:
        """Wait until the node says it is ready; returns its status.

        Raises:
            SpawnedNodeError: it ended, or is not ready in time.
        """
        return await self.until(lambda status: bool(status["ready"]), within, "ready")

    async def until(
        self, holds: Callable[[dict[str, Any]], bool], within: float, what: str
    ) -> dict[str, Any]:
        """Ask for the status again and again until `holds` of it; returns it.

        Raises:
            SpawnedNodeError: the node ended, or it never held in time.
        """
        process = self._running()
        try:
            async with asyncio.timeout(within):
                while True:
                    if process.returncode is not None:
                        raise self._trouble(f"ended with exit code {process.returncode}")
                    if await self._look() and holds(self.status):
                        return self.status
                    await asyncio.sleep(_POLL)
        except TimeoutError as error:
            raise self._trouble(f"was not {what} in {within:g} s") from error

    async def get(self, *segments: str, **query: str) -> Any:
        """Ask the admin API for a resource: what a command does, without a process for it.

        Raises:
            SpawnedNodeError: the node is not running, or said no.
        """
        return await self._request("GET", *segments, query=query)

    async def _request(self, method: str, *segments: str, **content: Any) -> Any:
        api = ApiClient(self.state / "api.sock", ASK_WITHIN)
        try:
            return await asyncio.to_thread(api.request, method, *segments, **content)
        except (NodeNotRunningError, RefusedError) as error:
            asked = f"{method} /v1/{'/'.join(segments)}"
            raise self._trouble(f"said no to {asked}: {error}") from error

    async def _look(self) -> bool:
        """Note what the node's API says of it."""
        with contextlib.suppress(NodeNotRunningError, RefusedError):
            self.status = await asyncio.to_thread(self._api.get, "status")
            return True
        return False

    async def ask(self, *command: str) -> Any:
        """Run a command with `--json` and return what it printed.

        Raises:
            SpawnedNodeError: it failed, or takes too long.
        """
        code, answer, complaint = await self.command(*command, "--json")
        if code != 0:
            raise self._trouble(f"said no to `{' '.join(command)}`: {complaint or answer}")
        return json.loads(answer)

    async def command(self, *command: str) -> tuple[int, str, str]:
        """Run a command on this node's state; returns exit code, output and errors.

        Raises:
            SpawnedNodeError: it takes too long.
        """
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "node.cli.main", *command, "--state", str(self.state)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(ASK_WITHIN):
                output, errors = await process.communicate()
        except TimeoutError as error:
            raise self._trouble(f"did not answer `{' '.join(command)}`") from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode is not None
        return process.returncode, output.decode().strip(), errors.decode().strip()

    async def add_user(self, login: str, *, within: float = 10.0) -> dict[str, Any]:
        """Add a user and wait for the number; returns the account with its password.

        Raises:
            SpawnedNodeError: refused, or there is no number in time.
        """
        account: dict[str, Any] = await self._request("POST", "users", body={"login": login})
        try:
            async with asyncio.timeout(within):
                while not account["number"]:
                    await asyncio.sleep(_POLL)
                    account["number"] = (await self.get("users", login))["number"]
        except TimeoutError as error:
            raise self._trouble(f"gave {login} no number in {within:g} s") from error
        return account

    async def stop(self, within: float = STOP_WITHIN) -> int:
        """Ask it to end (SIGTERM) and return the exit code.

        Raises:
            SpawnedNodeError: it does not end in time; it was killed then.
        """
        process = self._running()
        if process.returncode is None:
            process.terminate()
        try:
            async with asyncio.timeout(within):
                return await process.wait()
        except TimeoutError as error:
            await self.kill()
            raise self._trouble(f"did not end within {within:g} s of SIGTERM") from error

    async def ended(self, within: float = STOP_WITHIN) -> int:
        """Wait until it ends by itself; returns the exit code.

        Raises:
            SpawnedNodeError: it goes on.
        """
        try:
            async with asyncio.timeout(within):
                return await self._running().wait()
        except TimeoutError as error:
            raise self._trouble(f"did not end within {within:g} s") from error

    async def kill(self) -> None:
        """End it at once, without a chance to say goodbye. Harmless when it has ended."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    def log_end(self, lines: int = _LOG_LINES) -> str:
        """The last lines of its log."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _running(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise SpawnedNodeError(f"{self.name} was never started")
        return self._process

    def _trouble(self, what: str) -> SpawnedNodeError:
        return SpawnedNodeError(f"{self.name} {what}\n{self.log_end()}".rstrip())


def peer_count(status: dict[str, Any]) -> int:
    """How many other nodes a status names."""
    peers = status["peers"]
    return len(peers) if isinstance(peers, list) else int(peers)
