"""A registration of ours at somebody else's registrar (RFC 3261 10.2, RFC 5626 4.5): a core.

    start ──▶ resolving ──▶ registering ──2xx──▶ registered ──refresh──▶ registering …
                  ▲              │ no answer, 5xx: the next server; none left:
                  │              ▼
                  └── backoff ── failed ◀── login or password refused, 403, …: a longer backoff

Servers are tried in their order. While registered, OPTIONS keeps the path open and notices when the
server is gone; then all begins anew. A trunk without a login does the same without REGISTER.

Each answer over UDP says where the server saw the request come from (RFC 3581). Where that is
another address than our Contact names, as behind a NAT, the Contact follows: as a rule with the
answer to the first challenge, else by one more REGISTER, which takes the old Contact back.
"""

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from federation.model.address import Endpoint
from federation.model.clocks import Entropy, Monotonic
from node.sip.digest_client import DigestClient, is_stale
from node.sip.locate import Hop
from node.sip.message import Request, Response
from node.sip.registration_answer import granted_seconds, retry_after, seen_address

PATIENCE: Final = 8.0
"Seconds a server may take to answer REGISTER or OPTIONS."
KEEPALIVE: Final = 30.0
"Seconds between two OPTIONS: most NATs forget a UDP path after longer."
LOST_AFTER: Final = 2
"OPTIONS in a row without answer that mean that the server is gone."
BACKOFF_BASE, BACKOFF_MAX = 10.0, 1_800.0
"Seconds to wait when no server serves: doubled each time, then drawn from its upper half."
REFUSED_BASE, REFUSED_MAX = 300.0, 3_600.0
"The same where a server says no, which another try will not change soon."
MIN_EXPIRES, MAX_EXPIRES = 10, 86_400
"Seconds of a registration, whatever a server grants or demands."
REFRESH_SHARE: Final = 0.8
"Share of the granted time after which it is renewed, less up to a tenth of it by chance."
MAX_MOVES: Final = 3
"Changes of our outer address that are followed before the next refresh."
ALIVE: Final = 300.0
"Seconds between two looks at DNS where nothing is registered."
_TAG_BYTES: Final = 8


class RegistrationState(enum.StrEnum):
    """How a registration is."""

    STARTING = "starting"
    REGISTERED = "registered"
    REACHABLE = "reachable"
    "Without login: a server answers."
    FAILED = "failed"
    "No server serves; it will be tried again."
    REFUSED = "refused"
    "A server says no; it will be tried again, later."
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationPlan:
    """What is registered, and where."""

    aor: str
    "Our address there, `sip:login@domain`."
    registrar: str
    "The Request-URI of REGISTER, `sip:domain`."
    expires: int
    registers: bool = True
    "`False`: there is no login, so only OPTIONS are sent."


@dataclass(frozen=True, slots=True)
class Resolve:
    """Find the servers anew, then call `resolved`."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send a request, without Via yet; tell `response` or `unanswered` under its serial."""

    request: Request
    hop: Hop
    serial: int


@dataclass(frozen=True, slots=True)
class Changed:
    """The state is another than before."""

    state: RegistrationState
    reason: str
    "Empty where all is well."


Effect = Resolve | Send | Changed


class Registration:
    """One registration. Each method returns what to do, in order; nothing makes it raise."""

    def __init__(
        self,
        plan: RegistrationPlan,
        credentials: DigestClient | None,
        *,
        contact: Callable[[Hop], str],
        entropy: Entropy,
        seen: Callable[[Hop, Endpoint], None] = lambda hop, address: None,
    ) -> None:
        """`contact` is the URI by which that server reaches this node.

        `seen` hears from which address the server saw us, which may change what `contact` says.
        """
        self._plan = plan
        self._credentials = credentials
        self._contact = contact
        self._seen = seen
        self._offered = self._kept = ""
        "The Contact of the last REGISTER, and of the last one that was accepted."
        self._moves = 0
        self._entropy = entropy
        self._call_id = f"{entropy.token(_TAG_BYTES).hex()}@ringmesh"
        self._cseq = 0
        self._serial = 0
        self._expires = plan.expires
        self._hops: tuple[Hop, ...] = ()
        self._left: list[Hop] = []
        self._pending: tuple[int, str, Hop] | None = None
        "Serial, method and server of the request that has no answer yet."
        self._is_resolving = False
        self._answers = 0
        self._failures = 0
        self._unheard = 0
        self._wait = 0.0
        "Seconds that a server asked to be left alone."
        self._deadline: Monotonic | None = None
        "When the pending request counts as unanswered."
        self._refresh_at: Monotonic | None = None
        self._alive_at: Monotonic | None = None
        self._retry_at: Monotonic | None = None
        self.registered_until: Monotonic | None = None
        self.current: Hop | None = None
        "The server that served last."
        self.state = RegistrationState.STARTING
        self.reason = ""

    # What happens

    def start(self, *, now: Monotonic) -> list[Effect]:
        """Begin, or begin anew at once."""
        self._pending = self._deadline = self._retry_at = None
        self._refresh_at = self._alive_at = None
        self._answers = 0
        self._is_resolving = True
        return [Resolve()]

    def resolved(self, hops: Sequence[Hop], problem: str, *, now: Monotonic) -> list[Effect]:
        """The servers were found, or none of them: `problem` says why."""
        if self.state is RegistrationState.ENDED:
            return []
        self._is_resolving = False
        self._hops = tuple(hops)
        self._left = list(self.hops())
        self._retry_at = None
        if not hops:
            return self._fail(RegistrationState.FAILED, problem, now)
        return self._next(problem, now)

    def response(self, serial: int, response: Response, *, now: Monotonic) -> list[Effect]:
        """A final response to what was sent under `serial`."""
        if self._pending is None or self._pending[0] != serial:
            return []
        _, method, hop = self._pending
        self._pending = self._deadline = None
        self._note_address(response, hop)
        if self.state is RegistrationState.ENDED:
            return self._ended(response, hop, now)
        if method == "OPTIONS":
            return self._alive(hop, now)
        if 200 <= response.status < 300:
            return self._registered(response, hop, now)
        if response.status in (401, 407):
            return self._challenged(response, hop, now)
        if response.status == 423 and self._raise_expires(response):
            return [self._register(hop, now)]
        said = f"{hop.remote} answers {response.status} {response.reason}"[:200]
        if response.status in (408, 480) or 500 <= response.status < 600:
            self._wait = max(self._wait, retry_after(response))
            return self._next(said, now)
        return self._fail(RegistrationState.REFUSED, said, now)

    def unanswered(self, serial: int, reason: str, *, now: Monotonic) -> list[Effect]:
        """What was sent under `serial` got no answer, or could not be sent."""
        if self._pending is None or self._pending[0] != serial:
            return []
        _, method, hop = self._pending
        self._pending = self._deadline = None
        if self.state is RegistrationState.ENDED:
            return []
        said = f"{hop.remote} {reason}"
        if method == "REGISTER":
            return self._next(said, now)
        if not self._plan.registers and self.state is not RegistrationState.REACHABLE:
            return self._next(said, now)
        self._unheard += 1
        if self._unheard < LOST_AFTER:
            return [self._options(hop, now)]
        self._unheard, self.current = 0, None
        return self.start(now=now)

    def stop(self, *, now: Monotonic) -> list[Effect]:
        """End it; a registration that stands is taken back."""
        was_registered = self.is_registered(now=now)
        self._refresh_at = self._alive_at = self._retry_at = None
        self._pending = self._deadline = None
        self.state, self.registered_until = RegistrationState.ENDED, None
        if not was_registered or self.current is None:
            return []
        self._answers = 0
        return [self._register(self.current, now)]

    def next_timer(self) -> Monotonic | None:
        """When `handle_timer` is next needed."""
        times = (self._deadline, self._refresh_at, self._alive_at, self._retry_at)
        return min((time for time in times if time is not None), default=None)

    def handle_timer(self, *, now: Monotonic) -> list[Effect]:
        """Do what is due by `now`. Calling early is harmless."""
        if self._deadline is not None and self._deadline <= now and self._pending is not None:
            return self.unanswered(self._pending[0], "does not answer", now=now)
        for due in (self._refresh_at, self._retry_at):
            if due is not None and due <= now:
                self._moves = 0
                return self.start(now=now)
        if self._alive_at is not None and self._alive_at <= now:
            self._alive_at = None
            if self.current is not None and self._pending is None:
                return [self._options(self.current, now)]
        return []

    def is_registered(self, *, now: Monotonic) -> bool:
        """Whether the last registration has not expired."""
        return self.registered_until is not None and now < self.registered_until

    @property
    def aor(self) -> str:
        """Our address there."""
        return self._plan.aor

    @property
    def current_text(self) -> str:
        """The server that served last, for people."""
        return "" if self.current is None else f"{self.current.transport} {self.current.remote}"

    @property
    def is_settled(self) -> bool:
        """Whether the present try has come to an end, good or bad."""
        return self._pending is None and not self._left and not self._is_resolving

    @property
    def is_pending(self) -> bool:
        """Whether an answer is waited for."""
        return self._pending is not None

    def serves(self, *, now: Monotonic) -> bool:
        """Whether calls can go out."""
        if self._plan.registers:
            return self.is_registered(now=now)
        return bool(self._hops) and self.state is not RegistrationState.ENDED

    def hops(self) -> tuple[Hop, ...]:
        """The servers, the one that served last first."""
        if self.current not in self._hops or self.current is None:
            return self._hops
        return (self.current, *(hop for hop in self._hops if hop != self.current))

    # Inside

    def _next(self, said: str, now: Monotonic) -> list[Effect]:
        """Ask the next server; when there is none left, wait."""
        if not self._left:
            return self._fail(RegistrationState.FAILED, said, now)
        hop = self._left.pop(0)
        self._answers = 0
        return [self._register(hop, now) if self._plan.registers else self._options(hop, now)]

    def _registered(self, response: Response, hop: Hop, now: Monotonic) -> list[Effect]:
        granted = granted_seconds(response, self._offered, self._expires)
        if granted <= 0:
            return self._next(f"{hop.remote} did not keep the registration", now)
        granted = min(max(granted, MIN_EXPIRES), MAX_EXPIRES)
        self.registered_until = Monotonic(now + granted)
        share = REFRESH_SHARE - 0.1 * self._chance()
        self._refresh_at = Monotonic(now + granted * share)
        self._failures, self._wait = 0, 0.0
        self._kept = self._offered
        effects = self._served(hop, RegistrationState.REGISTERED, now)
        if self._has_moved(hop):
            self._answers = 0
            effects.append(self._register(hop, now))
        return effects

    def _note_address(self, response: Response, hop: Hop) -> None:
        """Where a server saw us, as far as it says so (RFC 3581 4); streams have no such port."""
        seen = seen_address(response) if hop.transport == "UDP" else None
        if seen is not None:
            self._seen(hop, seen)

    def _has_moved(self, hop: Hop) -> bool:
        """Whether the Contact that is registered leads here no more; counted."""
        if self._contact(hop) == self._kept or self._moves >= MAX_MOVES:
            return False
        self._moves += 1
        return True

    def _alive(self, hop: Hop, now: Monotonic) -> list[Effect]:
        """A server answered OPTIONS: with what, does not matter."""
        self._unheard = 0
        if self._plan.registers:
            self._alive_at = Monotonic(now + KEEPALIVE)
            return self.start(now=now) if self._has_moved(hop) else []
        self._failures = 0
        if self._refresh_at is None:
            self._refresh_at = Monotonic(now + ALIVE)
        return self._served(hop, RegistrationState.REACHABLE, now)

    def _served(self, hop: Hop, state: RegistrationState, now: Monotonic) -> list[Effect]:
        self.current, self._unheard, self._left = hop, 0, []
        self._alive_at = Monotonic(now + KEEPALIVE)
        return self._change(state, "")

    def _challenged(self, response: Response, hop: Hop, now: Monotonic) -> list[Effect]:
        credentials = self._credentials
        if credentials is None or not credentials.take(response):
            text = f"{hop.remote} asks for credentials that this node cannot make"
            return self._fail(RegistrationState.REFUSED, text, now)
        if self._answers and not (self._answers == 1 and is_stale(response)):
            credentials.forget()
            text = f"{hop.remote} refuses the login or password"
            return self._fail(RegistrationState.REFUSED, text, now)
        self._answers += 1
        return [self._register(hop, now)]

    def _raise_expires(self, response: Response) -> bool:
        """Ask for as long as a registrar wants at least (10.2.8)."""
        text = (response.get("Min-Expires") or "").strip()
        if not (text.isascii() and text.isdigit() and len(text) < 8):
            return False
        if not self._expires < int(text) <= MAX_EXPIRES:
            return False
        self._expires = int(text)
        return True

    def _fail(self, state: RegistrationState, said: str, now: Monotonic) -> list[Effect]:
        """Wait, longer each time, and by chance so that not all nodes come back at once."""
        self._left = []
        refused = state is RegistrationState.REFUSED
        base, most = (REFUSED_BASE, REFUSED_MAX) if refused else (BACKOFF_BASE, BACKOFF_MAX)
        delay = min(most, base * 2 ** min(self._failures, 16)) * (1 - 0.5 * self._chance())
        self._failures += 1
        self._retry_at = Monotonic(now + max(delay, self._wait))
        self._refresh_at = self._alive_at = None
        self._wait = 0.0
        if refused:
            self.registered_until = None
        if self.is_registered(now=now):
            self.reason = said  # the old registration still holds
            return []
        return self._change(state, said)

    def _ended(self, response: Response, hop: Hop, now: Monotonic) -> list[Effect]:
        """The last REGISTER may be challenged like any other."""
        credentials = self._credentials
        if response.status in (401, 407) and credentials is not None and not self._answers:
            self._answers += 1
            if credentials.take(response):
                return [self._register(hop, now)]
        return []

    def _change(self, state: RegistrationState, reason: str) -> list[Effect]:
        if (state, reason) == (self.state, self.reason):
            return []
        self.state, self.reason = state, reason
        return [Changed(state, reason)]

    def _register(self, hop: Hop, now: Monotonic) -> Send:
        ends, contact = self.state is RegistrationState.ENDED, self._contact(hop)
        expires = 0 if ends else self._expires
        self._offered = contact = self._kept if ends and self._kept else contact
        request = self._request("REGISTER", self._plan.registrar)
        request.append("Contact", f"<{contact}>;expires={expires}")
        if self._kept not in ("", contact):
            request.append("Contact", f"<{self._kept}>;expires=0")
        request.append("Expires", str(expires))
        if self._credentials is not None:
            self._credentials.prove(request, self._entropy)
        return self._sent(request, hop, now)

    def _options(self, hop: Hop, now: Monotonic) -> Send:
        return self._sent(self._request("OPTIONS", self._plan.registrar), hop, now)

    def _request(self, method: str, uri: str) -> Request:
        self._cseq += 1
        return own_request(method, uri, self._plan.aor, self._call_id, self._cseq, self._entropy)

    def _sent(self, request: Request, hop: Hop, now: Monotonic) -> Send:
        self._serial += 1
        self._pending = (self._serial, request.method, hop)
        self._deadline = Monotonic(now + PATIENCE)
        return Send(request, hop, self._serial)

    def _chance(self) -> float:
        return int.from_bytes(self._entropy.token(4)) / 2**32


def own_request(
    method: str, uri: str, aor: str, call_id: str, cseq: int, entropy: Entropy
) -> Request:
    """A request of this node's own outside dialogs, without Via."""
    to = aor if method == "REGISTER" else uri
    return Request.create(
        method,
        uri,
        [
            ("Max-Forwards", "70"),
            ("From", f"<{aor}>;tag={entropy.token(_TAG_BYTES).hex()}"),
            ("To", f"<{to}>"),
            ("Call-ID", call_id),
            ("CSeq", f"{cseq} {method}"),
            ("User-Agent", "ringmesh"),
        ],
    )
