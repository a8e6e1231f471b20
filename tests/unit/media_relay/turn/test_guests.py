"""Guests of the relay: how they are let in, held to their time, and sent away."""

import pytest

from federation.model.clocks import Monotonic
from media_relay.guest_desk import LEAST_KBITS, GuestDesk, GuestLimits
from media_relay.stun.attributes import Attribute, Code
from media_relay.stun.values import read_u32
from media_relay.turn.credentials import account_of
from media_relay.turn.guests import MAX_GUEST_LIFETIME
from media_relay.turn.quotas import QuotaLimits, Quotas
from media_relay.turn_meter import IDLE_REPORTS, Meter, OverBudget
from tests.support.turn_core import REALM, Shell, TurnClient, code_of

GUEST = "~guest"
NOW = Monotonic(1000.0)


@pytest.fixture
def shell() -> Shell:
    made = Shell()
    made.credentials.put(account_of(GUEST, REALM, f"{GUEST}'s password"))
    return made


def lifetime_of(response: object) -> int:
    value = response.get(Attribute.LIFETIME)  # type: ignore[attr-defined]
    return 0 if value is None else read_u32(value)


def test_a_guest_has_ten_minutes_at_a_time(shell: Shell) -> None:
    alice, guest = TurnClient(shell), TurnClient(shell, GUEST, port=4001)
    long = (Attribute.LIFETIME, (3600).to_bytes(4, "big"))
    assert lifetime_of(alice.allocate(long)) == 3600
    assert lifetime_of(guest.allocate(long)) == MAX_GUEST_LIFETIME
    assert lifetime_of(guest.refresh(3600)) == MAX_GUEST_LIFETIME


def test_guests_that_must_go_hear_it_by_their_refresh(shell: Shell) -> None:
    alice, guest = TurnClient(shell), TurnClient(shell, GUEST, port=4001)
    alice.allocate()
    guest.allocate()
    shell.carry_out(shell.server.end_guests(60, now=Monotonic(shell.now)))
    assert lifetime_of(guest.refresh(600)) == 60
    assert lifetime_of(alice.refresh(600)) == 600
    shell.pass_time(20)
    assert lifetime_of(guest.refresh(600)) == 40
    assert len(shell.open) == 2
    shell.pass_time(40)
    assert [wanted.login for wanted in shell.open.values()] == ["alice"]
    assert code_of(guest.ask_to_allocate()) == Code.INSUFFICIENT_CAPACITY
    shell.carry_out(shell.server.end_guests(-1, now=Monotonic(shell.now)))
    assert code_of(guest.allocate()) == 0


def test_off_is_at_once_and_for_guests_only(shell: Shell) -> None:
    alice, guest, pending = (
        TurnClient(shell),
        TurnClient(shell, GUEST, port=4001),
        TurnClient(shell, GUEST, port=4002),
    )
    alice.allocate()
    guest.allocate()
    pending.ask_to_allocate()
    shell.carry_out(shell.server.end_guests(0, now=Monotonic(shell.now)))
    assert [wanted.login for wanted in shell.open.values()] == ["alice"]
    shell.open_next()
    assert [wanted.login for wanted in shell.open.values()] == ["alice"]
    assert code_of(guest.refresh(600)) == Code.ALLOCATION_MISMATCH


def test_closed_until_it_is_opened() -> None:
    desk, quotas = GuestDesk(), Quotas(QuotaLimits())
    assert desk.refusal(quotas, 1, now=NOW) is Code.INSUFFICIENT_CAPACITY
    desk.open(GuestLimits(kbits=1000, ports=2, bytes_left=10_000), now=NOW)
    assert desk.refusal(quotas, 1, now=NOW) is None
    desk.is_closing = True
    assert desk.refusal(quotas, 1, now=NOW) is Code.INSUFFICIENT_CAPACITY


def test_sessions_are_relay_ports_of_guests_alone() -> None:
    desk, quotas = GuestDesk(), Quotas(QuotaLimits())
    desk.open(GuestLimits(kbits=1000, ports=2, bytes_left=10_000), now=NOW)
    for port in range(40):
        assert quotas.take("alice", f"192.0.2.{port}")
    assert desk.refusal(quotas, 2, now=NOW) is None
    assert quotas.take("~a", "198.51.100.1")
    assert quotas.take("~b", "198.51.100.2")
    assert desk.refusal(quotas, 1, now=NOW) is Code.ALLOCATION_QUOTA_REACHED
    quotas.give_back("~a", "198.51.100.1")
    assert desk.refusal(quotas, 1, now=NOW) is None


def test_no_new_guests_where_the_rate_is_used_up() -> None:
    desk, quotas = GuestDesk(), Quotas(QuotaLimits())
    desk.open(GuestLimits(kbits=200, ports=20, bytes_left=1_000_000), now=NOW)
    free = 200 - LEAST_KBITS
    desk.reported(0, free * 125, 0, 0, now=NOW)
    assert desk.refusal(quotas, 1, now=NOW) is None
    desk.reported(0, 2 * 125, 0, 0, now=NOW)
    assert desk.refusal(quotas, 1, now=NOW) is Code.INSUFFICIENT_CAPACITY
    assert desk.refusal(quotas, 1, now=Monotonic(NOW + 1)) is None


def test_nothing_passes_beyond_the_months_bytes() -> None:
    desk, quotas = GuestDesk(), Quotas(QuotaLimits())
    desk.open(GuestLimits(kbits=8000, ports=20, bytes_left=1000), now=NOW)
    later = Monotonic(NOW + 1)
    assert desk.reported(0, 0, 1, 0, now=later) == 999
    assert desk.reported(0, 1000, 5000, 0, now=later) == 0
    assert desk.refusal(quotas, 1, now=later) is Code.INSUFFICIENT_CAPACITY
    report = desk.report(quotas, later)
    assert (report.passed, report.dropped, report.bytes_left) == (1000, 5001, 0)
    assert not report.is_open


def test_an_idle_worker_gives_its_credit_back_and_wakes_with_the_first_datagram() -> None:
    woken: list[bool] = []
    meter = Meter(lambda: woken.append(True))
    send = meter.paid(GUEST, lambda data, _: len(data))
    assert meter.paid("alice", send) is send
    assert send(bytes(100), 0) == 100
    assert woken == [True]
    with pytest.raises(OverBudget):
        send(bytes(50), 0)
    assert meter.take() == (100, 50, 0)
    meter.lend(1000)
    for _ in range(IDLE_REPORTS - 1):
        assert meter.take() is None
    assert meter.take() == (0, 0, 900)
    assert meter.take() is None
    assert send(bytes(10), 0) == 10
    assert woken == [True, True]
