"""The SIP messages of calls, under way and ended, within bounds.

Two stages. What came last is kept as it was noted, unread: finding a call in it costs a search, and
nothing while nobody asks. What falls out of that first stage is sorted by call, so that a quiet
node remembers its calls for days and a call that is still up keeps its beginning. A busy node,
whose first stage holds less than `SORTED_AGE`, drops what falls out unread: sorting would cost it
more than its calls may, so there a trace begins late, and says so.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from federation.model.clocks import Monotonic
from node.tracing.tap import Noted, call_id_of

RECENT_MESSAGES = 16_384
RECENT_BYTES = 16 << 20
"Of the first stage: whatever the messages belong to."
SORTED_AGE = 10.0
"Seconds that a batch has spent in the first stage if it is to be sorted."
KEPT_CALLS = 2_000
KEPT_BYTES = 32 << 20
"Of the second stage."
CALL_MESSAGES = 500
"Of one call in the second stage: its first ones and its last ones."
CALL_HEAD = 100
MESSAGE_BYTES = 8_192
"Of one message; the rest is cut off."
_SPARE = 0.9
"Share of the second stage that is left when some of it had to go."


@dataclass(frozen=True, slots=True)
class Trace:
    """What is remembered of one call."""

    call_id: bytes
    messages: Sequence[Noted]
    "In the order in which they passed."
    left_out: int
    "Messages after the first ones that are not kept any more."
    is_whole: bool
    "Whether the beginning is among them, and nothing was dropped since."


@dataclass(slots=True)
class _Call:
    """A call in the second stage."""

    head: list[Noted] = field(default_factory=list)
    tail: deque[Noted] = field(default_factory=deque)
    left_out: int = 0
    size: int = 0
    was_taken: bool = False
    "Somebody rang or answered; what never got so far is worth less than what did."
    last: float = 0.0

    def add(self, noted: Noted) -> int:
        """Keep one more message, and return by how many bytes the call has grown."""
        self.last = noted[0]
        grown = len(noted[2])
        if len(self.head) < CALL_HEAD:
            self.head.append(noted)
        else:
            self.tail.append(noted)
            if len(self.tail) > CALL_MESSAGES - CALL_HEAD:
                self.left_out += 1
                grown -= len(self.tail.popleft()[2])
        self.size += grown
        return grown


class CallTraces:
    """A reader of the tap; `under_way` names the Call-IDs of the calls that are."""

    def __init__(self, under_way: Callable[[], Collection[str]] = frozenset) -> None:
        self._under_way = under_way
        self._recent: deque[tuple[Sequence[Noted], int]] = deque()
        self._recent_messages = self._recent_bytes = 0
        self._calls: OrderedDict[bytes, _Call] = OrderedDict()
        self._kept_bytes = 0
        self.dropped = 0
        "Messages that fell out unread."
        self._dropped_until = Monotonic(-1.0)

    @property
    def usage(self) -> dict[str, int]:
        """How much is kept."""
        return {
            "recent_messages": self._recent_messages,
            "recent_bytes": self._recent_bytes,
            "calls": len(self._calls),
            "call_messages": sum(len(call.head) + len(call.tail) for call in self._calls.values()),
            "call_bytes": self._kept_bytes,
            "dropped": self.dropped,
        }

    def take(self, batch: Sequence[Noted]) -> None:
        """Remember a batch."""
        lengths = [len(noted[2]) for noted in batch]
        if max(lengths) > MESSAGE_BYTES:
            batch = [(at, way, data[:MESSAGE_BYTES], place) for at, way, data, place in batch]
            lengths = [len(noted[2]) for noted in batch]
        size = sum(lengths)
        self._recent.append((batch, size))
        self._recent_messages += len(batch)
        self._recent_bytes += size
        while self._recent and (
            self._recent_messages > RECENT_MESSAGES or self._recent_bytes > RECENT_BYTES
        ):
            self._let_fall(now=batch[-1][0])

    def find(self, call_id: str) -> Trace | None:
        """The trace of a call; `None` where nothing of it is known."""
        wanted = call_id.encode("utf-8", "surrogateescape")
        call = self._calls.get(wanted)
        kept = [] if call is None else [*call.head, *call.tail]
        fresh = [
            noted
            for batch, _ in self._recent
            for noted in batch
            if wanted in noted[2] and call_id_of(noted[2]) == wanted
        ]
        messages = kept + fresh
        if not messages:
            return None
        first = messages[0]
        is_whole = _begins_call(first[2]) and first[0] > self._dropped_until
        return Trace(wanted, messages, 0 if call is None else call.left_out, is_whole)

    def _let_fall(self, *, now: Monotonic) -> None:
        """Take the oldest batch out of the first stage."""
        batch, size = self._recent.popleft()
        self._recent_messages -= len(batch)
        self._recent_bytes -= size
        if now - batch[0][0] < SORTED_AGE:
            self.dropped += len(batch)
            self._dropped_until = batch[-1][0]
            return
        self._sort(batch)
        if len(self._calls) > KEPT_CALLS or self._kept_bytes > KEPT_BYTES:
            self._make_room()

    def _sort(self, batch: Sequence[Noted]) -> None:
        calls, sizes = self._calls, 0
        for noted in batch:
            data = noted[2]
            call_id = call_id_of(data)
            call = calls.get(call_id)
            if call is None:
                if not call_id or not _begins_call(data):
                    continue
                call = calls[call_id] = _Call()
            if not call.was_taken and data.startswith((b"SIP/2.0 18", b"SIP/2.0 2")):
                call.was_taken = True
            sizes += call.add(noted)
        self._kept_bytes += sizes

    def _make_room(self) -> None:
        """Forget calls: first what nobody took, then what ended, the oldest first."""
        under_way = {each.encode("utf-8", "surrogateescape") for each in self._under_way()}

        def worth(call_id: bytes) -> tuple[bool, bool, float]:
            call = self._calls[call_id]
            return call_id in under_way, call.was_taken, call.last

        for call_id in sorted(self._calls, key=worth):
            if len(self._calls) <= KEPT_CALLS * _SPARE and (
                self._kept_bytes <= KEPT_BYTES * _SPARE
            ):
                return
            self._kept_bytes -= self._calls.pop(call_id).size


def _begins_call(data: bytes) -> bool:
    return data.startswith(b"INVITE ")
