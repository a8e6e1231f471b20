"""When new work is turned away, so that what was taken on is finished (RFC 3261 21.5.4, RFC 7339).

A server that takes on more than it can carry finishes next to nothing: requests wait until they are
repeated, and the repetitions wait too. What tells is how long messages wait. One that catches up
now and then keeps up, however busy it is and however long it was left alone once; one that is
behind at several looks in a row, and ever longer, does not. Then new work is refused without a
transaction until what waits is done; nothing inside calls is refused, nor an answer, nor what ends
a call. A set-up waits about three times as long as one message, and phones repeat after 0.5 s.
"""

from dataclasses import dataclass

from federation.model.clocks import Monotonic

BEGIN = 0.1
"Seconds that messages wait, from which on new work may be refused."
LOOKS = 3
"Looks in a row after which something still waits, for the same: one pause is no overload."
PEAK = 5.0
"Seconds without a refusal after which an overload counts as over."


@dataclass(frozen=True, slots=True)
class OverloadBegan:
    """The first refusal in a while."""


@dataclass(frozen=True, slots=True)
class OverloadOver:
    """Nothing was refused for a while."""

    refused: int
    "Requests refused since it began."
    seconds: float
    "From the first refusal to the last."


class OverloadControl:
    """Decides whether new work is taken on, and tells of overloads."""

    def __init__(self) -> None:
        self.is_shedding = False
        "Whether new work is to be refused now."
        self.is_alert = False
        "Whether there is something to do: new work to refuse, or ACKs of refusals to come."
        self._behind: set[Backlog] = set()
        self.refused = 0
        "Requests refused since the start."
        self._began: Monotonic | None = None
        self._last = Monotonic(0.0)
        self._before = 0

    @property
    def is_overloaded(self) -> bool:
        """Whether something was refused lately."""
        return self._began is not None

    def note(self, backlog: "Backlog", *, is_behind: bool) -> None:
        """One source of messages cannot be kept up with, or can again."""
        if is_behind:
            self._behind.add(backlog)
        else:
            self._behind.discard(backlog)
        self.is_shedding = bool(self._behind)
        self.is_alert = self.is_alert or self.is_shedding

    def count(self, *, now: Monotonic) -> OverloadBegan | None:
        """A request was refused; says so if it is the first of an overload."""
        self.refused += 1
        self._last = now
        if self._began is not None:
            return None
        self._began, self._before = now, self.refused - 1
        return OverloadBegan()

    def look(self, *, now: Monotonic) -> OverloadOver | None:
        """Says when an overload is over; to be asked now and then."""
        if self.is_shedding or (self._began is not None and now - self._last < PEAK):
            return None
        self.is_alert = False
        if self._began is None:
            return None
        over = OverloadOver(self.refused - self._before, self._last - self._began)
        self._began = None
        return over


class Backlog:
    """What waits in one socket, or in all streams together."""

    __slots__ = ("_control", "_looks", "is_behind")

    def __init__(self, control: OverloadControl) -> None:
        self._control = control
        self._looks = 0
        self.is_behind = False

    def done(self) -> None:
        """Nothing waits any more."""
        self._looks = 0
        if self.is_behind:
            self.is_behind = False
            self._control.note(self, is_behind=False)

    def left(self, seconds: float) -> None:
        """Something waits after a look, what has waited longest for so many seconds."""
        self._looks += 1
        if not self.is_behind and self._looks >= LOOKS and seconds >= BEGIN:
            self.is_behind = True
            self._control.note(self, is_behind=True)
