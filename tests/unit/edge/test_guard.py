"""Who is slowed and banned, for how long, and who behind the same address is not."""

from collections.abc import Iterable
from ipaddress import ip_network
from typing import Any

import pytest

from federation.model.address import Endpoint
from federation.model.clocks import Monotonic, UnixTime
from node.edge.guard import (
    BAN_AT,
    BAN_FIRST,
    BAN_LONGEST,
    CHALLENGES_BURST,
    MAX_SOURCES,
    SHARED_BAN_AT,
    SLOW_AT,
    SLOW_INTERVAL,
    WINDOW,
    Guard,
    Misdeed,
)
from node.edge.outbound_limits import HOUR, OutboundLimits
from node.sip.flow import Flow
from node.storage.bans import MAX_BANS, REMEMBERED, Ban, BanBook, source_of
from tests.support.edges import PASSWORD, Rows, World, sdp
from tests.support.virtual_time import in_virtual_time

STRANGER, OFFICE = "203.0.113.5", "198.51.100.7"


def flow(host: str, port: int = 5060) -> Flow:
    return Flow("UDP", Endpoint("192.0.2.1", 5060), Endpoint(host, port))


class VirtualClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> Monotonic:
        return Monotonic(self.now)

    def unix(self) -> UnixTime:
        return UnixTime(1_800_000_000.0 + self.now)

    def advance(self, seconds: float) -> None:
        self.now += seconds


class Gate:
    """A guard, its clock and its registered devices."""

    def __init__(self, devices: Iterable[Flow] = (), allowed: Iterable[str] = ()) -> None:
        self.clock = VirtualClock()
        self.rows = Rows()
        self.bans = BanBook((), self.rows, now=self.clock.unix())  # type: ignore[arg-type]
        self.devices = [device.remote for device in devices]
        self.guard = Guard(
            self.bans,
            sends_from=lambda remote: remote in self.devices,
            is_home=lambda host: host in {device.host for device in self.devices},
            clock=self.clock,
            allowed=[ip_network(text) for text in allowed],
        )

    def offend(self, source: Flow, points: float) -> None:
        for _ in range(round(points)):
            self.guard.offend(source, Misdeed.WRONG_PASSWORD)

    def refuses(self, source: Flow) -> bool:
        return self.guard.is_alert and self.guard.refuses(source)

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.guard.look()

    @property
    def banned(self) -> list[tuple[str, int]]:
        return [(ban.address, ban.port) for ban in self.bans]


def test_a_guesser_is_slowed_then_banned_then_heard_again() -> None:
    gate, one = Gate(), flow(STRANGER)
    gate.offend(one, SLOW_AT - 1)
    assert not gate.guard.is_alert
    gate.offend(one, 1)
    assert gate.refuses(one)
    gate.clock.advance(SLOW_INTERVAL)
    assert [gate.refuses(one) for _ in range(3)] == [False, True, True]
    gate.offend(one, BAN_AT)
    assert gate.banned == [(STRANGER, 0)]
    assert gate.refuses(flow(STRANGER, 1))
    gate.pass_time(BAN_FIRST - 1)
    assert gate.refuses(one)
    gate.pass_time(1)
    assert gate.banned == []
    assert not gate.refuses(one)
    assert not gate.guard.is_alert


def test_points_wear_off() -> None:
    gate, one = Gate(), flow(STRANGER)
    for _ in range(50):
        gate.offend(one, 1)
        gate.pass_time(WINDOW / BAN_AT)
    assert gate.banned == []
    assert not gate.guard.is_alert


def test_each_ban_is_twice_as_long_up_to_a_day_and_a_quiet_day_forgives() -> None:
    gate, one = Gate(), flow(STRANGER)
    lengths = []
    for _ in range(10):
        gate.guard.offend(one, Misdeed.SCANNER)
        (ban,) = gate.bans
        assert ban.until is not None
        lengths.append(ban.until - ban.since)
        gate.pass_time(lengths[-1])
    assert lengths[:3] == [BAN_FIRST, 2 * BAN_FIRST, 4 * BAN_FIRST]
    assert lengths[-1] == BAN_LONGEST
    gate.pass_time(REMEMBERED + 1)
    gate.guard.offend(one, Misdeed.SCANNER)
    (ban,) = gate.bans
    assert ban.times == 1


def test_the_others_behind_an_office_are_heard() -> None:
    """One phone with good credentials is registered: misdeeds count by port."""
    good, bad, new = flow(OFFICE, 1001), flow(OFFICE, 1002), flow(OFFICE, 1003)
    gate = Gate(devices=[good])
    gate.offend(bad, BAN_AT)
    assert gate.banned == [(OFFICE, 1002)]
    assert [gate.refuses(each) for each in (bad, good, new)] == [True, False, False]


def test_an_office_full_of_guessers_is_banned_but_for_its_registered_phones() -> None:
    good, new = flow(OFFICE, 1001), flow(OFFICE, 1003)
    gate = Gate(devices=[good])
    for port in range(2000, 2000 + int(SHARED_BAN_AT)):
        gate.offend(flow(OFFICE, port), 1)
    assert (OFFICE, 0) in gate.banned
    assert [gate.refuses(each) for each in (good, new)] == [False, True]


def test_a_registered_phone_with_a_second_wrong_account_is_given_much_more() -> None:
    both = flow(OFFICE, 1001)
    gate = Gate(devices=[both])
    gate.offend(both, SHARED_BAN_AT - 1)
    assert not gate.refuses(both)
    gate.offend(both, 1)
    assert gate.refuses(both)


def test_forged_datagrams_do_not_silence_a_registered_phone() -> None:
    good = flow(OFFICE, 1001)
    gate = Gate(devices=[good])
    for port in range(3000, 3400):
        gate.guard.offend(flow(OFFICE, port), Misdeed.MALFORMED)
        gate.guard.offend(flow(OFFICE, port), Misdeed.SCANNER)
    assert not gate.refuses(good)


@pytest.mark.parametrize("host", ["10.0.0.9", "192.168.1.4", "172.17.0.1", "fd00::9"])
def test_a_private_address_is_never_banned_whole(host: str) -> None:
    gate = Gate()
    for port in range(1000, 1300):
        gate.offend(flow(host, port), 2)
    assert gate.banned == []
    gate.offend(flow(host, 1000), BAN_AT)
    assert gate.banned == [(source_of(host), 1000)]
    assert not gate.refuses(flow(host, 1001))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "203.0.113.77"])
def test_loopback_and_what_the_operator_allows_are_left_alone(host: str) -> None:
    gate = Gate(allowed=["203.0.113.64/26"])
    for misdeed in Misdeed:
        for _ in range(300):
            gate.guard.offend(flow(host), misdeed)
    assert not gate.guard.is_alert


def test_ipv6_is_banned_by_its_network() -> None:
    gate = Gate()
    gate.guard.offend(flow("2001:db8:1:2::3"), Misdeed.SCANNER)
    assert gate.banned == [("2001:db8:1:2::/64", 0)]
    assert gate.refuses(flow("2001:db8:1:2:ffff::1"))
    assert not gate.refuses(flow("2001:db8:1:3::1"))


def test_many_open_challenges_are_a_flood_and_answered_ones_are_none() -> None:
    gate, office = Gate(), flow(OFFICE)
    for _ in range(5000):
        gate.guard.challenged(office)
        gate.guard.proved(office)
    assert not gate.guard.is_alert
    for _ in range(int(CHALLENGES_BURST + BAN_AT / Misdeed.FLOOD.points) + 2):
        gate.guard.challenged(flow(STRANGER))
    assert gate.banned == [(STRANGER, 0)]


def test_an_operators_ban_holds_for_registered_phones_and_without_end() -> None:
    good = flow(OFFICE, 1001)
    gate = Gate(devices=[good])
    now = gate.clock.unix()
    gate.bans.put(Ban(address=OFFICE, reason="x", by_operator=True, since=now, until=None))
    gate.pass_time(10 * BAN_LONGEST)
    assert gate.refuses(good)
    gate.bans.lift(OFFICE)
    assert not gate.refuses(good)


def test_tables_are_bounded() -> None:
    gate = Gate()
    for number in range(MAX_SOURCES + 500):
        source = flow(f"11.{number >> 16}.{number >> 8 & 255}.{number & 255}")
        gate.guard.challenged(source)
        gate.guard.offend(source, Misdeed.SCANNER)
    ledgers = (gate.guard._hosts, gate.guard._ports, gate.guard._challenges)
    assert [len(ledger.sources) for ledger in ledgers] == [MAX_SOURCES] * 3
    assert len(gate.bans) == len(gate.rows.table("bans")) == MAX_BANS


def test_bans_survive_a_restart_and_those_over_are_remembered() -> None:
    gate = Gate()
    gate.guard.offend(flow(STRANGER), Misdeed.SCANNER)
    kept = list(gate.bans)
    again = BanBook(kept, Rows(), now=gate.clock.unix())  # type: ignore[arg-type]
    assert [ban.address for ban in again] == [STRANGER]
    later = BanBook(kept, Rows(), now=kept[0].until)  # type: ignore[arg-type]
    assert (len(later), later.times(STRANGER, 0)) == (0, 1)


# At the edge


async def guarded(*places: str, ip: str = STRANGER) -> tuple[World, Any, Any]:
    world = World("A")
    world.account("A", "alice")
    phone = world.phone("A", "bob", ip=ip)
    return world, world["A"].edge.guard, phone


@in_virtual_time
async def test_guessed_passwords_end_in_silence() -> None:
    world, guard, phone = await guarded()
    phone._digest.password = "wrong"
    for _ in range(40):
        phone.register()
        await world.settle(6)
    assert [ban.reason for ban in world["A"].bans] == ["wrong password"]
    refused = guard.refused
    assert refused > 0
    sent = phone.register()
    await world.settle(40)
    assert sent.latest.responses == []
    assert world["A"].rows.table("bans") != {}


@in_virtual_time
async def test_names_that_nobody_has_cost_more() -> None:
    world, _, phone = await guarded()
    for number in range(12):
        phone.login = f"guess{number}"
        phone._digest.username = phone.login
        phone.register()
        await world.settle(8)
    assert [ban.reason for ban in world["A"].bans] == ["unknown user"]


@pytest.mark.parametrize("method", ["OPTIONS", "REGISTER", "INVITE"])
def test_a_scanner_hears_one_refusal(method: str) -> None:
    @in_virtual_time
    async def run() -> None:
        world, _, phone = await guarded()
        target = f"sip:{phone.server}" if method != "INVITE" else f"sip:100@{phone.server}"
        headers = [("User-Agent", "friendly-scanner")]
        sent = phone.send(method, target, headers=headers)
        await world.settle()
        assert sent.status == 403
        again = phone.send(method, target, headers=headers)
        await world.settle(40)
        assert again.status == 0
        assert [ban.reason for ban in world["A"].bans] == ["scanner"]
        await world.over()

    run()


@in_virtual_time
async def test_one_office_with_a_guesser_in_it() -> None:
    world = World("A")
    good = world.phone("A", "alice", ip=OFFICE)
    bad = world.phone("A", "bob", ip=OFFICE)
    late = world.phone("A", "carol", ip=OFFICE)
    good.register()
    await world.settle()
    bad._digest.password = "wrong"
    for _ in range(40):
        bad.register()
        await world.settle(6)
    assert [(ban.address, ban.port) for ban in world["A"].bans] == [(OFFICE, bad.flow.local.port)]
    assert late.register() is not None
    await world.settle()
    sent = good.invite(world.dial(good, "carol"))
    await world.settle()
    late.calls()[0].respond(200, sdp(late.ip))
    await world.settle()
    assert sent.status == 200
    sent.talk().ack()
    await world.settle()
    sent.talk().send("BYE")
    await world.settle()


@in_virtual_time
async def test_a_right_password_is_never_counted() -> None:
    world = World("A")
    phone = world.phone("A", "alice", ip=STRANGER)
    for _ in range(300):
        phone.register()
        await world.settle(0.05)
    assert not world["A"].edge.guard.is_alert
    assert PASSWORD


# What accounts may cost


def test_calls_and_targets_of_an_hour() -> None:
    limits, clock = OutboundLimits(calls=5, targets=2), VirtualClock()

    def refusal(login: str, target: str) -> str | None:
        return limits.refusal(login, target, now=clock.monotonic())

    assert [refusal("a", target) for target in ("x", "y", "x")] == [None] * 3
    assert "2 different" in (refusal("a", "z") or "")
    assert [refusal("a", target) for target in ("x", "y")] == [None] * 2
    assert "5 calls" in (refusal("a", "x") or "")
    assert refusal("b", "x") is None
    clock.advance(HOUR)
    limits.look(clock.monotonic())
    assert len(limits) == 0
    assert refusal("a", "z") is None
    unlimited = OutboundLimits(calls=0, targets=0)
    assert all(unlimited.refusal("a", str(n), now=clock.monotonic()) is None for n in range(5000))


@in_virtual_time
async def test_a_stolen_password_makes_so_many_calls_to_elsewhere() -> None:
    world = World("AB")
    alice, bob, carol = (
        world.phone(*place) for place in (("A", "alice"), ("B", "bob"), ("A", "carol"))
    )
    await world.registered()
    world["A"].edge._hub.limits = OutboundLimits(calls=3, targets=2)
    answers = []
    for _ in range(5):
        sent = alice.invite(world.dial(alice, "bob"))
        await world.settle()
        if not sent.status:
            bob.calls()[-1].respond(486)
            await world.settle()
        answers.append(sent.status)
    assert answers == [486, 486, 486, 403, 403]
    near = alice.invite(world.dial(alice, "carol"))
    await world.settle()
    carol.calls()[-1].respond(486)
    await world.settle()
    assert near.status == 486, "calls within the node are not counted"
    await world.over()


@in_virtual_time
async def test_who_dials_names_that_nobody_has_is_banned() -> None:
    world = World("A")
    world.account("A", "alice")
    caller = world.phone("A", "mallory", ip=STRANGER)
    for number in range(60):
        caller.send(
            "INVITE",
            f"sip:{number}@{world['A'].ip}",
            sdp(caller.ip),
            sender="<sip:mallory@elsewhere.example>",
        )
        await world.settle(6)
    assert [ban.reason for ban in world["A"].bans] == ["call to nobody"]
    await world.over()
