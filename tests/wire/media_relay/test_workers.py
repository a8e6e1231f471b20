import asyncio
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import media_relay
from federation.model.address import Endpoint
from media_relay.counters import Drop
from media_relay.errors import NoCapacity
from media_relay.pool import RelayPool
from media_relay.reports import RelayEvent, WorkerLost, WorkerRestarted
from tests.support.relay_table import rtp
from tests.support.relay_wire import (
    HEARD_WITHIN,
    WirePhone,
    a_pool,
    connect_legs,
    facing,
    hear_each_other,
    phones,
    until,
)


def worker_pid(pool: RelayPool, index: int = 0) -> int:
    pid = pool.usage().workers[index].pid
    assert pid is not None
    return pid


def kill(pid: int) -> None:
    """Kill a process, and return when it runs no more; the event loop has not noticed yet."""
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + HEARD_WITHIN
    while is_running(pid):
        assert time.monotonic() < deadline, "it lives on"
        time.sleep(0.001)


async def test_a_killed_worker_is_replaced_under_a_call_on_the_same_ports() -> None:
    """Both nodes, one after the other; legs accept the raised generation."""
    events: list[RelayEvent] = []
    async with a_pool(on_event=events.append) as here, a_pool(on_event=events.append) as there:
        with phones(3) as (alice, alice_outside, bob):
            near, far = here.session("near"), there.session("far")
            one, other = facing(near, alice), facing(far, bob)
            near_leg, far_leg = connect_legs(near, far)
            near.join(one, near_leg)
            far.join(other, far_leg)
            await hear_each_other(alice_outside, one, bob, other, rtp())
            await until(lambda: near.report().legs[0].packets_in == 1)
            for pool in (here, there, here):
                before = worker_pid(pool)
                count = len(events)
                kill(before)
                for number in range(10):
                    alice_outside.send(rtp(number), one.rtp)
                    bob.send(rtp(number), other.rtp)
                for number in range(10):
                    assert await bob.hear() == rtp(number), "nothing was lost"
                    assert await alice_outside.hear() == rtp(number)
                await until(lambda wanted=count + 2: len(events) == wanted)
                assert worker_pid(pool) != before
            assert alice.heard() == [], "the latch outlived the worker"
            assert [type(event) for event in events] == [WorkerLost, WorkerRestarted] * 3
            # What a worker counted since its last report dies with it.
            await until(lambda: near.report().anchors[0].packets_in >= 10)
            assert [sum(e.drops) for e in (*near.report().legs, *far.report().legs)] == [0, 0]


async def test_sound_is_back_soon() -> None:
    """About 0.1 s on an idle machine; the bound leaves room for a busy one."""
    events: list[RelayEvent] = []
    async with a_pool(on_event=events.append) as pool:
        with phones(2) as (alice, bob):
            session = pool.session("call")
            one, other = facing(session, alice), facing(session, bob)
            session.join(one, other)
            await hear_each_other(alice, one, bob, other, rtp())
            kill(worker_pid(pool))
            await hear_each_other(alice, one, bob, other, rtp(2))
            await until(lambda: len(events) == 2)
            restarted = events[1]
            assert isinstance(restarted, WorkerRestarted)
            assert (restarted.pid, restarted.sessions) == (worker_pid(pool), 1)
            assert restarted.seconds < 2.0


async def test_other_workers_are_unharmed() -> None:
    async with a_pool(workers=2) as pool:
        with phones(4) as (alice, bob, carol, dave):
            first, second = pool.session("first"), pool.session("second")
            one, other = facing(first, alice), facing(first, bob)
            first.join(one, other)
            third, fourth = facing(second, carol), facing(second, dave)
            second.join(third, fourth)
            assert [worker.sessions for worker in pool.usage().workers] == [1, 1]
            survivor = worker_pid(pool, 1)
            kill(worker_pid(pool, 0))
            await hear_each_other(carol, third, dave, fourth, rtp())
            await hear_each_other(alice, one, bob, other, rtp())
            assert worker_pid(pool, 1) == survivor


async def test_an_echo_and_an_open_latch_outlive_their_worker() -> None:
    async with a_pool() as pool:
        with phones(1) as (alice,):
            session = pool.session("echo")
            anchor = facing(session, alice)
            session.echo(anchor)
            alice.send(rtp(1), anchor.rtp)
            first = await alice.hear()
            kill(worker_pid(pool))
            alice.send(rtp(1), anchor.rtp)
            assert await alice.hear() == first, "under the same SSRC"


async def test_an_echo_on_a_leg_outlives_its_worker() -> None:
    async with a_pool() as pool:
        with phones(1) as (alice,):
            near, far = pool.session("near"), pool.session("echo")
            near_leg, far_leg = connect_legs(near, far)
            anchor = facing(near, alice)
            near.join(anchor, near_leg)
            far.echo(far_leg)
            alice.send(rtp(1), anchor.rtp)
            first = await alice.hear()
            assert first[12:] == rtp(1)[12:]
            assert first[8:12] != rtp(1)[8:12]
            kill(worker_pid(pool))
            alice.send(rtp(1), anchor.rtp)
            assert await alice.hear() == first, "under the same SSRC"


async def test_a_call_between_two_legs_outlives_its_worker() -> None:
    async with a_pool() as pool:
        with phones(2) as (alice, bob):
            near, middle, far = (pool.session(name) for name in ("near", "middle", "far"))
            near_leg, from_near = connect_legs(near, middle)
            far_leg, from_far = connect_legs(far, middle)
            one, other = facing(near, alice), facing(far, bob)
            near.join(near_leg, one)
            middle.join(from_near, from_far)
            far.join(other, far_leg)
            await hear_each_other(alice, one, bob, other, rtp())
            kill(worker_pid(pool))
            await hear_each_other(alice, one, bob, other, rtp(2))
            await until(lambda: all(leg.packets_in for leg in middle.report().legs))


async def test_a_hung_worker_is_killed_and_replaced() -> None:
    events: list[RelayEvent] = []
    async with a_pool(on_event=events.append) as pool:
        with phones(2) as (alice, bob):
            session = pool.session("call")
            one, other = facing(session, alice), facing(session, bob)
            session.join(one, other)
            await hear_each_other(alice, one, bob, other, rtp())
            os.kill(worker_pid(pool), signal.SIGSTOP)
            alice.send(rtp(2), one.rtp)
            assert await bob.hear() == rtp(2)
            assert isinstance(events[0], WorkerLost)
            assert events[0].reason == "it hung"


async def test_what_is_ordered_while_no_worker_runs_is_done_by_the_next() -> None:
    async with a_pool() as pool:
        with phones(2) as (alice, bob):
            session = pool.session("call")
            kill(worker_pid(pool))
            one, other = facing(session, alice), facing(session, bob)
            session.join(one, other)
            gone = session.anchor("127.0.0.1")
            session.free_anchor(gone)
            await hear_each_other(alice, one, bob, other, rtp())


async def test_many_calls_outlive_their_worker() -> None:
    """More orders and descriptors than the control socket holds at once."""
    async with a_pool() as pool:
        with phones(2) as (alice, bob):
            calls = []
            for number in range(300):
                session = pool.session(str(number))
                one, other = facing(session, alice), facing(session, bob)
                session.join(one, other)
                calls.append((one, other))
            kill(worker_pid(pool))
            for one, other in (calls[0], calls[150], calls[-1]):
                await hear_each_other(alice, one, bob, other, rtp())


CALLS = 200
GAP = 1.0
"Seconds; what a call may be silent for. About 0.2 on an idle machine."


@pytest.mark.slow
async def test_200_calls_are_heard_again_within_a_second_and_the_others_never_notice() -> None:
    """Half between anchors, half over sealed legs to another pool; one of two workers is killed."""
    async with a_pool(workers=2) as here, a_pool() as there:
        with phones(2 * CALLS) as lines:
            ways, worker_of = [], []
            for number in range(CALLS):
                one, other = lines[2 * number : 2 * number + 2]
                session = here.session(str(number))
                near = facing(session, one)
                if number % 4 < 2:
                    far = facing(session, other)
                    session.join(near, far)
                else:
                    beyond = there.session(str(number))
                    far = facing(beyond, other)
                    legs = connect_legs(session, beyond)
                    session.join(near, legs[0])
                    beyond.join(far, legs[1])
                ways += [(one, near.rtp), (other, far.rtp)]
                counts = [worker.sessions for worker in here.usage().workers]
                worker_of.append(1 if counts[1] > worker_of.count(1) else 0)
            assert [worker_of.count(index) for index in (0, 1)] == [CALLS // 2] * 2, "shared"
            gaps = await gaps_around(ways, lambda: kill(worker_pid(here, 0)))
            hurt = max(gaps[n] for n in range(2 * CALLS) if worker_of[n // 2] == 0)
            spared = max(gaps[n] for n in range(2 * CALLS) if worker_of[n // 2] == 1)
            print(f"silent for {hurt:.2f} s at most; calls of the other worker {spared:.2f} s")
            assert hurt <= GAP
            assert spared <= hurt + 3 * TURN
            for number in range(CALLS):
                assert await is_alive(ways[2 * number], ways[2 * number + 1])


TURN = 0.1
"Seconds between two packets of a line."


async def gaps_around(
    ways: list[tuple[WirePhone, Endpoint]], strike: Callable[[], None]
) -> list[float]:
    """The longest silence of each line while all talk for 4 s and `strike` falls after 1."""
    begun = time.monotonic()
    heard, gaps = [begun] * len(ways), [0.0] * len(ways)
    for turn in range(40):
        for phone, anchor in ways:
            phone.send(rtp(turn), anchor)
        if turn == 10:
            strike()
        while (now := time.monotonic()) < begun + (turn + 1) * TURN:
            for number, (phone, _) in enumerate(ways):
                if phone.heard():
                    gaps[number] = max(gaps[number], now - heard[number])
                    heard[number] = now
            await asyncio.sleep(0.01)
    end = time.monotonic()
    return [max(gap, end - last) for gap, last in zip(gaps, heard, strict=True)]


async def is_alive(one: tuple[WirePhone, Endpoint], other: tuple[WirePhone, Endpoint]) -> bool:
    """Whether both ends of a call hear a packet sent now."""
    for (speaker, anchor), (listener, _) in ((one, other), (other, one)):
        listener.heard()
        speaker.send(rtp(99), anchor)
        if await listener.hear() != rtp(99):
            return False
    return True


async def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    program = tmp_path / "parent.py"
    program.write_text(PARENT, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(Path(media_relay.__file__).parent.parent)}
    with subprocess.Popen(
        [sys.executable, str(program)], stdout=subprocess.PIPE, text=True, env=environment
    ) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        assert is_running(worker)
        parent.kill()
    await until(lambda: not is_running(worker))


PARENT = """
import asyncio
from federation.model.clocks import SystemClock, SystemEntropy
from media_relay.config import RelayConfig
from media_relay.pool import RelayPool

async def main():
    pool = RelayPool(RelayConfig(workers=1, leg_hosts=("127.0.0.1",)), clock=SystemClock(),
                     entropy=SystemEntropy(), on_event=print)
    await pool.start()
    pool.session("call").anchor("127.0.0.1")
    print(pool.usage().workers[0].pid, flush=True)
    await asyncio.sleep(60)

import structlog
structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
asyncio.run(main())
"""


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


async def test_workers_go_on_through_the_signals_of_a_terminal() -> None:
    async with a_pool() as pool:
        pid = worker_pid(pool)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(pid, number)
        await asyncio.sleep(0.1)
        assert worker_pid(pool) == pid
        assert is_running(pid)


async def test_the_running_worker_holds_no_event_loop_and_may_open_many_files() -> None:
    async with a_pool() as pool:
        pid = worker_pid(pool)
        loaded = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8")
        assert "_asyncio" not in loaded
        assert "uvloop" not in loaded
        limits = Path(f"/proc/{pid}/limits").read_text(encoding="utf-8")
        line = next(line for line in limits.splitlines() if line.startswith("Max open files"))
        soft, hard = line.split()[3:5]
        assert soft == hard
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == int(hard)


async def test_closing_leaves_no_process_and_no_descriptor() -> None:
    before = len(os.listdir("/proc/self/fd"))
    async with a_pool(workers=2) as pool:
        pids = [worker_pid(pool, 0), worker_pid(pool, 1)]
        session = pool.session("call")
        session.anchor("127.0.0.1")
        session.leg_block(8)
    assert not any(is_running(pid) for pid in pids)
    assert len(os.listdir("/proc/self/fd")) == before
    assert pool.usage().ports_in_use == 0


async def test_a_worker_that_cannot_start_is_said_and_leaves_nothing() -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(NoCapacity, match="ended with status 1"):
        async with a_pool(worker_module="tests.support.no_such_worker"):
            pytest.fail("it started")
    assert len(os.listdir("/proc/self/fd")) == before


async def test_a_freed_anchor_is_not_read_again() -> None:
    """Its socket lives on in two processes until both closed it."""
    async with a_pool() as pool:
        with phones(2) as (alice, bob):
            session = pool.session("call")
            one, other = facing(session, alice), facing(session, bob)
            session.join(one, other)
            session.free_anchor(other)
            for number in range(50):
                alice.send(rtp(number), one.rtp)
                bob.send(rtp(number), other.rtp)
            await until(lambda: session.report().anchors[0].drops[Drop.UNJOINED] == 50)
            assert bob.heard() == []
