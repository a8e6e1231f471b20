"""Whatever a session did, a worker that is given it anew forwards like the one before."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from federation.model.address import Endpoint
from federation.model.clocks import Monotonic
from media_relay.anchors import Echo
from media_relay.control import FreeAnchor, FreeLeg, InstallLeg, Latched, OpenAnchor, Order
from media_relay.orders import apply_order, full_address
from media_relay.ports import SHORTEST_REST, PortPool
from media_relay.routes import RouteTable
from media_relay.wanted import WantedSession
from tests.support.relay_table import KEY_A, KEY_B, rtp

PHONE = st.none() | st.builds(Endpoint, st.sampled_from(("192.0.2.1", "192.0.2.2")), st.just(4000))
ANCHORS, LEGS = st.sampled_from((1, 2, 3)), st.sampled_from((7, 8))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("expect"), ANCHORS, PHONE, st.booleans(), st.booleans()),
        st.tuples(st.just("join"), ANCHORS, ANCHORS),
        st.tuples(st.just("join_leg"), ANCHORS, LEGS),
        st.tuples(st.just("join_legs"), LEGS, LEGS),
        st.tuples(st.just("unjoin"), ANCHORS),
        st.tuples(st.just("echo"), ANCHORS),
        st.tuples(st.just("echo_leg"), LEGS),
        st.tuples(st.just("install"), LEGS, st.booleans()),
        st.tuples(st.just("free_leg"), LEGS),
        st.tuples(st.just("free_anchor"), ANCHORS),
    ),
    max_size=20,
)


def carried_out(table: RouteTable, orders: list[Order]) -> None:
    for order in orders:
        match order:
            case OpenAnchor(anchor):
                table.open_anchor(anchor, f"rtp{anchor}", f"rtcp{anchor}")
            case FreeAnchor(anchor):
                table.free_anchor(anchor)
            case FreeLeg(leg):
                table.free_leg(leg)
            case _:
                apply_order(table, order, 0.0)
    assert table.ignored_orders == 0


def orders_of(wanted: WantedSession, step: tuple[Any, ...]) -> list[Order]:
    """What one step orders; steps about endpoints that are gone order nothing."""
    name, end, *rest = step
    ends = {*wanted.anchors, *wanted.legs}
    if end not in ends or (name.startswith("join") and rest[0] not in ends - {end}):
        return []
    match name:
        case "expect":
            phone, relatch, mux = rest
            sources = ("192.0.2.1",)
            return [
                wanted.expect(
                    end,
                    phone,
                    None,
                    sources,
                    mux=mux,
                    udptl=False,
                    relatch=relatch,
                    clock_rates={},
                )
            ]
        case "join":
            return [wanted.join_anchors(end, rest[0])]
        case "join_leg":
            return [wanted.join_leg(end, rest[0])]
        case "join_legs":
            return [wanted.join_legs(end, rest[0])]
        case "unjoin":
            return [wanted.unjoin(end)]
        case "echo":
            return [wanted.echo(end, 5)]
        case "echo_leg":
            return [wanted.echo_leg(end, 5)]
        case "install":
            peer = Endpoint("198.51.100.9", 9)
            return [
                wanted.install_leg(
                    end, peer_leg=end, peer=peer, send_key=KEY_A, receive_key=KEY_B, told=rest[0]
                )
            ]
        case "free_leg":
            return wanted.free_leg(end)
        case _:
            return wanted.free_anchor(end)


def a_table() -> RouteTable:
    table = RouteTable()
    table.add_leg_port("legs", ipv6=False)
    return table


def seen(table: RouteTable) -> dict[str, Any]:
    """What forwarding depends on, generations apart."""

    def partner(route: Any) -> Any:
        return "echo" if isinstance(route.partner, Echo) else getattr(route.partner, "id", None)

    anchors = {
        anchor.id: (
            anchor.rtp.latch.peer,
            anchor.rtp.latch.accepted,
            set(anchor.rtp.latch.sources),
            anchor.rtcp.latch.peer,
            partner(anchor),
        )
        for anchor in table.anchors.values()
    }
    legs = {
        leg.id: (leg.peer, leg.confirmed, leg.is_installed, partner(leg))
        for leg in table.legs.values()
    }
    return {"anchors": anchors, "legs": legs}


@given(STEPS, STEPS, st.sets(ANCHORS))
@settings(deadline=None)
def test_a_replacement_forwards_like_its_predecessor(
    before: list[tuple[Any, ...]], after: list[tuple[Any, ...]], heard: set[int]
) -> None:
    wanted, table = WantedSession(), a_table()
    carried_out(table, [wanted.open_anchor(anchor) for anchor in (1, 2, 3)])
    carried_out(table, [wanted.reserve_legs(7, 2)])
    phone = Endpoint("192.0.2.1", 4000)
    before = [("expect", anchor, phone, False, False) for anchor in (1, 2, 3)] + before
    for step in before:
        carried_out(table, orders_of(wanted, step))
    for anchor_id in heard & set(table.anchors):
        table.anchors[anchor_id].rtp.receive(rtp(), ("192.0.2.1", 61000), 1.0)
    for port in table.latched:
        assert port.latch.peer is not None
        locked = port.latch.accepted is not None
        wanted.learn_latch(
            Latched(port.anchor.id, port.component, full_address(port.latch.peer), locked)
        )
    for step in after:
        carried_out(table, orders_of(wanted, step))
    generations = {
        leg_id: leg.install.generation for leg_id, leg in wanted.legs.items() if leg.install
    }
    replacement = a_table()
    orders = wanted.reinstall()
    carried_out(replacement, orders)
    assert seen(replacement) == seen(table)
    assert {order.leg: order.generation for order in orders if isinstance(order, InstallLeg)} == {
        leg_id: generation + 1 for leg_id, generation in generations.items()
    }


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 15)), max_size=80))
@settings(deadline=None)
def test_ports_rest_and_the_longest_rested_comes_first(steps: list[tuple[bool, float]]) -> None:
    pool, now = PortPool(10000, 10009), 0.0
    freed: dict[int, float] = {}
    taken: list[int] = []
    for take, seconds in steps:
        now += seconds
        if take:
            port = pool.take(now=Monotonic(now))
            if port is None:
                assert all(now - since < SHORTEST_REST for since in freed.values())
                continue
            assert port not in taken
            since = freed.pop(port, None)
            if since is not None:
                assert now - since >= SHORTEST_REST
                assert len(freed) + len(taken) == 4, "a never-used pair was passed over"
                assert since <= min(freed.values(), default=since)
            taken.append(port)
        elif taken:
            port = taken.pop(0)
            pool.give_back(port, now=Monotonic(now))
            freed[port] = now
        assert (pool.in_use, pool.free) == (len(taken), 5 - len(taken))
