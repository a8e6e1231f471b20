import msgspec
import pytest

from media_relay import control
from media_relay.errors import ControlError

EXPECT = control.Expect(
    1, ("192.0.2.1", 4000), None, ("192.0.2.1",), True, False, False, {96: 8000}
)
INSTALL = control.InstallLeg(
    5, 6, ("192.0.2.1", 4000, 0, 0), bytes(16), bytes(16), True, 3, (1 << 64) - 1
)
COUNTERS = control.Counters(
    1, True, 2, 3, 4, 5, (0,) * 8, 6, None, 0.5, 7.5, ("::1", 9, 0, 0), (1 << 64) - 1, True
)


@pytest.mark.parametrize(
    "order",
    [
        control.AttachLegPort(True),
        control.OpenAnchor(1),
        EXPECT,
        control.RestoreLatch(1, 2, ("::1", 5, 0, 3), True),
        control.FreeAnchor(1),
        control.ReserveLegs(1, 8),
        INSTALL,
        control.FreeLeg(1),
        control.JoinAnchors(1, 2),
        control.JoinLeg(1, 2),
        control.Unjoin(1),
        control.EchoAnchor(1, 1),
        control.JoinLegs(1, 2),
        control.EchoLeg(1, 0xFFFFFFFF),
        control.Ping(0xFFFFFFFF),
    ],
)
def test_orders_survive_encoding(order: control.Order) -> None:
    assert control.decode_order(control.encode(order)) == order


@pytest.mark.parametrize(
    "notice",
    [
        control.Ready(1, 2),
        control.Pong(1),
        control.Latched(1, 1, ("192.0.2.1", 1, 0, 0), False),
        control.Report(1.0, (COUNTERS,)),
        control.Totals(1, 2, 3, 4),
    ],
)
def test_notices_survive_encoding(notice: control.Notice) -> None:
    assert control.decode_notice(control.encode(notice)) == notice


@pytest.mark.parametrize(
    "message",
    [
        msgspec.structs.replace(INSTALL, send_key=bytes(15)),
        msgspec.structs.replace(INSTALL, generation=65536),
        msgspec.structs.replace(INSTALL, peer=("192.0.2.1", 0, 0, 0)),
        msgspec.structs.replace(EXPECT, sources=("192.0.2.1",) * (control.MAX_SOURCES + 1)),
        msgspec.structs.replace(
            EXPECT, clock_rates=dict.fromkeys(range(control.MAX_CLOCK_RATES + 1), 8000)
        ),
        control.ReserveLegs(1, control.MAX_LEGS_A_BLOCK + 1),
        control.EchoAnchor(1, 0),
        control.EchoLeg(1, 0),
        control.RestoreLatch(1, 3, ("192.0.2.1", 1, 0, 0), True),
    ],
)
def test_every_bound_is_checked(message: control.Order) -> None:
    with pytest.raises(ControlError):
        control.decode_order(control.encode(message))


def test_reports_and_messages_are_bounded() -> None:
    too_many = control.Report(1.0, (COUNTERS,) * (control.MAX_REPORTED + 1))
    with pytest.raises(ControlError):
        control.decode_notice(control.encode(too_many))
    with pytest.raises(ControlError):
        control.decode_notice(bytes(control.MAX_MESSAGE_BYTES + 1))


def test_a_full_report_fits_one_message() -> None:
    biggest = (1 << 63) - 1
    widest = control.Counters(
        0xFFFFFFFF,
        True,
        *[biggest] * 4,
        (biggest,) * 8,
        biggest,
        1.5,
        1.5,
        1.5,
        ("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", 65535, 0xFFFFFFFF, 0xFFFFFFFF),
        (1 << 64) - 1,
    )
    report = control.encode(control.Report(1.0, (widest,) * control.MAX_REPORTED))
    assert len(report) <= control.MAX_MESSAGE_BYTES


def test_keys_do_not_show() -> None:
    assert "key" not in repr(INSTALL)
    assert repr(bytes(16)) not in repr(INSTALL)
