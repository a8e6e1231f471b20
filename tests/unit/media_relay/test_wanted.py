import msgspec
import pytest

from federation.model.address import Endpoint
from federation.model.errors import UsageError
from media_relay import control
from media_relay.sealed import MAX_GENERATION, RTP
from media_relay.wanted import WantedSession
from tests.support.relay_table import KEY_A, KEY_B

TOLD = Endpoint("198.51.100.9", 10000)
PROVEN = ("203.0.113.5", 6000, 0, 0)


def a_session() -> WantedSession:
    wanted = WantedSession()
    wanted.open_anchor(1)
    wanted.open_anchor(2)
    wanted.reserve_legs(7, 2)
    return wanted


def install(wanted: WantedSession, *, told: bool = True) -> control.InstallLeg:
    return wanted.install_leg(
        7, peer_leg=70, peer=TOLD, send_key=KEY_A, receive_key=KEY_B, told=told
    )


def counted(highest: int, peer: control.FullAddress | None) -> control.Counters:
    return control.Counters(7, True, 0, 0, 0, 0, (0,) * 8, 0, None, 0.0, None, peer, highest)


def test_a_reinstallation_raises_the_generation_and_knows_the_last_counter() -> None:
    wanted = a_session()
    first = install(wanted)
    wanted.learn_leg(counted(41, PROVEN))
    expected = msgspec.structs.replace(first, generation=1, highest=41, peer=PROVEN, confirmed=True)
    assert expected in wanted.reinstall()


def test_an_unproven_told_leg_stays_unproven() -> None:
    wanted = a_session()
    first = install(wanted)
    assert msgspec.structs.replace(first, generation=1) in wanted.reinstall()


def test_installing_again_raises_the_generation_too() -> None:
    wanted = a_session()
    assert [install(wanted).generation for _ in range(3)] == [0, 1, 2]


def test_a_leg_without_a_generation_left_is_not_installed() -> None:
    """Its nonces would repeat."""
    wanted = a_session()
    install(wanted)
    leg = wanted.legs[7]
    assert leg.install is not None
    leg.install = msgspec.structs.replace(leg.install, generation=MAX_GENERATION)
    assert not [order for order in wanted.reinstall() if isinstance(order, control.InstallLeg)]
    with pytest.raises(UsageError):
        install(wanted)


def test_what_an_anchor_learned_is_put_back() -> None:
    wanted = a_session()
    phone = Endpoint("192.0.2.1", 4000)
    wanted.expect(1, phone, None, (), mux=False, udptl=False, relatch=True, clock_rates={})
    wanted.learn_latch(control.Latched(1, RTP, ("192.0.2.1", 61000, 0, 0), True))
    orders = [order for order in wanted.reinstall() if getattr(order, "anchor", 0) == 1]
    assert orders == [
        control.OpenAnchor(1),
        control.Expect(1, phone, None, (), False, False, False, {}),
        control.RestoreLatch(1, RTP, ("192.0.2.1", 61000, 0, 0), True),
    ]


def test_joins_and_echoes_are_put_back_once() -> None:
    wanted = a_session()
    wanted.open_anchor(3)
    wanted.open_anchor(4)
    wanted.join_anchors(2, 1)
    wanted.join_leg(3, 8)
    wanted.echo(4, 99)
    wanted.reserve_legs(20, 3)
    wanted.join_legs(21, 20)
    wanted.echo_leg(22, 98)
    joins = [o for o in wanted.reinstall() if isinstance(o, JOINS)]
    assert joins == [
        control.JoinAnchors(1, 2),
        control.JoinLeg(3, 8),
        control.JoinLegs(20, 21),
        control.EchoAnchor(4, 99),
        control.EchoLeg(22, 98),
    ]


JOINS = (
    control.JoinAnchors,
    control.JoinLeg,
    control.JoinLegs,
    control.EchoAnchor,
    control.EchoLeg,
)


def test_a_join_takes_the_place_of_a_legs_echo_and_the_other_way_round() -> None:
    wanted = a_session()
    wanted.echo_leg(7, 5)
    wanted.join_legs(7, 8)
    assert [o for o in wanted.reinstall() if isinstance(o, JOINS)] == [control.JoinLegs(7, 8)]
    wanted.echo_leg(8, 6)
    assert [o for o in wanted.reinstall() if isinstance(o, JOINS)] == [control.EchoLeg(8, 6)]
    wanted.free_leg(8)
    assert not [o for o in wanted.reinstall() if isinstance(o, JOINS)]


def test_endpoints_of_other_sessions_are_refused() -> None:
    wanted = a_session()
    for wrong in (
        lambda: wanted.join_anchors(1, 9),
        lambda: wanted.join_anchors(1, 1),
        lambda: wanted.join_leg(1, 9),
        lambda: wanted.join_leg(9, 7),
        lambda: wanted.join_legs(7, 9),
        lambda: wanted.join_legs(1, 7),
        lambda: wanted.join_legs(7, 7),
        lambda: wanted.echo(9, 1),
        lambda: wanted.echo_leg(9, 1),
        lambda: wanted.echo_leg(1, 1),
        lambda: wanted.unjoin(9),
    ):
        with pytest.raises(UsageError):
            wrong()


def test_everything_is_freed_once() -> None:
    wanted = a_session()
    wanted.join_leg(1, 7)
    assert wanted.free_anchor(1) == [control.FreeAnchor(1)]
    assert wanted.free_anchor(1) == []
    assert wanted.free_leg(7) == [control.FreeLeg(7)]
    assert wanted.free_leg(7) == []
    assert not [o for o in wanted.reinstall() if isinstance(o, JOINS)]
