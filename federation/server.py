"""One peer's requests to us: a sans-I/O core that lets each be executed once.

A request is known by its txn. It may arrive again, on another stream of another link, when the peer
lost the first; then the responses after the peer's `last_seq` are repeated and nothing is executed.
Responses are kept 64*T1 after the final one; what had to be forgotten before that is remembered by
name, so that a late resend is refused and not executed.

    PROCEEDING  executed, not yet answered by a final response
    COMPLETED   answered; responses kept for repetition
    FORGOTTEN   only the name is kept
"""

import heapq
from dataclasses import dataclass, field
from typing import NamedTuple

from federation.messages import Legs, Request, Response, StreamError
from federation.model.clocks import Monotonic
from federation.model.errors import UsageError

KEEP_RESPONSES = 32.0
"64*T1: seconds that the responses stay after the final one."
REQUEST_TIMEOUT = 32.0
"For our final response to anything but INVITE."
ORPHAN_TIMEOUT = 32.0
"An unanswered INVITE whose link is gone this long is cancelled."
CANCELLED_TIMEOUT = 64.0
"A cancelled INVITE without a final response is dropped after this."
MAX_OPEN = 3_000
"Unanswered requests of one peer."
MAX_KEPT_RESPONSES = 64
"Of one request; beyond, the oldest provisional one is given up."
MAX_KEPT_BYTES = 16 * 2**20
"Responses kept for one peer; beyond, the oldest answered requests are forgotten."
MAX_REMEMBERED = 65_536
"Requests of one peer, in all states; beyond, new ones are refused."

TRYING = b"SIP/2.0 100 Trying\r\n\r\n"
"What says that a request was taken. It is for this link only and never forwarded."


class StreamKey(NamedTuple):
    """A stream of one of the links to the peer."""

    link: int
    stream: int


@dataclass(frozen=True, slots=True)
class Deliver:
    """Execute this request. Call `taken` when that has begun."""

    request: Request


@dataclass(frozen=True, slots=True)
class DeliverCancel:
    """The peer cancelled this request, or is gone for too long."""

    txn: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class SendResponse:
    """Send on this stream, and end our side of it if `end`."""

    stream: StreamKey
    response: Response
    end: bool


@dataclass(frozen=True, slots=True)
class RefuseStream:
    """Reset this stream."""

    stream: StreamKey
    error: StreamError


@dataclass(frozen=True, slots=True)
class Dropped:
    """This request was never answered and is no longer waited for."""

    txn: bytes


ServerEffect = Deliver | DeliverCancel | SendResponse | RefuseStream | Dropped


@dataclass(slots=True)
class _Entry:
    is_invite: bool
    stream: StreamKey | None
    deadline: Monotonic | None
    responses: list[Response] = field(default_factory=list)
    next_seq: int = 1
    is_final: bool = False
    is_cancelled: bool = False
    is_forgotten: bool = False
    kept_bytes: int = 0


class ServerTransactions:
    """Every request of one peer that may still matter."""

    def __init__(self) -> None:
        self._entries: dict[bytes, _Entry] = {}
        self._by_stream: dict[StreamKey, bytes] = {}
        self._answered: dict[bytes, None] = {}
        self._timers: list[tuple[Monotonic, bytes]] = []
        self._open = 0
        self._kept_bytes = 0

    @property
    def open_count(self) -> int:
        """Requests that have no final response yet."""
        return self._open

    def __len__(self) -> int:
        return len(self._entries)

    # -- what the peer sends --------------------------------------------------------------

    def request(self, stream: StreamKey, request: Request, *, now: Monotonic) -> list[ServerEffect]:
        """Take a request: new, or sent again on another stream."""
        entry = self._entries.get(request.txn)
        if entry is not None:
            return self._repeat(stream, request, entry)
        if request.last_seq:
            # Executed in a former life of this node, or too long ago.
            return [RefuseStream(stream, StreamError.GONE)]
        if self._open >= MAX_OPEN or len(self._entries) >= MAX_REMEMBERED:
            return [RefuseStream(stream, StreamError.REFUSED)]
        is_invite = request.method == "INVITE"
        deadline = None if is_invite else Monotonic(now + REQUEST_TIMEOUT)
        entry = _Entry(is_invite=is_invite, stream=stream, deadline=deadline)
        self._entries[request.txn] = entry
        self._by_stream[stream] = request.txn
        self._open += 1
        self._arm(request.txn, entry)
        return [Deliver(request)]

    def taken(self, txn: bytes) -> list[ServerEffect]:
        """The request is being worked on: say 100 unless something has been said already."""
        entry = self._entries.get(txn)
        if entry is None or entry.next_seq > 1:
            return []
        return self._add(txn, entry, TRYING, ())

    def cancel(self, txn: bytes, reason: str, *, now: Monotonic) -> list[ServerEffect]:
        """Take a cancel. Only the first, and only of an unanswered INVITE, has an effect."""
        entry = self._entries.get(txn)
        if entry is None or not entry.is_invite or entry.is_final or entry.is_cancelled:
            return []
        entry.is_cancelled = True
        entry.deadline = Monotonic(now + CANCELLED_TIMEOUT)
        self._arm(txn, entry)
        return [DeliverCancel(txn, reason)]

    def detached(self, stream: StreamKey, *, now: Monotonic) -> None:
        """A stream, or the whole link under it, is gone."""
        txn = self._by_stream.pop(stream, None)
        if txn is None:
            return
        entry = self._entries[txn]
        entry.stream = None
        if entry.is_invite and not entry.is_final and not entry.is_cancelled:
            entry.deadline = Monotonic(now + ORPHAN_TIMEOUT)
            self._arm(txn, entry)

    def abandoned(self, stream: StreamKey, *, now: Monotonic) -> list[ServerEffect]:
        """The peer reset the stream of its request: nobody there waits for an answer any more."""
        txn = self._by_stream.get(stream)
        self.detached(stream, now=now)
        return [] if txn is None else self.cancel(txn, "", now=now)

    def link_gone(self, link: int, *, now: Monotonic) -> None:
        """Every stream of a link is gone."""
        for stream in [stream for stream in self._by_stream if stream.link == link]:
            self.detached(stream, now=now)

    # -- what we answer -------------------------------------------------------------------

    def respond(
        self, txn: bytes, sip: bytes, legs: Legs = (), *, now: Monotonic
    ) -> list[ServerEffect]:
        """Send a response, now or when the peer asks again.

        After the final response, or once the peer's patience is over, there is nothing to send.
        """
        entry = self._entries.get(txn)
        if entry is None or entry.is_final:
            return []
        effects = self._add(txn, entry, sip, legs)
        if entry.responses[-1].is_final:
            entry.is_final = True
            entry.deadline = Monotonic(now + KEEP_RESPONSES)
            self._arm(txn, entry)
            self._open -= 1
            self._answered[txn] = None
            self._detach(entry)
        self._forget_surplus()
        return effects

    def further(self, txn: bytes, sip: bytes, legs: Legs) -> Response:
        """A 2xx after the final response: it travels on a stream of its own.

        Raises:
            UsageError: it is no 2xx.
        """
        entry = self._entries.get(txn)
        seq = 1 if entry is None else entry.next_seq
        if entry is not None:
            entry.next_seq += 1
        response = Response(txn=txn, seq=seq, sip=sip, legs=legs)
        if not 200 <= response.status < 300:
            raise UsageError("only a 2xx may follow a final response")
        return response

    # -- time -----------------------------------------------------------------------------

    def next_timer(self) -> Monotonic | None:
        """When `handle_timer` is next needed; possibly early, never late."""
        return self._timers[0][0] if self._timers else None

    def handle_timer(self, *, now: Monotonic) -> list[ServerEffect]:
        """Do what is due by `now`. Calling early is harmless."""
        effects: list[ServerEffect] = []
        while self._timers and self._timers[0][0] <= now:
            _, txn = heapq.heappop(self._timers)
            entry = self._entries.get(txn)
            # A deadline that moved on has armed a timer of its own.
            if entry is not None and entry.deadline is not None and entry.deadline <= now:
                effects += self._expire(txn, entry, now)
        return effects

    def _expire(self, txn: bytes, entry: _Entry, now: Monotonic) -> list[ServerEffect]:
        if entry.is_final:
            self._remove(txn, entry)
            return []
        if entry.is_invite and not entry.is_cancelled:
            if entry.stream is not None:
                entry.deadline = None  # the peer came back in time
                return []
            return self.cancel(txn, "", now=now)
        effects: list[ServerEffect] = [Dropped(txn)]
        if entry.stream is not None:
            effects.append(RefuseStream(entry.stream, StreamError.GONE))
        self._open -= 1
        entry.is_final = True
        self._forget(entry)
        entry.deadline = Monotonic(now + KEEP_RESPONSES)
        self._arm(txn, entry)
        return effects

    # -- steps ----------------------------------------------------------------------------

    def _repeat(self, stream: StreamKey, request: Request, entry: _Entry) -> list[ServerEffect]:
        if entry.is_forgotten:
            return [RefuseStream(stream, StreamError.GONE)]
        effects: list[ServerEffect] = [
            SendResponse(stream, response, end=response.is_final)
            for response in entry.responses
            if response.seq > request.last_seq
        ]
        if not entry.is_final:
            self._detach(entry)
            entry.stream = stream
            self._by_stream[stream] = request.txn
        elif not effects:
            # It has the final response already and lost only the end of the stream.
            effects.append(RefuseStream(stream, StreamError.GONE))
        return effects

    def _add(self, txn: bytes, entry: _Entry, sip: bytes, legs: Legs) -> list[ServerEffect]:
        response = Response(txn=txn, seq=entry.next_seq, sip=sip, legs=legs)
        entry.next_seq += 1
        entry.responses.append(response)
        self._count(entry, len(sip))
        if len(entry.responses) > MAX_KEPT_RESPONSES:
            self._count(entry, -len(entry.responses.pop(0).sip))
        if entry.stream is None:
            return []
        return [SendResponse(entry.stream, response, end=response.is_final)]

    def _count(self, entry: _Entry, size: int) -> None:
        entry.kept_bytes += size
        self._kept_bytes += size

    def _detach(self, entry: _Entry) -> None:
        if entry.stream is not None:
            del self._by_stream[entry.stream]
            entry.stream = None

    def _forget_surplus(self) -> None:
        while self._kept_bytes > MAX_KEPT_BYTES and self._answered:
            txn = next(iter(self._answered))
            del self._answered[txn]
            self._forget(self._entries[txn])

    def _forget(self, entry: _Entry) -> None:
        entry.is_forgotten = True
        self._detach(entry)
        self._count(entry, -entry.kept_bytes)
        entry.responses.clear()

    def _remove(self, txn: bytes, entry: _Entry) -> None:
        self._detach(entry)
        self._count(entry, -entry.kept_bytes)
        self._answered.pop(txn, None)
        del self._entries[txn]

    def _arm(self, txn: bytes, entry: _Entry) -> None:
        if entry.deadline is not None:
            heapq.heappush(self._timers, (entry.deadline, txn))
