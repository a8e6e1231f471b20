"""How many bytes guests may still have relayed: one budget, lent to the workers in small parts.

A worker passes guests' datagrams while it has credit, reports every `REPORT_SECONDS` what it
passed and what it dropped, and is lent more; one that has been idle for a second gives its credit
back. What is lent and what could be lent are together never more than `SLICE_SECONDS` of the rate,
so over any time the bytes that pass are at most

    rate x time + one slice + one datagram a worker

since the last datagram may be larger than the credit that is left; that debt is paid from the next
part. The allowance, what is left of a month, is kept to in the same way.
"""

from federation.model.clocks import Monotonic

SLICE_SECONDS = 0.1
REPORT_SECONDS = 0.05
"Between a worker's reports while guests are there; half a slice, so the rate can be used up."
DEMAND_SECONDS = 1.0
"Time over which it is averaged how much each worker could use."
FIRST_BYTE = 1
"What a worker begins with: enough to let one datagram through, on account."
MOST_KEPT = 3000
"Bytes that a worker keeps at rest at most: a few datagrams."
LEAST_SHARE = 0.25
"Of an equal share: what a worker may be lent that could use next to nothing."


class GuestBudget:
    """A token bucket with several taps. Amounts are bytes."""

    def __init__(self) -> None:
        self.rate = 0.0
        "Bytes a second."
        self.allowance = 0
        "Bytes that may pass in all; what passes is taken from it."
        self.passed = 0
        "Bytes since the beginning."
        self.dropped = 0
        self._level = 0.0
        "What can be lent now."
        self._credit: dict[int, int] = {}
        "Lent to each worker and, as far as known, not used."
        self._demand: dict[int, float] = {}
        "Bytes a second that each could use."
        self._accrued: Monotonic | None = None

    def limit(self, rate: float, allowance: int, *, now: Monotonic) -> None:
        """Set rate and allowance from now on."""
        self._accrue(now)
        self.rate, self.allowance = rate, max(0, allowance)

    def report(
        self, worker: int, passed: int, dropped: int, returned: int = 0, *, now: Monotonic
    ) -> None:
        """What a worker passed, dropped, and gave back since its last report."""
        self._accrue(now)
        self._credit[worker] = self._credit.get(worker, FIRST_BYTE) - passed - returned
        self._demand[worker] = self._demand.get(worker, 0.0) + (passed + dropped) / DEMAND_SECONDS
        self._level += returned
        self.allowance = max(0, self.allowance - passed)
        self.passed += passed
        self.dropped += dropped

    def lend(self, worker: int, *, now: Monotonic) -> int:
        """What a worker gets in addition; 0 for nothing."""
        self._accrue(now)
        credit = self._credit.get(worker, FIRST_BYTE)
        left = self.allowance - sum(max(0, lent) for lent in self._credit.values()) - min(0, credit)
        share = self.rate * SLICE_SECONDS * self._part_of(worker)
        part = max(0, int(min(self._level, share - credit, left)))
        self._level -= part
        self._credit[worker] = credit + part
        return part

    def forget(self, worker: int) -> None:
        """A worker is gone, and with it what it was lent, which it may have used up unreported."""
        self._demand.pop(worker, None)
        lost = max(0, self._credit.pop(worker, 0))
        self.allowance = max(0, self.allowance - lost)
        self.passed += lost

    @property
    def kept(self) -> int:
        """What each worker may keep while its guests are silent, so that they can begin again."""
        part = self.rate * SLICE_SECONDS * LEAST_SHARE / max(1, len(self._demand))
        return max(FIRST_BYTE, min(int(part), MOST_KEPT))

    @property
    def is_spent(self) -> bool:
        """Whether nothing of the allowance is left."""
        return self.allowance <= 0

    def _part_of(self, worker: int) -> float:
        """Which part of a slice a worker may hold: by what it could use, all of it at most."""
        useful = {other: min(need, self.rate) for other, need in self._demand.items()}
        total = sum(useful.values())
        least = LEAST_SHARE / max(1, len(useful))
        return max(least, useful.get(worker, 0.0) / total if total else least)

    def _accrue(self, now: Monotonic) -> None:
        elapsed = 0.0 if self._accrued is None else now - self._accrued
        self._accrued = now
        depth = self.rate * SLICE_SECONDS - sum(max(0, lent) for lent in self._credit.values())
        self._level = max(0.0, min(self._level + elapsed * self.rate, depth))
        if elapsed:
            fading = max(0.0, 1 - elapsed / DEMAND_SECONDS)
            for worker in self._demand:
                self._demand[worker] *= fading
