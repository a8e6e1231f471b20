"""When new work is refused, and when an overload is over."""

import asyncio
import heapq
from types import SimpleNamespace

import pytest

from federation.model.clocks import Monotonic
from node.sip.overload import (
    BEGIN,
    LOOKS,
    PEAK,
    Backlog,
    OverloadBegan,
    OverloadControl,
    OverloadOver,
)
from node.sip.transports import turns
from node.sip.transports.turns import Turns


def behind() -> tuple[OverloadControl, Backlog]:
    control = OverloadControl()
    backlog = Backlog(control)
    for _ in range(LOOKS):
        backlog.left(BEGIN)
    return control, backlog


def test_refusals_begin_when_what_waits_is_not_done_for_a_while() -> None:
    control, backlog = behind()
    assert control.is_shedding
    assert control.is_alert
    backlog.left(0.0)
    assert control.is_shedding
    backlog.done()
    assert not control.is_shedding
    assert control.is_alert


def test_a_pause_or_a_burst_is_no_overload() -> None:
    control = OverloadControl()
    backlog = Backlog(control)
    for _ in range(LOOKS - 1):
        backlog.left(10 * BEGIN)
    backlog.done()
    backlog.left(10 * BEGIN)
    assert not control.is_shedding
    for _ in range(2 * LOOKS):
        backlog.left(BEGIN - 0.001)
    assert not control.is_shedding


class Streams:
    """Streams under a clock that we turn."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(turns, "time", SimpleNamespace(monotonic=lambda: self.now))
        self.control = OverloadControl()
        self.turns = Turns(Backlog(self.control))

    async def wait(self, seconds: float, times: int = 1) -> None:
        """In so many turns something of the first is still not done."""
        came = self.turns.note()
        for _ in range(times):
            self.now += seconds
            self.turns.wait(lambda: None, came)
            await asyncio.sleep(0)
            self.turns.note()

    def are_behind(self) -> bool:
        return self.control.is_shedding


async def test_streams_are_behind_when_what_came_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = Streams(monkeypatch)
    for _ in range(3):
        await streams.wait(BEGIN / 10, 8)
        await asyncio.sleep(0)
        assert not streams.are_behind()
    await streams.wait(BEGIN / 10, 12)
    assert streams.are_behind()
    for _ in range(3):
        await asyncio.sleep(0)
    assert not streams.are_behind()


async def test_long_turns_in_which_all_is_done_are_no_overload(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    streams = Streams(monkeypatch)
    for _ in range(2 * LOOKS):
        streams.turns.note()
        streams.now += BEGIN
        await asyncio.sleep(0)
        assert not streams.are_behind()


async def test_who_waits_has_a_turn_whatever_others_do(monkeypatch: pytest.MonkeyPatch) -> None:
    streams, heard = Streams(monkeypatch), []

    def breaks() -> None:
        raise ValueError

    asyncio.get_running_loop().set_exception_handler(lambda loop, context: heard.append("broke"))
    for each in (breaks, lambda: heard.append("second"), lambda: heard.append("third")):
        streams.turns.wait(each, 0.0)
    for _ in range(4):
        await asyncio.sleep(0)
    assert heard == ["broke", "second", "third"]


def test_one_that_is_behind_is_enough() -> None:
    control, backlog = behind()
    Backlog(control).done()
    assert control.is_shedding
    backlog.done()
    assert not control.is_shedding


def test_an_alert_without_a_refusal_ends_unheard() -> None:
    control, backlog = behind()
    assert control.look(now=Monotonic(1.0)) is None
    assert control.is_alert
    backlog.done()
    assert control.look(now=Monotonic(1.0)) is None
    assert not control.is_alert


def test_an_overload_is_told_of_once_at_each_end() -> None:
    (control, backlog), now = behind(), 10.0
    backlog.done()
    assert control.look(now=Monotonic(now)) is None
    assert control.count(now=Monotonic(now)) == OverloadBegan()
    assert control.count(now=Monotonic(now + 2)) is None
    assert control.is_overloaded
    assert control.look(now=Monotonic(now + 2 + PEAK - 0.1)) is None
    assert control.look(now=Monotonic(now + 2 + PEAK)) == OverloadOver(refused=2, seconds=2.0)
    assert not control.is_overloaded
    assert control.look(now=Monotonic(now + 100)) is None
    control.count(now=Monotonic(now + 200))
    assert control.look(now=Monotonic(now + 300)) == OverloadOver(refused=1, seconds=0.0)
    assert control.refused == 3


FULL, CHEAP = 0.001, 0.00003
"Seconds that a call's work takes (in two messages), and its refusal."
DRAIN = 64
"Datagrams taken at one look."
BUFFER = 2500
"Datagrams that wait; more are lost."
REPEAT = 0.5


def carried(rate: float, *, sheds: bool, seconds: float = 20.0) -> tuple[float, float]:
    """One server under a steady load: calls finished a second, and the 99th percentile of set-up.

    Each call is a request and, half a second after that was served, one message that ends it; both
    are repeated after `REPEAT` seconds (then twice that) until they were served, as SIP does.
    """
    control, now = OverloadControl(), 0.0
    backlog = Backlog(control)
    arrivals = [(n / rate, n, False, 0) for n in range(int(rate * seconds))]
    heapq.heapify(arrivals)
    queue: list[tuple[float, int, bool]] = []
    done: set[tuple[int, bool]] = set()
    waits: list[float] = []
    looked = 0
    while arrivals or queue:
        while arrivals and arrivals[0][0] <= now:
            at, call, last, times = heapq.heappop(arrivals)
            if (call, last) in done or times > 5:
                continue
            heapq.heappush(arrivals, (at + REPEAT * 2**times, call, last, times + 1))
            if len(queue) < BUFFER:
                queue.append((at, call, last))
        if not queue:
            backlog.done()
            now = max(now, arrivals[0][0]) if arrivals else now
            continue
        looked += 1
        if looked % DRAIN == 0:
            backlog.left(now - queue[0][0])
        at, call, last = queue.pop(0)
        if sheds and control.is_shedding and not last and (call, last) not in done:
            now += CHEAP
            done.add((call, last))
        elif (call, last) in done:
            now += CHEAP
        else:
            now += FULL / 2
            done.add((call, last))
            if last:
                continue
            waits.append(now - call / rate)
            heapq.heappush(arrivals, (now + 0.5, call, True, 0))
    finished = len([1 for _, last in done if last])
    return finished / seconds, sorted(waits)[int(len(waits) * 0.99)]


def test_twice_the_load_is_carried_nearly_as_well_as_the_most() -> None:
    most, _ = carried(950.0, sheds=True)
    assert most > 940
    doubled, setup = carried(2000.0, sheds=True)
    assert doubled > 0.8 * most
    assert setup < 1.0
    _, setup = carried(2000.0, sheds=False)
    assert setup > 5.0


def test_below_the_most_nothing_is_refused() -> None:
    finished, setup = carried(700.0, sheds=True)
    assert finished == 700
    assert setup < 0.05
