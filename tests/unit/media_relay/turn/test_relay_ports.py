"""Relay ports of a node: pairs, quotas, reservations; and the bounds of the messages about them."""

from federation.model.clocks import Monotonic, SystemEntropy
from media_relay.control import MAX_MESSAGE_BYTES, decode_notice, decode_order, encode
from media_relay.control_turn import (
    MAX_ACCOUNTS_A_MESSAGE,
    MAX_USAGES_A_MESSAGE,
    AccountUsage,
    PutAccounts,
    RemoveAccounts,
    TurnUsage,
)
from media_relay.ports import MARKS, PortPool
from media_relay.turn.quotas import QuotaLimits, Quotas
from media_relay.turn_ports import RESERVATION_SECONDS, HeldPort, RelayPorts
from tests.support.ports import free_udp_block

HOST = "127.0.0.1"
NOW = Monotonic(100.0)


def some_ports(count: int = 8, account: int = 8) -> tuple[RelayPorts, PortPool, bytearray]:
    marks = bytearray(MARKS)
    first = free_udp_block(HOST, count)
    pool = PortPool(first, first + count - 1, in_media=marks)
    return RelayPorts(pool, Quotas(QuotaLimits(account=account)), SystemEntropy()), pool, marks


def opened(ports: RelayPorts, *, even: bool = False) -> HeldPort:
    result = ports.open("alice", HOST, HOST, even=even, reserve=False, now=NOW)
    assert result is not None
    held, sock, token = result
    sock.close()
    assert token is None
    return held


def test_both_ports_of_a_pair_are_used_and_it_rests_when_both_are_free() -> None:
    ports, pool, marks = some_ports()
    one, two = opened(ports), opened(ports)
    assert (two.port, one.port % 2, pool.in_use) == (one.port + 1, 0, 1)
    assert marks[one.port] == marks[two.port] == 1
    ports.close(one, now=NOW)
    assert pool.in_use == 1
    ports.close(two, now=NOW)
    assert pool.in_use == 0
    assert marks[one.port] == marks[two.port] == 0
    assert ports.quotas.total == 0


def test_an_even_port_is_even_though_an_odd_one_is_spare() -> None:
    ports, pool, _ = some_ports()
    opened(ports)
    assert opened(ports, even=True).port % 2 == 0
    assert pool.in_use == 2


def test_a_reserved_port_is_kept_for_thirty_seconds() -> None:
    ports, pool, _ = some_ports()
    result = ports.open("alice", HOST, HOST, even=True, reserve=True, now=NOW)
    assert result is not None
    held, sock, token = result
    sock.close()
    assert token is not None
    assert ports.quotas.total == 2
    assert ports.next_timer == NOW + RESERVATION_SECONDS
    assert ports.claim(token, "bob", now=NOW) is None
    late = Monotonic(NOW + RESERVATION_SECONDS)
    assert ports.claim(token, "alice", now=late) is None
    assert (ports.quotas.total, ports.next_timer) == (1, None)
    ports.close(held, now=late)
    assert pool.in_use == 0


def test_a_reservation_needs_room_for_two() -> None:
    ports, pool, _ = some_ports(account=1)
    assert ports.open("alice", HOST, HOST, even=True, reserve=True, now=NOW) is None
    assert (ports.quotas.total, pool.in_use) == (0, 0)


def test_the_longest_messages_fit() -> None:
    """Their bounds leave a message within the control socket's."""
    login = "x" * 128
    put = PutAccounts(((login, bytes(16), bytes(32)),) * MAX_ACCOUNTS_A_MESSAGE)
    gone = RemoveAccounts((login,) * MAX_ACCOUNTS_A_MESSAGE)
    for order in (put, gone):
        assert len(encode(order)) <= MAX_MESSAGE_BYTES
        assert decode_order(encode(order)) == order
    usage = AccountUsage(login, *(1 << 60,) * 4)
    notice = TurnUsage(1, 1, (usage,) * MAX_USAGES_A_MESSAGE)
    assert len(encode(notice)) <= MAX_MESSAGE_BYTES
    assert decode_notice(encode(notice)) == notice
