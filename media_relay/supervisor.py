"""One worker and its successors: a process, a control link, and the sessions it serves.

The supervisor keeps a copy of every socket. When its worker dies, or does not answer a ping for
two seconds and is killed for that, another is started and given everything anew; datagrams that
came meanwhile wait in the sockets.
"""

import asyncio
import os
import site
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

import media_relay
from federation.model.address import Endpoint, parse_ip
from federation.model.clocks import Clock, Monotonic
from media_relay.control import (
    VERSION,
    AttachLegPort,
    Latched,
    Notice,
    Order,
    Ping,
    Pong,
    Ready,
    Report,
    Totals,
)
from media_relay.control_link import ControlLink
from media_relay.control_turn import GuestTraffic, RelayClosed, TurnNotice, TurnUsage, WantRelay
from media_relay.errors import NoCapacity
from media_relay.reports import RelayEvent, WorkerLost, WorkerRestarted, WorkerUsage
from media_relay.session import RelaySession

PING_SECONDS = 0.5
HANG_SECONDS = 2.0
"A worker that leaves a ping unanswered for so long is killed."
START_SECONDS = 10.0
"The same for one that is still starting."
STABLE_SECONDS = 1.0
"A worker that dies sooner, the second time in a row, is replaced after a pause that doubles."
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
MOST_EARLY_DEATHS = 3
"A worker that dies so often before it ever served keeps the pool from starting."
CLOSE_SECONDS = 2.0
"How long a worker may take to end by itself."
_ID_SPAN = 0xFFFFFFFF
_NO_TOTALS = Totals(0, 0, 0, 0)

log = structlog.get_logger("relay")


class Supervisor:
    """Keeps one worker running; the `Carrier` of its sessions."""

    def __init__(
        self,
        index: int,
        *,
        leg_sockets: Sequence[socket.socket],
        first_leg_id: int,
        marks: int,
        on_turn: Callable[["Supervisor", TurnNotice], None],
        on_spawned: Callable[["Supervisor"], None],
        module: str,
        clock: Clock,
        on_event: Callable[[RelayEvent], None],
    ) -> None:
        self.index = index
        self.sessions: set[RelaySession] = set()
        self._leg_sockets = {sock.family == socket.AF_INET6: sock for sock in leg_sockets}
        self._marks = marks
        "Descriptor of the marks of ports that carry media, for the worker to read."
        self._on_turn = on_turn
        self._on_spawned = on_spawned
        self._module = module
        self._clock = clock
        self._on_event = on_event
        self._loop = asyncio.get_running_loop()
        self._owners: dict[tuple[bool, int], RelaySession] = {}
        self._anchor_ids = Ids(1)
        self._leg_ids = Ids(first_leg_id)
        self._process: subprocess.Popen[bytes] | None = None
        self._pidfd = -1
        self._link: ControlLink | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._respawn_timer: asyncio.TimerHandle | None = None
        self._ready = asyncio.Event()
        self._settled = asyncio.Event()
        "Ready once, or not to be expected to be."
        self._gone = asyncio.Event()
        self._gone.set()
        self._closing = False
        self._spawned_at = self._last_tick = clock.monotonic()
        self._lost_at: Monotonic | None = None
        self._unanswered_since: Monotonic | None = None
        self._serial = 0
        self._reinstalled_serial: int | None = None
        self._early_deaths = 0
        self._reason = ""
        self._restarts = 0
        self._totals = self._totals_before = _NO_TOTALS

    # Life

    def start(self) -> None:
        """Start the worker and keep it running from now on.

        Raises:
            NoCapacity: no process can be started.
        """
        try:
            self._spawn()
        except OSError as error:
            raise NoCapacity(f"relay worker {self.index}: {error.strerror}") from error
        self._tick()

    async def wait_ready(self) -> None:
        """Wait until the worker serves.

        Raises:
            NoCapacity: it did not come up in time, or died again and again.
        """
        try:
            await asyncio.wait_for(self._settled.wait(), START_SECONDS)
        except TimeoutError as error:
            raise NoCapacity(f"relay worker {self.index} does not start in time") from error
        if not self._ready.is_set():
            raise NoCapacity(f"relay worker {self.index} does not start: {self._reason}")

    async def close(self) -> None:
        """End the worker; its sessions must be closed before."""
        self._closing = True
        for timer in (self._timer, self._respawn_timer):
            if timer is not None:
                timer.cancel()
        if self._link is not None:
            self._link.close()
        try:
            await asyncio.wait_for(self._gone.wait(), CLOSE_SECONDS)
        except TimeoutError:
            self._kill("did not end by itself")
            await self._gone.wait()

    @property
    def is_up(self) -> bool:
        """Whether there is a worker, though it may still be starting."""
        return self._process is not None and not self._closing

    @property
    def load(self) -> int:
        """How many sessions live here."""
        return len(self.sessions)

    @property
    def usage(self) -> WorkerUsage:
        """What the worker carries."""
        before, latest = self._totals_before, self._totals
        return WorkerUsage(
            index=self.index,
            pid=self._process.pid if self._process else None,
            sessions=len(self.sessions),
            endpoints=sum(session.endpoints for session in self.sessions),
            packets=before.packets + latest.packets,
            bytes=before.bytes + latest.bytes,
            restarts=self._restarts,
            strays=before.strays + latest.strays,
        )

    # For sessions

    def post(self, order: Order, sockets: Sequence[socket.socket] = ()) -> None:
        """Send an order; without a worker nothing is lost, the next one is given everything."""
        if self._link is not None:
            self._link.send(order, sockets)

    def leg_endpoint(self, facing: str) -> Endpoint:
        """Where other nodes send sealed legs for this worker.

        Raises:
            NoCapacity: no port of that family.
        """
        ip = parse_ip(facing)
        sock = self._leg_sockets.get(ip.version == 6)
        if sock is None:
            raise NoCapacity(f"sealed legs have no IPv{ip.version} port")
        bound = Endpoint.of(sock.getsockname())
        return Endpoint.from_ip(ip, bound.port) if bound.ip.is_unspecified else bound

    def new_anchor_id(self, session: RelaySession) -> int:
        """An unused anchor id."""
        anchor_id = self._anchor_ids.take(1, lambda candidate: (False, candidate) in self._owners)
        self._owners[False, anchor_id] = session
        return anchor_id

    def new_leg_ids(self, session: RelaySession, count: int) -> int:
        """The first of `count` unused leg ids."""
        first = self._leg_ids.take(count, lambda candidate: (True, candidate) in self._owners)
        for leg_id in range(first, first + count):
            self._owners[True, leg_id] = session
        return first

    def forget(self, session: RelaySession) -> None:
        """A session ended; its last reports are still passed on."""
        self.sessions.discard(session)

    # The process

    def _spawn(self) -> None:
        self._link = ControlLink(on_notice=self._take, on_broken=self._kill)
        inherited = [self._link.worker_end.fileno(), self._marks]
        self._process = subprocess.Popen(  # noqa: S603  (our own module, no shell)
            [sys.executable, "-P", "-m", self._module, *map(str, inherited)],
            pass_fds=inherited,
            stdin=subprocess.DEVNULL,
            env=_worker_environment(),
            process_group=0,
        )
        self._link.worker_end.close()
        self._pidfd = os.pidfd_open(self._process.pid)
        self._loop.add_reader(self._pidfd, self._exited)
        self._gone.clear()
        self._ready.clear()
        self._spawned_at = self._clock.monotonic()
        self._unanswered_since = self._spawned_at
        self._reason = ""
        for ipv6, sock in self._leg_sockets.items():
            self.post(AttachLegPort(ipv6), [sock])
        self._on_spawned(self)

    def _exited(self) -> None:
        """The worker is dead, for whatever reason."""
        process, link = self._process, self._link
        if process is None or link is None:
            return
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        link.drain()
        link.close()
        status = process.wait()
        self._process = self._link = None
        self._gone.set()
        if self._closing:
            return
        now = self._clock.monotonic()
        self._lost_at = self._lost_at or now
        reason = self._reason or _ending(status)
        log.warning("worker_lost", worker=self.index, reason=reason, sessions=len(self.sessions))
        self._on_event(WorkerLost(self.index, reason, len(self.sessions)))
        stable = self._ready.is_set() and now - self._spawned_at >= STABLE_SECONDS
        self._early_deaths = 0 if stable else self._early_deaths + 1
        if self._early_deaths >= MOST_EARLY_DEATHS and not self._settled.is_set():
            self._reason = reason
            self._settled.set()
        pause = respawn_pause(self._early_deaths)
        self._respawn_timer = self._loop.call_later(pause, self._respawn)

    def _respawn(self) -> None:
        if self._closing:
            return
        self._restarts += 1
        before, latest = self._totals_before, self._totals
        self._totals_before = Totals(
            before.packets + latest.packets,
            before.bytes + latest.bytes,
            before.strays + latest.strays,
            before.ignored_orders + latest.ignored_orders,
        )
        self._totals = _NO_TOTALS
        self._owners = {end: owner for end, owner in self._owners.items() if owner in self.sessions}
        self._spawn()
        for session in list(self.sessions):
            session.worker_replaced()
        self._reinstalled_serial = self._ping()

    def _kill(self, reason: str) -> None:
        if self._process is not None:
            self._reason = reason
            self._process.kill()

    # Watching

    def _tick(self) -> None:
        now = self._clock.monotonic()
        # Was this process itself late, the worker may have answered: look first, judge next time.
        late = now - self._last_tick > 2 * PING_SECONDS
        self._last_tick = now
        if self._link is not None and late:
            self._link.drain()
        elif self._unanswered_since is None:
            self._ping()
        elif now - self._unanswered_since >= (
            HANG_SECONDS if self._ready.is_set() else START_SECONDS
        ):
            self._kill("it hung")
        self._timer = self._loop.call_later(PING_SECONDS, self._tick)

    def _ping(self) -> int:
        self._serial = (self._serial + 1) & 0xFFFFFFFF
        if self._unanswered_since is None:
            self._unanswered_since = self._clock.monotonic()
        self.post(Ping(self._serial))
        return self._serial

    def _take(self, notice: Notice) -> None:
        match notice:
            case Ready(version, descriptors):
                if version != VERSION:
                    self._kill(f"it speaks version {version} of the control messages")
                    return
                self._unanswered_since = None
                self._ready.set()
                self._settled.set()
                log.debug("worker_ready", worker=self.index, descriptors=descriptors)
            case Pong(serial):
                self._unanswered_since = None
                if serial == self._reinstalled_serial:
                    self._reinstalled()
            case Latched(anchor):
                owner = self._owners.get((False, anchor))
                if owner is not None:
                    owner.worker_latched(notice)
            case Report(then, endpoints):
                offset = self._clock.monotonic() - then
                for counters in endpoints:
                    end = counters.is_leg, counters.id
                    owner = (
                        self._owners.pop(end, None) if counters.is_last else self._owners.get(end)
                    )
                    if owner is not None:
                        owner.worker_counted(counters, clock_offset=offset)
            case Totals():
                self._totals = notice
            case WantRelay() | RelayClosed() | TurnUsage() | GuestTraffic():
                self._on_turn(self, notice)

    def _reinstalled(self) -> None:
        self._reinstalled_serial = None
        if self._process is None or self._lost_at is None:
            return
        seconds = self._clock.monotonic() - self._lost_at
        self._lost_at = None
        log.info("worker_restarted", worker=self.index, seconds=round(seconds, 3))
        self._on_event(WorkerRestarted(self.index, self._process.pid, len(self.sessions), seconds))


def respawn_pause(early_deaths: int) -> float:
    """Seconds to wait after so many workers in a row died right after they were started."""
    if early_deaths < 2:
        return 0.0
    return float(min(FIRST_PAUSE_SECONDS * 2 ** (early_deaths - 2), LONGEST_PAUSE_SECONDS))


class Ids:
    """Unused 32-bit ids, never 0, the same one again only after all others."""

    def __init__(self, first: int) -> None:
        self._next = 1 + first % _ID_SPAN

    def take(self, count: int, is_used: Callable[[int], bool]) -> int:
        """The first of `count` consecutive unused ids."""
        while True:
            first = self._next
            if first + count - 1 > _ID_SPAN:
                self._next = 1
                continue
            used = [candidate for candidate in range(first, first + count) if is_used(candidate)]
            self._next = used[-1] + 1 if used else first + count
            if self._next > _ID_SPAN:
                self._next = 1
            if not used:
                return first


def _worker_environment() -> dict[str, str]:
    """The environment, with the folder of our packages where Python would not look by itself."""
    environment = dict(os.environ)
    folder = str(Path(media_relay.__file__).parent.parent)
    if folder not in site.getsitepackages():
        known = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = os.pathsep.join([folder, known] if known else [folder])
    return environment


def _ending(status: int) -> str:
    return f"killed by signal {-status}" if status < 0 else f"ended with status {status}"
