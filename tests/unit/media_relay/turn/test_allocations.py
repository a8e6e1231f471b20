"""The life of allocations, RFC 8656 sections 7, 8 and 12."""

import pytest

from federation.model.address import Endpoint
from media_relay.stun.attributes import Attribute, Code, Family, Method
from media_relay.stun.message import Message
from media_relay.stun.values import read_u32, read_xor_address, u32
from media_relay.turn.config import TurnConfig
from media_relay.turn.effects import CloseRelay
from media_relay.turn.quotas import QuotaLimits
from tests.support.turn_core import PEER, RELAY_HOST, UDP, Shell, TurnClient, code_of

TRANSPORT = (int(Attribute.REQUESTED_TRANSPORT), UDP)
IPV4, IPV6 = bytes((1, 0, 0, 0)), bytes((2, 0, 0, 0))
EVEN = (int(Attribute.EVEN_PORT), b"\0")
EVEN_AND_NEXT = (int(Attribute.EVEN_PORT), b"\x80")
FAMILY6 = (int(Attribute.REQUESTED_ADDRESS_FAMILY), IPV6)
FAMILY4 = (int(Attribute.REQUESTED_ADDRESS_FAMILY), IPV4)
BOTH = (int(Attribute.ADDITIONAL_ADDRESS_FAMILY), IPV6)
TOKEN = (int(Attribute.RESERVATION_TOKEN), b"12345678")


def relayed(response: Message) -> list[Endpoint]:
    values = response.all(Attribute.XOR_RELAYED_ADDRESS)
    return [read_xor_address(value, response.transaction_id)[1] for value in values]


def lifetime(response: Message) -> int:
    value = response.get(Attribute.LIFETIME)
    assert value is not None
    return read_u32(value)


def test_an_allocation_tells_relayed_and_mapped_address() -> None:
    shell = Shell()
    response = TurnClient(shell).allocate()
    assert relayed(response) == [Endpoint("198.51.100.1", 10000)]
    mapped = response.get(Attribute.XOR_MAPPED_ADDRESS)
    assert mapped is not None
    assert read_xor_address(mapped, response.transaction_id)[1] == ("203.0.113.5", 4000)
    assert lifetime(response) == 600
    assert response.get(Attribute.SOFTWARE) is None


def test_behind_a_static_nat_the_outer_address_is_told() -> None:
    shell = Shell(TurnConfig(external={Family.IPV4: "192.0.2.200"}))
    assert relayed(TurnClient(shell).allocate()) == [Endpoint("192.0.2.200", 10000)]


def test_software_is_told_only_if_wanted() -> None:
    response = TurnClient(Shell(TurnConfig(software="a relay"))).allocate()
    assert response.get(Attribute.SOFTWARE) == b"a relay"


def test_an_allocation_ends_when_its_lifetime_does() -> None:
    shell = Shell()
    alice = TurnClient(shell)
    alice.allocate()
    shell.pass_time(599.9)
    assert shell.closed == []
    shell.pass_time(0.2)
    assert shell.closed == [1]
    assert code_of(alice.refresh(600)) == 437
    assert shell.server.quotas.total == 0


@pytest.mark.parametrize(
    ("asked", "granted"), [(0, 600), (60, 600), (900, 900), (3600, 3600), (0xFFFFFFFF, 3600)]
)
def test_lifetimes_are_kept_within_bounds(asked: int, granted: int) -> None:
    response = TurnClient(Shell()).allocate((int(Attribute.LIFETIME), u32(asked)))
    assert lifetime(response) == granted


def test_refresh_prolongs_and_ends() -> None:
    shell = Shell()
    alice = TurnClient(shell)
    alice.allocate()
    shell.pass_time(500)
    assert lifetime(alice.refresh(1200)) == 1200
    shell.pass_time(1100)
    assert lifetime(alice.refresh(0)) == 0
    assert shell.closed == [1]


def test_a_retransmitted_request_gets_the_same_answer_and_no_second_port() -> None:
    shell = Shell()
    alice = TurnClient(shell)
    assert alice.ask(Method.ALLOCATE, [TRANSPORT], transaction=77) is None or shell.pending
    assert len(shell.pending) == 1
    alice.ask(Method.ALLOCATE, [TRANSPORT], transaction=77)
    assert len(shell.pending) == 1
    shell.open_next()
    first = shell.replies[-1].data
    alice.ask(Method.ALLOCATE, [TRANSPORT], transaction=77)
    assert shell.replies[-1].data == first
    assert len(shell.open) == 1


def test_one_allocation_a_client() -> None:
    shell = Shell()
    alice = TurnClient(shell)
    alice.allocate()
    assert code_of(alice.ask(Method.ALLOCATE, [TRANSPORT])) == 437
    alice.login = "bob"
    assert code_of(alice.ask(Method.REFRESH)) == 441


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ([], 400),
        ([(Attribute.REQUESTED_TRANSPORT, bytes((6, 0, 0, 0)))], 442),
        ([(Attribute.REQUESTED_TRANSPORT, b"\x11")], 400),
        ([TRANSPORT, TOKEN, EVEN], 400),
        ([TRANSPORT, TOKEN, FAMILY4], 400),
        ([TRANSPORT, TOKEN, BOTH], 400),
        ([TRANSPORT, (Attribute.RESERVATION_TOKEN, b"short")], 400),
        ([TRANSPORT, FAMILY4, BOTH], 400),
        ([TRANSPORT, EVEN_AND_NEXT, BOTH], 400),
        ([TRANSPORT, (Attribute.ADDITIONAL_ADDRESS_FAMILY, IPV4)], 400),
        ([TRANSPORT, (Attribute.REQUESTED_ADDRESS_FAMILY, bytes((3, 0, 0, 0)))], 440),
        ([TRANSPORT, (Attribute.EVEN_PORT, b"")], 400),
        ([TRANSPORT, (Attribute.LIFETIME, b"long")], None),
        ([TRANSPORT, (Attribute.LIFETIME, b"longer")], 400),
        ([TRANSPORT, (0x7001, b"")], 420),
    ],
)
def test_what_cannot_be_allocated(attributes: list[tuple[int, bytes]], code: int | None) -> None:
    shell = Shell()
    response = TurnClient(shell).ask(Method.ALLOCATE, attributes)
    if code is None:
        assert len(shell.pending) == 1
    else:
        assert code_of(response) == code
        assert shell.pending == []
        assert response is not None
        assert response.has_integrity_sha256
        if code == 420:
            assert response.get(Attribute.UNKNOWN_ATTRIBUTES) == b"\x70\x01"


def test_an_ipv6_relay_on_request_and_440_without_ipv6() -> None:
    response = TurnClient(Shell()).allocate(FAMILY6)
    assert relayed(response) == [Endpoint("2001:db8:1::1", 10000)]
    shell = Shell(TurnConfig(families=frozenset({Family.IPV4})))
    assert code_of(TurnClient(shell).ask(Method.ALLOCATE, [TRANSPORT, FAMILY6])) == 440


def test_a_dual_allocation_has_a_port_of_each_family() -> None:
    shell = Shell()
    alice = TurnClient(shell)
    response = alice.allocate(BOTH, opened=2)
    assert [port.host for port in relayed(response)] == list(RELAY_HOST.values())
    assert alice.refresh(0, FAMILY6).get(Attribute.LIFETIME) == u32(0)
    assert shell.closed == [2]
    assert code_of(alice.refresh(600, FAMILY6)) == 443
    shell.pass_time(601)
    assert shell.closed == [2, 1]


def test_each_family_of_a_dual_allocation_has_its_own_time() -> None:
    shell = Shell()
    alice = TurnClient(shell)
    alice.allocate(BOTH, opened=2)
    alice.refresh(1800, FAMILY6)
    shell.pass_time(601)
    assert shell.closed == [1]
    shell.pass_time(1200)
    assert shell.closed == [1, 2]


@pytest.mark.parametrize("code", [Code.INSUFFICIENT_CAPACITY, Code.ADDRESS_FAMILY_NOT_SUPPORTED])
def test_half_of_a_dual_allocation_is_better_than_none(code: Code) -> None:
    shell = Shell()
    alice = TurnClient(shell)
    alice.ask(Method.ALLOCATE, [TRANSPORT, BOTH])
    shell.open_next()
    shell.refuse_next(code)
    response = Message.decode(shell.replies[-1].data)
    assert [port.host for port in relayed(response)] == ["198.51.100.1"]
    error = response.get(Attribute.ADDRESS_ERROR_CODE)
    assert error is not None
    assert error[:4] == bytes((2, 0, code // 100, code % 100))
    assert shell.server.quotas.total == 1


def test_without_a_port_there_is_no_allocation() -> None:
    shell = Shell()
    alice = TurnClient(shell)
    alice.ask(Method.ALLOCATE, [TRANSPORT])
    shell.refuse_next()
    assert code_of(Message.decode(shell.replies[-1].data)) == 508
    assert (len(shell.server), shell.server.quotas.total) == (0, 0)
    assert code_of(alice.allocate()) == 0


def test_even_ports_and_reservations_are_passed_on() -> None:
    shell = Shell()
    TurnClient(shell, port=1).ask(Method.ALLOCATE, [TRANSPORT, EVEN])
    TurnClient(shell, port=2).ask(Method.ALLOCATE, [TRANSPORT, EVEN_AND_NEXT])
    TurnClient(shell, port=3).ask(Method.ALLOCATE, [TRANSPORT, TOKEN])
    wishes = [(wanted.even, wanted.reserve, wanted.token) for wanted in shell.pending]
    assert wishes == [(True, False, None), (True, True, None), (False, False, b"12345678")]
    shell.open_next()
    shell.open_next(token=b"abcdefgh")
    response = Message.decode(shell.replies[-1].data)
    assert response.get(Attribute.RESERVATION_TOKEN) == b"abcdefgh"


def test_a_stream_that_closes_ends_its_allocation() -> None:
    shell = Shell()
    alice = TurnClient(shell, connection=9)
    alice.allocate()
    alice.bind(0x4000)
    shell.carry_out(shell.server.client_gone(alice.client))
    assert (shell.closed, shell.routes) == ([1], set())
    assert shell.server.client_gone(alice.client) == []


def test_a_port_that_comes_too_late_is_closed() -> None:
    shell = Shell()
    alice = TurnClient(shell, connection=9)
    alice.ask(Method.ALLOCATE, [TRANSPORT])
    assert shell.server.client_gone(alice.client) == []
    replies = len(shell.replies)
    shell.open_next()
    assert (shell.closed, len(shell.replies)) == ([1], replies)
    assert shell.server.quotas.total == 0


def test_nothing_but_waiting_is_possible_while_a_port_is_opened() -> None:
    shell = Shell()
    alice = TurnClient(shell)
    alice.ask(Method.ALLOCATE, [TRANSPORT])
    assert code_of(alice.refresh(600)) == 437
    assert code_of(alice.permit(PEER)) == 437
    assert alice.send(b"early") == []


@pytest.mark.parametrize(
    "limits",
    [
        QuotaLimits(account=2, source=100, total=100),
        QuotaLimits(account=100, source=2, total=100),
        QuotaLimits(account=100, source=100, total=2),
    ],
)
def test_quotas(limits: QuotaLimits) -> None:
    shell = Shell(TurnConfig(limits=limits))
    for port in (1, 2):
        assert code_of(TurnClient(shell, port=port).allocate()) == 0
    third = TurnClient(shell, port=3)
    assert code_of(third.ask(Method.ALLOCATE, [TRANSPORT])) == 486
    shell.pass_time(601)
    assert code_of(third.allocate()) == 0


def test_a_dual_allocation_counts_twice() -> None:
    shell = Shell(TurnConfig(limits=QuotaLimits(account=1)))
    assert code_of(TurnClient(shell).ask(Method.ALLOCATE, [TRANSPORT, BOTH])) == 486
    assert shell.server.quotas.total == 0


def test_a_port_nobody_asked_for_is_closed() -> None:
    shell = Shell()
    effects = shell.server.relay_opened(99, Endpoint("192.0.2.1", 1), None, now=0.0)  # type: ignore[arg-type]
    assert effects == [CloseRelay(99)]
