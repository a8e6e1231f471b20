"""How much each trunk carries: calls under way, and calls out on the present day."""

from collections import Counter
from collections.abc import Callable, Mapping

from federation.model.clocks import UnixTime

DAY = 86_400


def offered(name: str) -> str:
    """The name by which calls of other nodes over a trunk are counted, besides its own."""
    return f"{name[:63]}+"  # no trunk's name has a `+`


class TrunkLoad:
    """Counts calls by trunk; `on_day` hears of each day's count, to be stored behind."""

    def __init__(
        self,
        days: Mapping[str, tuple[int, int]] | None = None,
        *,
        on_day: Callable[[str, int, int], None] = lambda name, day, calls: None,
    ) -> None:
        self._held: dict[int, list[str]] = {}
        "The trunks that each call goes over, by the id of its dialog set."
        self._calls: Counter[str] = Counter()
        self._days = dict(days or {})
        self._on_day = on_day

    def calls(self, name: str) -> int:
        """Calls under way over a trunk."""
        return self._calls[name]

    def out_today(self, name: str, *, now: UnixTime) -> int:
        """Calls that went out over a trunk on this day (UTC)."""
        day, calls = self._days.get(name, (0, 0))
        return calls if day == int(now // DAY) else 0

    def take(self, name: str, call: int) -> None:
        """A call goes over a trunk; counted once, however often this is said."""
        names = self._held.setdefault(call, [])
        if name not in names:
            names.append(name)
            self._calls[name] += 1

    def leave(self, name: str, call: int) -> None:
        """A call goes another way, for this trunk did not take it."""
        names = self._held.get(call, [])
        if name in names:
            names.remove(name)
            self._less(name)

    def over(self, call: int) -> None:
        """A call has ended."""
        for name in self._held.pop(call, ()):
            self._less(name)

    def went_out(self, name: str, *, now: UnixTime) -> None:
        """A call was sent out over a trunk."""
        calls = self.out_today(name, now=now) + 1
        day = int(now // DAY)
        self._days[name] = (day, calls)
        self._on_day(name, day, calls)

    def _less(self, name: str) -> None:
        self._calls[name] -= 1
        if not self._calls[name]:
            del self._calls[name]
