"""A session against a carrier that only takes notes; ports are really bound, on loopback."""

import contextlib
import socket
from collections.abc import Iterator, Sequence

import pytest

from federation.model.address import AddressError, Endpoint
from federation.model.clocks import SystemClock, SystemEntropy
from federation.model.errors import UsageError
from media_relay.control import MAX_LEGS_A_BLOCK, MAX_SOURCES, Expect, FreeAnchor, OpenAnchor, Order
from media_relay.errors import NoCapacity
from media_relay.outer import OuterHosts
from media_relay.ports import PortPool
from media_relay.session import RelaySession
from tests.support.relay_table import KEY_A, KEY_B


class Notes:
    """Remembers orders and how many sockets came with each."""

    def __init__(self) -> None:
        self.posted: list[tuple[Order, int]] = []
        self.ids = 0
        self.forgotten = 0

    def post(self, order: Order, sockets: Sequence[socket.socket] = ()) -> None:
        self.posted.append((order, sum(sock.fileno() >= 0 for sock in sockets)))

    def leg_endpoint(self, facing: str) -> Endpoint:
        if ":" in facing:
            raise NoCapacity("no IPv6")
        return Endpoint(facing, 10000)

    def new_anchor_id(self, session: RelaySession) -> int:
        return self.new_leg_ids(session, 1)

    def new_leg_ids(self, session: RelaySession, count: int) -> int:
        self.ids += count
        return self.ids - count + 1

    def forget(self, session: RelaySession) -> None:
        self.forgotten += 1


@contextlib.contextmanager
def a_session() -> Iterator[tuple[RelaySession, Notes, PortPool]]:
    notes, ports = Notes(), PortPool(20000, 20999)
    outer = OuterHosts(ports.is_marked)
    outer.replace([OUTER])
    session = RelaySession(
        "call", notes, ports=ports, outer=outer, clock=SystemClock(), entropy=SystemEntropy()
    )
    try:
        yield session, notes, ports
    finally:
        session.close()


HOST = "127.0.0.78"
PHONE = Endpoint("192.0.2.1", 4000)
OUTER = "203.0.113.9"
"Where the machine is reached from outside a NAT."


def expected(notes: Notes) -> Expect:
    order = notes.posted[-1][0]
    assert isinstance(order, Expect)
    return order


def test_an_anchor_goes_to_the_worker_with_both_sockets_and_comes_back_once() -> None:
    with a_session() as (session, notes, ports):
        anchor = session.anchor(HOST)
        assert notes.posted == [(OpenAnchor(anchor.id), 2)]
        session.free_anchor(anchor)
        session.free_anchor(anchor)
        assert notes.posted[1:] == [(FreeAnchor(anchor.id), 0)]
        assert ports.in_use == 0


@pytest.mark.parametrize(
    "unreachable",
    [
        Endpoint("0.0.0.0", 4000),
        Endpoint("224.0.0.1", 4000),
        Endpoint("255.255.255.255", 4000),
        Endpoint("2001:db8::1", 4000),
        Endpoint("192.0.2.1", 0),
    ],
)
def test_what_cannot_be_sent_to_counts_as_no_address(unreachable: Endpoint) -> None:
    with a_session() as (session, notes, _):
        anchor = session.anchor(HOST)
        anchor.expect(rtp=unreachable, rtcp=PHONE, sources=frozenset())
        assert (expected(notes).rtp, expected(notes).rtcp) == (None, PHONE)


def test_a_host_name_is_refused() -> None:
    """A worker must never ask DNS."""
    with a_session() as (session, _, _):
        anchor = session.anchor(HOST)
        with pytest.raises(AddressError):
            anchor.expect(rtp=Endpoint("phone.example", 4000), rtcp=None, sources=frozenset())
        with pytest.raises(AddressError):
            anchor.expect(rtp=None, rtcp=None, sources=frozenset({"phone.example"}))
        with pytest.raises(AddressError):
            session.anchor("relay.example")


def test_sources_are_normal_and_bounded() -> None:
    with a_session() as (session, notes, _):
        anchor = session.anchor(HOST)
        many = frozenset(f"192.0.2.{number}" for number in range(MAX_SOURCES + 20))
        anchor.expect(rtp=None, rtcp=None, sources=many)
        assert len(expected(notes).sources) == MAX_SOURCES
        anchor.expect(rtp=None, rtcp=None, sources=frozenset({"::ffff:192.0.2.1", "2001:DB8::1"}))
        assert expected(notes).sources == ("192.0.2.1", "2001:db8::1")


def test_impossible_clock_rates_are_left_out() -> None:
    with a_session() as (session, notes, _):
        anchor = session.anchor(HOST)
        rates = {96: 48000, 128: 8000, -1: 8000, 97: 0, 98: 1 << 40}
        anchor.expect(rtp=None, rtcp=None, sources=frozenset(), clock_rates=rates)
        assert expected(notes).clock_rates == {96: 48000}


@pytest.mark.parametrize("count", [0, -1, MAX_LEGS_A_BLOCK + 1])
def test_a_block_of_legs_is_bounded(count: int) -> None:
    with a_session() as (session, _, _), pytest.raises(UsageError):
        session.leg_block(count)


def install(session: RelaySession, leg: int, **changes: object) -> None:
    settings = {
        "peer_leg": 1,
        "peer": PHONE,
        "send_key": KEY_A,
        "receive_key": KEY_B,
        "told": False,
        **changes,
    }
    session.install_leg(leg, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"send_key": bytes(15)}, UsageError),
        ({"receive_key": b""}, UsageError),
        ({"peer_leg": 1 << 32}, UsageError),
        ({"peer": Endpoint("224.0.0.1", 9)}, AddressError),
        ({"peer": Endpoint("0.0.0.0", 9)}, AddressError),
        ({"peer": Endpoint("192.0.2.1", 0)}, AddressError),
        ({"peer": Endpoint("node.example", 9)}, AddressError),
        ({"peer": Endpoint("2001:db8::1", 9)}, NoCapacity),
    ],
)
def test_a_leg_that_cannot_work_is_refused(
    changes: dict[str, object], error: type[Exception]
) -> None:
    with a_session() as (session, notes, _):
        leg = session.leg_block(1)
        before = len(notes.posted)
        with pytest.raises(error):
            install(session, leg, **changes)
        assert len(notes.posted) == before


def test_reports_name_legs_that_were_installed_only() -> None:
    with a_session() as (session, _, _):
        first = session.leg_block(8)
        install(session, first + 3)
        assert [leg.id for leg in session.report().legs] == [first + 3]


def test_a_closed_session_frees_once_and_opens_nothing() -> None:
    with a_session() as (session, notes, ports):
        session.anchor(HOST)
        session.leg_block(2)
        session.close()
        session.close()
        assert (ports.in_use, notes.forgotten, session.endpoints) == (0, 1, 0)
        with pytest.raises(UsageError):
            session.anchor(HOST)
        with pytest.raises(UsageError):
            session.leg_block(1)


def test_what_goes_to_a_port_of_this_node_by_its_outer_address_stays_on_the_machine() -> None:
    """A phone outside has a relay here: many NATs would not let its media in from inside."""
    with a_session() as (session, notes, _):
        anchor, relay = session.anchor(HOST), session.anchor(HOST)
        told = Endpoint(OUTER, relay.rtp.port)
        anchor.expect(rtp=told, rtcp=PHONE, sources=frozenset({PHONE.host}))
        assert (expected(notes).rtp, expected(notes).rtcp) == (relay.rtp, PHONE)
        anchor.expect(rtp=told, rtcp=None, sources=frozenset({OUTER}))
        assert set(expected(notes).sources) == {OUTER, HOST}


def test_another_port_of_the_outer_address_is_somebody_else_behind_that_nat() -> None:
    with a_session() as (session, notes, _):
        anchor, other = session.anchor(HOST), Endpoint(OUTER, 4000)
        anchor.expect(rtp=other, rtcp=None, sources=frozenset())
        assert expected(notes).rtp == other
