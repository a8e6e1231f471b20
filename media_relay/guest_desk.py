"""Guests in the control plane: what they may use now, and who asked for more than that."""

from dataclasses import dataclass

from federation.model.clocks import Monotonic
from media_relay.budget import GuestBudget
from media_relay.stun.attributes import Code
from media_relay.turn.quotas import Quotas

LEAST_KBITS = 64
"A new guest needs so many kbit/s free, which is one call's share; or all, where the limit is less."
LOAD_SECONDS = 1.0
"Time over which the present load is averaged."
_BITS = 8 / 1000


@dataclass(frozen=True, slots=True)
class GuestLimits:
    """What all guests together may use."""

    kbits: int
    "kbit/s of UDP payload that leaves the relay, both directions added."
    ports: int
    "Relay ports at one time."
    bytes_left: int
    "Of this month."


@dataclass(frozen=True, slots=True)
class GuestReport:
    """What guests use."""

    is_open: bool
    ports: int
    "Relay ports that they hold."
    kbits: float
    "Mean load of the last second."
    kbits_free: int
    passed: int
    "Bytes since the pool started."
    dropped: int
    "Bytes over the limits since then."
    bytes_left: int


class GuestDesk:
    """Decides what the desk of TURN asks about guests; closed at first."""

    def __init__(self) -> None:
        self.budget = GuestBudget()
        self.limits: GuestLimits | None = None
        "`None` while there may be no guests."
        self.is_closing = False
        "No new ones; those who are there have a little time left."
        self._load = 0.0
        self._load_at: Monotonic | None = None

    def open(self, limits: GuestLimits, *, now: Monotonic) -> None:
        """Let guests in, or let them use more or less than before."""
        self.limits, self.is_closing = limits, False
        self.budget.limit(limits.kbits / _BITS, limits.bytes_left, now=now)

    def close(self, *, now: Monotonic) -> None:
        """Let none in, and pass nothing."""
        self.limits, self.is_closing = None, False
        self.budget.limit(0.0, self.budget.allowance, now=now)

    def refusal(self, quotas: Quotas, count: int, *, now: Monotonic) -> Code | None:
        """Why a guest cannot have `count` more ports; `None` if it can."""
        limits = self.limits
        if limits is None or self.is_closing or self.budget.is_spent:
            return Code.INSUFFICIENT_CAPACITY
        if quotas.guests + count > limits.ports:
            return Code.ALLOCATION_QUOTA_REACHED
        if self.kbits_free(now) < min(LEAST_KBITS, limits.kbits):
            return Code.INSUFFICIENT_CAPACITY
        return None

    def reported(
        self, worker: int, passed: int, dropped: int, returned: int, *, now: Monotonic
    ) -> int:
        """A worker's report; what it is lent, which is nothing where it gives back."""
        self._average(passed, now)
        self.budget.report(worker, passed, dropped, returned, now=now)
        return 0 if returned else self.budget.lend(worker, now=now)

    def kbits(self, now: Monotonic) -> float:
        """The load of the last second."""
        self._average(0, now)
        return self._load * _BITS

    def kbits_free(self, now: Monotonic) -> int:
        """What new guests could use."""
        if self.limits is None or self.budget.is_spent:
            return 0
        return max(0, self.limits.kbits - round(self.kbits(now)))

    def report(self, quotas: Quotas | None, now: Monotonic) -> GuestReport:
        """What guests use now."""
        return GuestReport(
            is_open=self.limits is not None and not self.is_closing and not self.budget.is_spent,
            ports=0 if quotas is None else quotas.guests,
            kbits=round(self.kbits(now), 1),
            kbits_free=self.kbits_free(now),
            passed=self.budget.passed,
            dropped=self.budget.dropped,
            bytes_left=self.budget.allowance,
        )

    def _average(self, passed: int, now: Monotonic) -> None:
        elapsed = 0.0 if self._load_at is None else now - self._load_at
        self._load_at = now
        self._load = self._load * max(0.0, 1 - elapsed / LOAD_SECONDS) + passed / LOAD_SECONDS
