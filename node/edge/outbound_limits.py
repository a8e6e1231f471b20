"""How many calls an account may make to elsewhere in an hour: a stolen password stays cheap.

Calls within this node cost nobody anything and are not counted. An account of kind `trunk` has
limits of its own. Emergency calls are never counted.
"""

from dataclasses import dataclass, field

from federation.model.clocks import Monotonic

HOUR = 3600.0
CALLS_PER_HOUR = 1_000
"Calls of one account to elsewhere; 0: as many as it likes."
TARGETS_PER_HOUR = 300
"Different numbers and addresses among them."


@dataclass(slots=True)
class _Hour:
    since: Monotonic
    calls: int = 0
    targets: set[str] = field(default_factory=set)


@dataclass(slots=True)
class OutboundLimits:
    """Counts the calls of each account."""

    calls: int = CALLS_PER_HOUR
    targets: int = TARGETS_PER_HOUR
    _hours: dict[str, _Hour] = field(default_factory=dict)

    def refusal(self, login: str, target: str, *, now: Monotonic) -> str | None:
        """Why an account may not make this call; `None`: it may, and it is counted."""
        hour = self._hours.get(login)
        if hour is None or now - hour.since >= HOUR:
            hour = self._hours[login] = _Hour(now)
        if self.calls and hour.calls >= self.calls:
            return f"more than {self.calls} calls in an hour"
        is_new = target not in hour.targets
        if self.targets and is_new and len(hour.targets) >= self.targets:
            return f"more than {self.targets} different numbers in an hour"
        hour.calls += 1
        if is_new and self.targets:
            hour.targets.add(target)
        return None

    def look(self, now: Monotonic) -> None:
        """Forget what is over."""
        over = [login for login, hour in self._hours.items() if now - hour.since >= HOUR]
        for login in over:
            del self._hours[login]

    def __len__(self) -> int:
        return len(self._hours)
