"""The servers of trunks (shell): where they are, whether they serve, and who sends from there.

A `Registration` for each provider and each PBX with a fixed address is lent DNS, the transaction
layer and a clock. Nothing is looked up while a call waits: servers are resolved when a trunk is
added, when none serves any more, and every few minutes.
"""

import asyncio
import contextlib
import hmac
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Protocol

import structlog

from federation.messages import Leg
from federation.model.address import Endpoint
from federation.model.clocks import Clock, Entropy
from node.edge.dialog import TrunkSide
from node.sip.digest_client import DigestClient
from node.sip.errors import SipParseError
from node.sip.failover import SparedHops
from node.sip.flow import Flow, TransportName
from node.sip.locate import Hop, LocateError, Target
from node.sip.message import Request, Response
from node.sip.registration import (
    Changed,
    Effect,
    Registration,
    RegistrationPlan,
    RegistrationState,
    Resolve,
    Send,
)
from node.trunks.book import TrunkBook
from node.trunks.trunk import PbxSettings, ProviderSettings, Trunk, host_of, target_of

RESOLVE_INTERVAL = 300.0
"Seconds after which DNS is asked again where a trunk's servers are."
MAX_HOPS = 24
"Servers of one trunk, all its names together."
TOKEN_BYTES = 8
FAREWELL = 1.0
"Seconds to wait at the end for registrations to be taken back."
log = structlog.get_logger("trunks")


class Finder(Protocol):
    """RFC 3263 (`node.sip_location.SipLocator`)."""

    async def locate(self, target: Target) -> tuple[Hop, ...]:
        """The servers of a target; raises `LocateError`."""


class Asker(Protocol):
    """Sends requests of this node's own (`node.edge.edge.Edge.ask`)."""

    def __call__(self, request: Request, flow: Flow, owner: "Answer") -> object:
        """Put a Via on it and send it in a transaction."""


@dataclass(slots=True)
class Answer:
    """Hears what comes of one request, once."""

    on_answer: Callable[[Response], None]
    on_silence: Callable[[str], None]
    done: bool = False

    def on_response(
        self, branch: int, response: Response, legs: Sequence[Leg], peer_ip: str
    ) -> None:
        """A response; provisional ones say nothing here."""
        if response.status >= 200 and not self.done:
            self.done = True
            self.on_answer(response)

    def on_failure(self, branch: int, status: int, reason: str) -> None:
        """There will be none."""
        if not self.done:
            self.done = True
            self.on_silence("does not answer" if status == 408 else "cannot be reached")


@dataclass(slots=True)
class Line:
    """One trunk with servers of its own."""

    trunk: Trunk
    core: Registration
    credentials: DigestClient | None
    token: str
    "The user part of our Contact there."
    endpoints: set[Endpoint] = field(default_factory=set)
    "Where its servers are; UDP comes from exactly there."
    hosts: frozenset[str] = frozenset()
    problem: str = ""
    "What DNS lacks, as a sentence."
    timer: asyncio.TimerHandle | None = None
    resolving: asyncio.Task[None] | None = None
    watching: asyncio.TimerHandle | None = None
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    "Set when a registration, or its end, has come to an end, good or bad."


class TrunkLines:
    """Implements `node.edge.trunk_lines.Lines` for a running node."""

    def __init__(
        self,
        book: TrunkBook,
        *,
        finder: Finder,
        flow_to: Callable[[TransportName, Endpoint, str], Flow],
        reached_at: Callable[[Flow], str],
        learn: Callable[[Endpoint, Endpoint], None],
        secret: bytes,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        """`secret` makes the tokens, so that they stay over restarts.

        `learn` hears of a server, and of the address by which it sees this node.
        """
        self._book = book
        self._finder = finder
        self._flow_to = flow_to
        self._reached_at = reached_at
        self._learn = learn
        self._secret = secret
        self._clock = clock
        self._entropy = entropy
        self._spared = SparedHops()
        self._lines: dict[str, Line] = {}
        self._ask: Asker | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    # Life

    def start(self, ask: Asker) -> None:
        """Register everywhere, and follow the changes of the book."""
        self._ask = ask
        for trunk in self._book:
            self._open(trunk)
        self._book.listen(self._changed)

    async def close(self) -> None:
        """Take every registration back, and end."""
        lines = list(self._lines.values())
        for line in lines:
            self._shut(line)
        waiting = [line.settled for line in lines if line.core.is_pending]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL):
                for event in waiting:
                    await event.wait()
        self._lines.clear()
        self._ask = None
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _changed(self, name: str) -> None:
        line, trunk = self._lines.pop(name, None), self._book.get(name)
        if line is not None:
            self._shut(line)
        if trunk is not None and self._ask is not None:
            self._open(trunk)

    def _open(self, trunk: Trunk) -> None:
        settings = trunk.settings
        if isinstance(settings, PbxSettings) and settings.static is None:
            return
        line = self._make(trunk)
        self._lines[trunk.name] = line
        self._carry_out(line, line.core.start(now=self._clock.monotonic()))

    def _make(self, trunk: Trunk) -> Line:
        settings, name = trunk.settings, trunk.name
        token = "t" + hmac.digest(self._secret, b"trunk " + name.encode(), "sha256").hex()[:16]
        credentials = None
        if isinstance(settings, ProviderSettings):
            if settings.login is not None:
                credentials = DigestClient(settings.login, trunk.password or "")
            plan = RegistrationPlan(
                aor=f"sip:{settings.login or name}@{settings.home}",
                registrar=f"sip:{settings.domain or settings.servers[0]}",
                expires=settings.expires,
                registers=settings.login is not None,
            )
        else:
            server = settings.static or ""
            plan = RegistrationPlan(
                aor=f"sip:{name}@{host_of(server)}",
                registrar=f"sip:{server}",
                expires=0,
                registers=False,
            )
        core = Registration(
            plan,
            credentials,
            contact=lambda hop: self._contact(token, hop),
            seen=lambda hop, address: self._learn(hop.remote, address),
            entropy=self._entropy,
        )
        return Line(trunk, core, credentials, token)

    def _contact(self, token: str, hop: Hop) -> str:
        own = self._reached_at(self.flow_to(hop))
        transport = "" if hop.transport == "UDP" else f";transport={hop.transport.lower()}"
        return f"sip:{token}@{own}{transport}"

    def _shut(self, line: Line) -> None:
        for timer in (line.timer, line.watching):
            if timer is not None:
                timer.cancel()
        if line.resolving is not None:
            line.resolving.cancel()
        line.timer = line.watching = line.resolving = None
        line.settled.clear()
        self._carry_out(line, line.core.stop(now=self._clock.monotonic()))

    # What the edge asks

    def hops(self, name: str) -> Sequence[Hop]:
        """The servers to try; none while the trunk is not registered."""
        line, now = self._lines.get(name), self._clock.monotonic()
        if line is None or not line.core.serves(now=now):
            return ()
        return self._spared.in_order(line.core.hops(), now=now)

    def why_not(self, name: str) -> str:
        """Why there is none."""
        line = self._lines.get(name)
        if line is None:
            return "no server is known"
        return line.core.reason or "it is not registered yet"

    def flow_to(self, hop: Hop) -> Flow:
        """The flow that leads to a server."""
        return self._flow_to(hop.transport, hop.remote, hop.name)

    def side(self, trunk: Trunk, flow: Flow, own: str) -> TrunkSide:
        """A trunk's end of a dialog."""
        line = self._lines.get(trunk.name)
        if line is None:
            return TrunkSide(flow, trunk.side, own)
        return TrunkSide(flow, trunk.side, own, credentials=line.credentials, hosts=line.hosts)

    def sender(self, request: Request, flow: Flow) -> Trunk | None:
        """The trunk whose server sent a request outside dialogs."""
        remote = flow.remote
        try:
            user = request.uri.user or ""
        except SipParseError:
            return None
        for line in self._lines.values():
            if remote.host in line.hosts:
                exact = flow.reliable or remote in line.endpoints
                if exact or user == line.token:
                    return line.trunk
            settings = line.trunk.settings
            sources = settings.sources if isinstance(settings, ProviderSettings) else ()
            if sources and _is_within(remote.host, sources):
                return line.trunk
        return None

    def is_token(self, user: str) -> bool:
        """Whether a user part is one of our Contacts'."""
        return any(line.token == user for line in self._lines.values())

    def failed(self, name: str, hop: Hop, reason: str) -> None:
        """A server did not serve a call: it comes last for a while."""
        self._spared.failed(hop, now=self._clock.monotonic())
        log.warning("trunk_server_failed", trunk=name, server=str(hop.remote), reason=reason)

    # What the operator asks

    def get(self, name: str) -> Line | None:
        """One line."""
        return self._lines.get(name)

    def begin_again(self, line: Line) -> None:
        """Try at once, whatever the wait."""
        line.settled.clear()
        self._carry_out(line, line.core.start(now=self._clock.monotonic()))

    async def find(self, server: str, transport: str | None) -> tuple[Hop, ...]:
        """Where a server is.

        Raises:
            LocateError: nowhere.
        """
        return await self._finder.locate(target_of(server, transport))

    def ask(self, request: Request, hop: Hop, answer: Answer) -> None:
        """Send a request of our own to a server."""
        if self._ask is not None:
            self._ask(request, self.flow_to(hop), answer)

    # Inside

    def _carry_out(self, line: Line, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send():
                    self._send(line, effect)
                case Resolve():
                    self._resolve(line)
                case Changed(state, reason):
                    self._log(line, state, reason)
        if line.core.is_settled:
            line.settled.set()
        self._arm(line)

    def _send(self, line: Line, send: Send) -> None:
        def answered(response: Response) -> None:
            now = self._clock.monotonic()
            self._carry_out(line, line.core.response(send.serial, response, now=now))

        def silent(reason: str) -> None:
            now = self._clock.monotonic()
            self._carry_out(line, line.core.unanswered(send.serial, reason, now=now))

        # Not from here: a request that fails at once would be reported inside the core's own call.
        loop = asyncio.get_running_loop()
        loop.call_soon(self.ask, send.request, send.hop, Answer(answered, silent))

    def _resolve(self, line: Line) -> None:
        if line.resolving is None or line.resolving.done():
            line.resolving = self._spawn(self._resolve_all(line))

    async def _resolve_all(self, line: Line) -> None:
        hops, problem = await self._find_all(line)
        if line.core.state is RegistrationState.ENDED:
            return
        self._note(line, hops, problem)
        now = self._clock.monotonic()
        self._carry_out(line, line.core.resolved(hops, problem, now=now))
        self._watch(line)

    def _watch(self, line: Line) -> None:
        """Look again later where calls may come from, without a new registration."""
        if line.watching is not None:
            line.watching.cancel()
        loop = asyncio.get_running_loop()
        line.watching = loop.call_later(RESOLVE_INTERVAL, self._look_again, line)

    def _look_again(self, line: Line) -> None:
        async def look() -> None:
            hops, problem = await self._find_all(line)
            if line.core.state is not RegistrationState.ENDED and hops:
                self._note(line, hops, problem)
            self._watch(line)

        if line.core.state is not RegistrationState.ENDED:
            self._spawn(look())

    def _note(self, line: Line, hops: Sequence[Hop], problem: str) -> None:
        line.problem = problem
        line.endpoints = {hop.remote for hop in hops}
        line.hosts = frozenset(hop.remote.host for hop in hops)

    async def _find_all(self, line: Line) -> tuple[tuple[Hop, ...], str]:
        """The servers of all names in their order, and what is wrong with the last that fails."""
        settings = line.trunk.settings
        names = settings.servers if isinstance(settings, ProviderSettings) else ()
        if isinstance(settings, PbxSettings) and settings.static is not None:
            names = (settings.static,)
        found: dict[Hop, None] = {}
        problem = ""
        for name in names:
            try:
                for hop in await self.find(name, settings.transport):
                    found[hop] = None
            except (LocateError, SipParseError) as error:
                problem = str(error)
        return tuple(found)[:MAX_HOPS], problem

    def _arm(self, line: Line) -> None:
        if line.timer is not None:
            line.timer.cancel()
            line.timer = None
        due = line.core.next_timer()
        if due is None or line.core.state is RegistrationState.ENDED:
            return
        delay = max(0.0, due - self._clock.monotonic()) + 0.01
        line.timer = asyncio.get_running_loop().call_later(delay, self._fire, line)

    def _fire(self, line: Line) -> None:
        line.timer = None
        self._carry_out(line, line.core.handle_timer(now=self._clock.monotonic()))

    def _spawn(self, work: Coroutine[None, None, None]) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _log(self, line: Line, state: RegistrationState, reason: str) -> None:
        say = log.warning if reason else log.info
        server = None if line.core.current is None else str(line.core.current.remote)
        say(f"trunk_{state.value}", trunk=line.trunk.name, server=server, reason=reason)


def _is_within(host: str, sources: Iterable[str]) -> bool:
    """Whether an address is one of these, or in one of these networks."""
    address = ip_address(host)
    return any(address in ip_network(source, strict=False) for source in sources)
