"""What registrations and local calls cost the node's asyncio process, and Kamailio beside it.

The node is measured as it is, and with its SIP path compiled where `make fast` has made that. SIPp
brings the load over UDP on the loopback; the figures are CPU time from /proc, so they do not
depend on how busy the machine is otherwise. A transaction lingers half a minute to absorb what
comes late; what its end costs is measured after the load and added to each figure. Wake-ups
dominate low rates, so a figure holds at the rate it names only.
"""

import asyncio
import contextlib
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from node.spawned import Place, SpawnedNode, free_places
from tests.benchmarks.figures import cpu_seconds, show, skipped, title
from tests.benchmarks.load import Load, OverloadError, Sipp, User, called, prepared_rows
from tests.benchmarks.udp_phone import UdpPhone
from tests.support.ports import free_port
from tests.support.processes import descendants
from tests.support.programs import PACKAGES, running

REGISTRATION_GOAL_MS = 0.12
CALL_GOAL_MS = 0.40
RATIO_GOAL = 1.3
"Times what Kamailio takes at the same rate in the same run, where wake-ups decide."
USERS = 10
"Accounts that call, and as many that are called."
DEVICES = 8
"Contacts each account registers, in turn."
SECONDS = 5
LINGER = 34.0
"Seconds until nothing of a transaction is left (timers H, J, L, M: 32 s)."
PASSWORD = "a-password-of-benchmarks"
SETTLE = 1.0
KAMAILIO = "Kamailio"
ROOT = Path(__file__).parents[2]
FAST = ROOT / ".fast"
"Where `make fast` puts the compiled build."


@dataclass(frozen=True, slots=True)
class Kind:
    """One load."""

    name: str
    scenario: str
    rate: int
    transactions: int
    "Of the server, for each call."
    goal: float | None = None
    with_kamailio: bool = True


REGISTRATIONS = (
    Kind("REGISTER, 401, REGISTER, 200", "register", 1000, 2),
    Kind("REGISTER, 401, REGISTER, 200", "register", 4000, 2, REGISTRATION_GOAL_MS),
    Kind("REGISTER with a known nonce, 200", "refresh", 1000, 1),
)
CALLS = (
    Kind("call, no SDP", "call", 300, 4),
    Kind("call, no SDP", "call", 600, 4),
    Kind("call, no SDP", "call", 1500, 4, CALL_GOAL_MS),
    Kind("call with SDP and two anchors", "call_with_sdp", 100, 4, None, with_kamailio=False),
)


class Server:
    """A SIP server with accounts, and what it has spent on each load."""

    def __init__(self, place: Place, pids: Sequence[int], users: Sequence[User]) -> None:
        self.place = place
        self.pids = pids
        self.callers, self.callees = users[:USERS], users[USERS:]
        self._spent: list[tuple[Kind, Load]] = []
        self._after = (0.0, 0.0)
        self.failed: dict[Kind, str] = {}
        "Loads that were not carried, and what SIPp said."

    async def take_load(self, folder: Path, *, only_common: bool) -> None:
        """Go through all loads; then `figures` needs `LINGER` seconds of rest."""
        sipp = Sipp(folder, self.place, self.pids)
        for kind in (*REGISTRATIONS, *CALLS):
            if only_common and not kind.with_kamailio:
                continue
            put = self._register if kind in REGISTRATIONS else self._call
            try:
                await put(sipp, kind)
            except OverloadError as error:
                self.failed[kind] = str(error)
        self._after = (cpu_seconds(*self.pids), time.monotonic())

    async def figures(self) -> dict[Kind, float]:
        """Milliseconds for each, ends of transactions included."""
        cpu, at = self._after
        await asyncio.sleep(max(0.0, at + LINGER - time.monotonic()))
        tail = cpu_seconds(*self.pids) - cpu
        each = tail / sum(kind.transactions * load.count for kind, load in self._spent)
        return {
            kind: (load.cpu / load.count + each * kind.transactions) * 1e3
            for kind, load in self._spent
        }

    async def _register(self, sipp: Sipp, kind: Kind) -> None:
        count = kind.rate * SECONDS
        contacts = [f"{self.place.ip}:{40000 + number}" for number in range(DEVICES)]
        rows = await prepared_rows(self.place, self.callers, [""], "REGISTER", count)
        for number, row in enumerate(rows):
            row[1] = contacts[number // USERS % DEVICES]
        self._spent.append((kind, await sipp.run(kind.scenario, rows, rate=kind.rate, count=count)))

    async def _call(self, sipp: Sipp, kind: Kind) -> None:
        count = kind.rate * SECONDS
        aims = [user.login for user in self.callees]
        rows = await prepared_rows(self.place, self.callers, aims, "INVITE", count)
        async with (
            called(self.place, self.callees) as phone,
            sipp.answering(kind.scenario.replace("call", "answer"), [phone]),
        ):
            await asyncio.sleep(SETTLE)
            load = await sipp.run(kind.scenario, rows, rate=kind.rate, count=count)
        self._spent.append((kind, load))


def builds() -> dict[str, dict[str, str]]:
    """What there is of our node, by name: the environment that its process needs."""
    found = {"pure": {"PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1"}}
    if (FAST / ".made").exists():
        found["compiled"] = {"PYTHONPATH": str(FAST), "PYTHONSAFEPATH": "1"}
    return found


@asynccontextmanager
async def a_node(
    folder: Path, place: Place, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Server]:
    """Our node with its accounts, numbers computed."""
    node = SpawnedNode(
        "node",
        place,
        folder=folder,
        network=f"bench-{secrets.token_hex(4)}",
        options=("--no-mdns", "--workers", "1"),
        environment=environment,
    )
    async with node:
        await node.ready()
        users = [User(f"user{number:02}", PASSWORD) for number in range(2 * USERS)]
        table = folder / "users.csv"
        table.write_text("login,password\n" + "".join(f"{u.login},{u.password}\n" for u in users))
        await node.ask("user", "add", "--from", str(table))
        while not all(sheet["number"] for sheet in await node.ask("user", "list")):
            await asyncio.sleep(SETTLE)
        yield Server(place, [node.pid], users)


@asynccontextmanager
async def a_kamailio(folder: Path, place: Place) -> AsyncIterator[Server]:
    """Kamailio with one UDP worker; what all of its processes take counts."""
    port = free_port(place.ip)
    home = Place(place.ip, port - 5060)
    config = Path(__file__).parent / "kamailio.cfg"
    command = ("kamailio", "-DD", "-E", "-f", str(config), "-l", f"udp:{home.ip}:{port}")
    command += ("-A", f'PASSWORD="{PASSWORD}"', "-m", "256", "-Y", str(folder), "-w", str(folder))
    async with running(*command, cwd=folder) as program:
        users = [User(f"user{n:02}", PASSWORD) for n in range(2 * USERS)]
        await asyncio.sleep(SETTLE)
        if not await _answers(home, users[0]) or program.process.returncode is not None:
            raise RuntimeError(f"Kamailio did not start:\n{program.output}")
        pids = (program.process.pid, *descendants(program.process.pid))
        yield Server(home, pids, users)


async def _answers(place: Place, user: User) -> bool:
    """Whether a server answers one of a few questions; what came before it listened is lost."""
    for _ in range(5):
        async with UdpPhone(user.login, user.password, place) as phone:
            with contextlib.suppress(TimeoutError):
                await phone.credentials("REGISTER", f"sip:{place.ip}:{place.sip_port}")
                return True
    return False


async def main() -> int:
    """Print the figures."""
    title("SIP over UDP on one process, CPU time of the server:")
    if shutil.which("sipp") is None:
        skipped("everything", f"SIPp is absent (apt-get install {PACKAGES['sipp']})")
        return 0
    with tempfile.TemporaryDirectory(prefix="ringmesh-bench-") as name:
        folder = Path(name)
        servers: dict[str, Server] = {}
        async with AsyncExitStack() as stack:
            for build, environment in builds().items():
                home = folder / build
                home.mkdir()
                server = a_node(home, free_places(1)[0], environment)
                servers[build] = await stack.enter_async_context(server)
                await servers[build].take_load(home / "load", only_common=False)
            if shutil.which("kamailio") is not None:
                servers[KAMAILIO] = await stack.enter_async_context(
                    a_kamailio(folder, free_places(1)[0])
                )
                await servers[KAMAILIO].take_load(folder / "other-load", only_common=True)
            spent = await asyncio.gather(*(server.figures() for server in servers.values()))
            figures = dict(zip(servers, spent, strict=True))
    yardstick = figures.pop(KAMAILIO, {})
    for build, ours in figures.items():
        for kind in (*REGISTRATIONS, *CALLS):
            show_one(build, kind, ours.get(kind), yardstick.get(kind), servers[build])
    if "compiled" not in figures:
        skipped("compiled", "`make fast` has not made it")
    if KAMAILIO not in servers:
        skipped("Kamailio beside it", f"absent (apt-get install {PACKAGES['kamailio']})")
    return 0


def show_one(
    build: str, kind: Kind, value: float | None, other: float | None, server: Server
) -> None:
    """Print one figure, or that the load was not carried."""
    name = f"{build}: {kind.name}, {kind.rate:,}/s"
    if value is None:
        skipped(name, f"not carried: {server.failed[kind]}")
        return
    note, goal = "", kind.goal
    if other is not None:
        note = f"Kamailio {other:.2f}, ratio {value / other:.1f}"
        goal = goal or other * RATIO_GOAL
    show(name, value, "ms", goal=goal, note=note)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
