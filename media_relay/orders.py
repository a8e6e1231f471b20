"""Carrying out orders on a forwarding table; those about sockets are the worker's own."""

from federation.model.address import Endpoint, parse_ip
from media_relay.control import (
    Address,
    EchoAnchor,
    EchoLeg,
    Expect,
    FullAddress,
    InstallLeg,
    JoinAnchors,
    JoinLeg,
    JoinLegs,
    Order,
    ReserveLegs,
    RestoreLatch,
    Unjoin,
)
from media_relay.latch import SocketAddress
from media_relay.routes import RouteTable


def apply_order(table: RouteTable, order: Order, now: float) -> None:
    """Do what one order says; an unfit one is counted by the table.

    Raises:
        AddressError: a host that is not an IP address.
    """
    match order:
        case Expect():
            table.expect(
                order.anchor,
                _endpoint(order.rtp),
                _endpoint(order.rtcp),
                frozenset(order.sources),
                mux=order.mux,
                udptl=order.udptl,
                relatch=order.relatch,
                clock_rates=order.clock_rates,
            )
        case RestoreLatch(anchor, component, peer, locked):
            table.restore_latch(anchor, component, sendable(peer), locked=locked)
        case ReserveLegs(first, count):
            table.reserve_legs(first, count)
        case InstallLeg():
            table.install_leg(
                order.leg,
                peer_leg=order.peer_leg,
                peer=sendable(order.peer),
                send_key=order.send_key,
                receive_key=order.receive_key,
                confirmed=order.confirmed,
                generation=order.generation,
                highest=order.highest,
                now=now,
            )
        case JoinAnchors(one, other):
            table.join_anchors(one, other)
        case JoinLeg(anchor, leg):
            table.join_leg(anchor, leg)
        case JoinLegs(one, other):
            table.join_legs(one, other)
        case Unjoin(anchor):
            table.unjoin(anchor)
        case EchoAnchor(anchor, mask):
            table.echo(anchor, mask)
        case EchoLeg(leg, mask):
            table.echo_leg(leg, mask)
        case _:
            # An order whose sockets did not come along.
            table.ignored_orders += 1


def full_address(address: SocketAddress) -> FullAddress:
    """An address as messages carry it."""
    host, port, *more = address
    flow, scope = more or (0, 0)
    return host, port, flow, scope


def sendable(address: FullAddress) -> SocketAddress:
    """An address as `sendto` takes it and `recvfrom` gives it.

    Raises:
        AddressError: a host name, which would make `sendto` ask DNS and stop all sound meanwhile.
    """
    parse_ip(address[0])
    return address if ":" in address[0] else address[:2]


def _endpoint(address: Address | None) -> Endpoint | None:
    return None if address is None else Endpoint.from_ip(parse_ip(address[0]), address[1])
