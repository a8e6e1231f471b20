"""Our requests to one peer: a sans-I/O core that survives the links it runs over.

A request belongs to the peer, not to a link. It is sent when a link is ready, and sent again, with
the same txn and the last seq seen, on every link that takes a former one's place. The peer executes
it once and repeats the responses that were missed.

States and what moves a request between them (README has the diagram):

    WAITING   not sent, or sent on a link that is gone, and never answered
    SENT      on a stream of the present link, unanswered; 2 s, then a redial, once
    ACCEPTED  answered at least by 100, on a stream of the present link
    LOST      accepted, and its link is gone; dialled again for 32 s

A request ends exactly once, with `Answered` by a final response or with `Failed`.
"""

import enum
import heapq
from dataclasses import dataclass, field

from federation.backoff import Backoff
from federation.messages import Cancel, Frame, Request, Response, StreamError
from federation.model.clocks import Entropy, Monotonic
from federation.model.errors import UsageError
from federation.ports import Failure

ANSWER_TIMEOUT = 2.0
"Seconds from sending to the first response."
FIRST_ANSWER_BUDGET = 5.5
"Seconds for everything up to the first response: 2, a dial of 1.5, and 2."
TRANSACTION_TIMEOUT = 32.0
"64*T1 (RFC 3261 17.1.2.2): for a final response to anything but INVITE."
CANCEL_TIMEOUT = 32.0
"For the final response to a cancelled INVITE."
LINK_LOSS_TIMEOUT = 32.0
"How long an accepted request outlives its link."
MAX_REDIALS = 2
"Links that may die under one unanswered request before it is given up."
MAX_OPEN = 3_000
"Requests open at once to one peer."


@dataclass(frozen=True, slots=True)
class Dial:
    """A new link is wanted, even where one seems to be up. Asked again while one is dialled."""


@dataclass(frozen=True, slots=True)
class OpenStream:
    """Open a stream on the present link and send these frames on it; it stays open."""

    txn: bytes
    frames: tuple[Frame, ...]


@dataclass(frozen=True, slots=True)
class SendOnStream:
    """Send one more frame on the request's stream."""

    txn: bytes
    frame: Frame


@dataclass(frozen=True, slots=True)
class EndStream:
    """Close our side of the request's stream: it is over."""

    txn: bytes


@dataclass(frozen=True, slots=True)
class AbandonStream:
    """Reset the request's stream: nothing more is wanted of it."""

    txn: bytes


@dataclass(frozen=True, slots=True)
class Accepted:
    """The peer has the request."""

    txn: bytes


@dataclass(frozen=True, slots=True)
class Answered:
    """A response above 100."""

    txn: bytes
    response: Response


@dataclass(frozen=True, slots=True)
class Failed:
    """The request ended without a final response."""

    txn: bytes
    reason: Failure


ClientEffect = (
    Dial | OpenStream | SendOnStream | EndStream | AbandonStream | Accepted | Answered | Failed
)


class ClientState(enum.Enum):
    """Where a request is."""

    WAITING = "waiting"
    SENT = "sent"
    ACCEPTED = "accepted"
    LOST = "lost"


@dataclass(slots=True)
class _Entry:
    request: Request
    is_invite: bool
    state: ClientState
    answer_by: Monotonic
    "End of the budget for the first response."
    deadline: Monotonic | None
    "When something must have happened in the present state."
    ends_at: Monotonic | None
    "When it ends whatever the state: non-INVITE, or cancelled."
    was_sent: bool = False
    redials: int = 0
    awaits_redial: bool = False
    "Unanswered for `ANSWER_TIMEOUT` on the present link; a new one is being dialled."
    last_seq: int = 0
    cancel: Cancel | None = None
    timers: set[Monotonic] = field(default_factory=set)


class ClientTransactions:
    """Every open request to one peer.

    Inputs: `start`, `cancel`, what happened to the link (`link_up`, `link_down`, `dial_failed`),
    what came on a request's stream (`received`, `stream_ended`), and time. The caller tells only
    of streams of the present link.
    """

    def __init__(self, *, entropy: Entropy) -> None:
        self._entries: dict[bytes, _Entry] = {}
        self._timers: list[tuple[Monotonic, bytes]] = []
        self._has_link = False
        self._is_suspect = False
        self._backoff = Backoff(entropy)
        self._dial_at: Monotonic | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def state(self, txn: bytes) -> ClientState | None:
        """Where a request is; `None` once it has ended."""
        entry = self._entries.get(txn)
        return None if entry is None else entry.state

    # -- what we want ---------------------------------------------------------------------

    def start(self, request: Request, *, now: Monotonic) -> list[ClientEffect]:
        """Send a request as soon as there is a link.

        Raises:
            UsageError: its txn is in use.
        """
        txn = request.txn
        if txn in self._entries:
            raise UsageError("this txn is in use")
        if len(self._entries) >= MAX_OPEN:
            return [Failed(txn, Failure.OVERLOADED)]
        is_invite = request.method == "INVITE"
        answer_by = Monotonic(now + FIRST_ANSWER_BUDGET)
        entry = _Entry(
            request=request,
            is_invite=is_invite,
            state=ClientState.WAITING,
            answer_by=answer_by,
            deadline=answer_by,
            ends_at=None if is_invite else Monotonic(now + TRANSACTION_TIMEOUT),
        )
        self._entries[txn] = entry
        if self._has_link and not self._is_suspect:
            return self._send(txn, entry, now)
        self._arm(txn, entry)
        return [Dial()]

    def cancel(self, txn: bytes, reason: str = "", *, now: Monotonic) -> list[ClientEffect]:
        """Cancel an INVITE, by a frame after its request. Anything else runs on.

        A request that was never sent ends here and now; one that was sent is cancelled on its
        stream, and again on each stream that it is sent on later.
        """
        entry = self._entries.get(txn)
        if entry is None or not entry.is_invite or entry.cancel is not None:
            return []
        entry.cancel = Cancel(txn=txn, reason=reason)
        if not entry.was_sent:
            return self._end(txn, Failure.CANCELLED)
        entry.ends_at = Monotonic(now + CANCEL_TIMEOUT)
        self._arm(txn, entry)
        if self._is_on_stream(entry):
            return [SendOnStream(txn, entry.cancel)]
        return []

    def shut_down(self) -> list[ClientEffect]:
        """End everything: this node is going away."""
        effects: list[ClientEffect] = []
        for txn in list(self._entries):
            effects += self._end(txn, Failure.SHUTDOWN)
        return effects

    # -- what happened to the link --------------------------------------------------------

    def link_up(self, *, now: Monotonic) -> list[ClientEffect]:
        """A link is ready; it takes the place of any other. Everything open goes out on it."""
        self._has_link, self._is_suspect, self._dial_at = True, False, None
        self._backoff.reset()
        effects: list[ClientEffect] = []
        for txn, entry in list(self._entries.items()):
            effects += self._send(txn, entry, now)
        return effects

    def link_down(self, *, now: Monotonic) -> list[ClientEffect]:
        """The link is gone and there is no other."""
        self._has_link = self._is_suspect = False
        effects: list[ClientEffect] = []
        for txn, entry in list(self._entries.items()):
            if entry.state is ClientState.ACCEPTED:
                entry.state = ClientState.LOST
                entry.deadline = Monotonic(now + LINK_LOSS_TIMEOUT)
                self._arm(txn, entry)
            elif entry.state is ClientState.SENT:
                if not entry.awaits_redial:
                    entry.redials += 1
                if entry.redials > MAX_REDIALS:
                    effects += self._end(txn, Failure.NO_ANSWER)
                    continue
                entry.state, entry.deadline = ClientState.WAITING, entry.answer_by
                self._arm(txn, entry)
        if self._entries:
            effects.append(Dial())
        return effects

    def dial_failed(self, *, now: Monotonic) -> list[ClientEffect]:
        """No new link could be made. Requests that need one end, except accepted ones.

        If there is still an old link, the peer may yet be alive on it: what waited is sent there.
        """
        self._is_suspect = False
        effects: list[ClientEffect] = []
        for txn, entry in list(self._entries.items()):
            if entry.state is ClientState.WAITING and self._has_link:
                effects += self._send(txn, entry, now)
            elif entry.state is ClientState.WAITING:
                effects += self._end(txn, Failure.UNREACHABLE)
            elif entry.state is ClientState.SENT and entry.awaits_redial:
                effects += self._end(txn, Failure.NO_ANSWER)
        if any(entry.state is ClientState.LOST for entry in self._entries.values()):
            self._dial_at = Monotonic(now + self._backoff.next_delay())
        return effects

    # -- what came on a request's stream --------------------------------------------------

    def received(self, response: Response, *, now: Monotonic) -> list[ClientEffect]:
        """Take a response. Ones already seen, and ones to unknown requests, change nothing."""
        txn = response.txn
        entry = self._entries.get(txn)
        if entry is None or response.seq <= entry.last_seq:
            return []
        entry.last_seq = response.seq
        effects: list[ClientEffect] = []
        if entry.state is not ClientState.ACCEPTED:
            entry.state, entry.deadline = ClientState.ACCEPTED, None
            effects.append(Accepted(txn))
        if response.status > 100:
            effects.append(Answered(txn, response))
        if response.is_final:
            del self._entries[txn]
            effects.append(EndStream(txn))
        return effects

    def stream_ended(self, txn: bytes, error: StreamError, *, now: Monotonic) -> list[ClientEffect]:
        """The peer ended or reset the request's stream without a final response."""
        entry = self._entries.get(txn)
        if entry is None or not self._is_on_stream(entry):
            return []
        reason = Failure.OVERLOADED if error is StreamError.REFUSED else Failure.LOST
        return self._end(txn, reason)

    # -- time -----------------------------------------------------------------------------

    def next_timer(self) -> Monotonic | None:
        """When `handle_timer` is next needed; possibly early, never late."""
        timers = [self._timers[0][0]] if self._timers else []
        if self._dial_at is not None:
            timers.append(self._dial_at)
        return min(timers, default=None)

    def handle_timer(self, *, now: Monotonic) -> list[ClientEffect]:
        """Do what is due by `now`. Calling early is harmless."""
        effects: list[ClientEffect] = []
        while self._timers and self._timers[0][0] <= now:
            at, txn = heapq.heappop(self._timers)
            entry = self._entries.get(txn)
            if entry is not None:
                entry.timers.discard(at)
                effects += self._expire(txn, entry, now)
        if self._dial_at is not None and self._dial_at <= now:
            self._dial_at = None
            if any(entry.state is ClientState.LOST for entry in self._entries.values()):
                effects.append(Dial())
        return effects

    def _expire(self, txn: bytes, entry: _Entry, now: Monotonic) -> list[ClientEffect]:
        if entry.ends_at is not None and entry.ends_at <= now:
            return self._end(txn, Failure.TIMEOUT)
        if entry.deadline is None or entry.deadline > now:
            self._arm(txn, entry)
            return []
        match entry.state:
            case ClientState.WAITING:
                return self._end(txn, Failure.UNREACHABLE)
            case ClientState.LOST:
                return self._end(txn, Failure.LOST)
            case ClientState.SENT if entry.redials or now >= entry.answer_by:
                return self._end(txn, Failure.NO_ANSWER)
            case ClientState.SENT:
                # The link looked warm. Dial beside it; if that fails, the old one may live on.
                entry.redials, entry.awaits_redial = 1, True
                entry.deadline = entry.answer_by
                self._arm(txn, entry)
                self._is_suspect = True
                return [Dial()]
        return []

    # -- steps ----------------------------------------------------------------------------

    def _is_on_stream(self, entry: _Entry) -> bool:
        return self._has_link and entry.state in (ClientState.SENT, ClientState.ACCEPTED)

    def _send(self, txn: bytes, entry: _Entry, now: Monotonic) -> list[ClientEffect]:
        frames: tuple[Frame, ...] = (entry.request.resent_after(entry.last_seq),)
        if entry.cancel is not None:
            frames += (entry.cancel,)
        entry.was_sent, entry.awaits_redial = True, False
        if entry.state in (ClientState.ACCEPTED, ClientState.LOST):
            entry.state, entry.deadline = ClientState.ACCEPTED, None
        else:
            entry.state = ClientState.SENT
            entry.deadline = min(Monotonic(now + ANSWER_TIMEOUT), entry.answer_by)
        self._arm(txn, entry)
        return [OpenStream(txn, frames)]

    def _end(self, txn: bytes, reason: Failure) -> list[ClientEffect]:
        entry = self._entries.pop(txn)
        if entry.cancel is not None:
            reason = Failure.CANCELLED
        effects: list[ClientEffect] = [Failed(txn, reason)]
        if self._is_on_stream(entry):
            effects.insert(0, AbandonStream(txn))
        return effects

    def _arm(self, txn: bytes, entry: _Entry) -> None:
        times = [time for time in (entry.deadline, entry.ends_at) if time is not None]
        if not times:
            return
        at = min(times)
        # An earlier timer of this request finds out, when it fires, that there is a later one.
        if not any(armed <= at for armed in entry.timers):
            entry.timers.add(at)
            heapq.heappush(self._timers, (at, txn))
        if len(self._timers) > 4 * MAX_OPEN:
            # Timers of requests that ended long before them.
            self._timers = [timer for timer in self._timers if timer[1] in self._entries]
            heapq.heapify(self._timers)
