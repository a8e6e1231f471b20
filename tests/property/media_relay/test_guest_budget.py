"""Guests' bytes never exceed rate and allowance, whatever workers, clients and clocks do."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from federation.model.clocks import Monotonic
from media_relay.budget import REPORT_SECONDS, SLICE_SECONDS, GuestBudget
from media_relay.turn_meter import Meter, OverBudget

WORKERS = 3
LARGEST = 1500
TOLERANCE = 1.02


def exchange(budget: GuestBudget, worker: int, meter: Meter, now: float) -> None:
    """A worker's report, and what follows in the control plane."""
    counts = meter.take()
    if counts is not None:
        budget.report(worker, *counts, now=Monotonic(now))
        if not counts[2]:
            meter.lend(budget.lend(worker, now=Monotonic(now)), budget.kept)


class Budget(RuleBasedStateMachine):
    """Some workers with guests, one budget; time passes unevenly, reports come when they come."""

    def __init__(self) -> None:
        super().__init__()
        self.budget = GuestBudget()
        self.now = 1000.0
        self.rate = 0.0
        self.allowance = 0
        self.sent = 0
        self.lowest = 0.0
        "Least of (bytes sent - tolerated rate x time) at any earlier instant."
        self.highest_rise = 0.0
        "Most that was sent in any span of time beyond the tolerated rate."
        self.lives = WORKERS
        self.meters = [Meter() for _ in range(WORKERS)]
        self.outlets = [meter.paid("~guest", self._pass) for meter in self.meters]

    def _pass(self, data: bytes, _: object) -> int:
        self._note()
        self.sent += len(data)
        beyond = self.sent - TOLERANCE * self.rate * (self.now - 1000)
        self.highest_rise = max(self.highest_rise, beyond - self.lowest)
        return len(data)

    def _note(self) -> None:
        beyond = self.sent - TOLERANCE * self.rate * (self.now - 1000)
        self.lowest = min(self.lowest, beyond)

    @initialize(kbits=st.integers(64, 20_000), allowance=st.integers(0, 2_000_000))
    def open(self, kbits: int, allowance: int) -> None:
        self.rate, self.allowance = kbits * 125.0, allowance
        self.budget.limit(self.rate, allowance, now=Monotonic(self.now))

    @rule(worker=st.integers(0, WORKERS - 1), sizes=st.lists(st.integers(1, LARGEST), max_size=60))
    def send(self, worker: int, sizes: list[int]) -> None:
        for size in sizes:
            try:
                self.outlets[worker](bytes(size), 0)
            except OverBudget:
                continue

    @rule(seconds=st.floats(0, 3))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self._note()

    @rule(worker=st.integers(0, WORKERS - 1))
    def report(self, worker: int) -> None:
        exchange(self.budget, worker, self.meters[worker], self.now)

    @precondition(lambda self: self.lives < 10)
    @rule(worker=st.integers(0, WORKERS - 1))
    def die(self, worker: int) -> None:
        self.lives += 1
        self.budget.forget(worker)
        self.meters[worker] = Meter()
        self.outlets[worker] = self.meters[worker].paid("~guest", self._pass)

    @invariant()
    def the_rate_holds(self) -> None:
        assert self.highest_rise <= self.rate * SLICE_SECONDS + self.lives * LARGEST

    @invariant()
    def the_allowance_holds(self) -> None:
        assert self.sent <= self.allowance + self.lives * LARGEST


Budget.TestCase.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
TestBudget = Budget.TestCase


def used(kbits: int, workers: int, size: int, seconds: float, busy: int) -> float:
    """The part of the rate that passes while `busy` of the workers have more than enough."""
    budget, meters = GuestBudget(), [Meter() for _ in range(workers)]
    budget.limit(kbits * 125.0, 1 << 40, now=Monotonic(0.0))
    outlets = [meter.paid("~guest", lambda data, _: len(data)) for meter in meters]
    step, passed = REPORT_SECONDS / 50, 0
    for tick in range(int(seconds / step)):
        now = Monotonic(tick * step)
        for number in range(busy):
            try:
                passed += outlets[number](bytes(size), 0)
                passed += outlets[number](bytes(size), 0)
            except OverBudget:
                pass
        for number, meter in enumerate(meters):
            if (tick + 7 * number) % 50 == 0:
                exchange(budget, number, meter, now)
    return passed / (kbits * 125.0 * seconds)


def test_all_of_the_rate_can_be_used() -> None:
    """By one worker of several as well as by all, at low rates and high ones, within 2 %."""
    for kbits, workers, size, busy in (
        (64, 1, 172, 1),
        (64, 3, 172, 1),
        (500, 2, 172, 2),
        (2000, 4, 1200, 1),
        (2000, 4, 1200, 4),
        (64, 2, 1400, 2),
    ):
        part = used(kbits, workers, size, 20.0, busy)
        assert 0.98 <= part <= 1.02, (kbits, workers, size, busy, part)
