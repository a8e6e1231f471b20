"""Joins what calls to other SIP networks need, where the settings allow them."""

from collections.abc import Callable

from federation.model.clocks import Clock, Entropy
from node.config import Config
from node.edge.outward import OutwardParts
from node.names import OwnNames
from node.outside import SendGuard
from node.sip.transports.sockets import SipTransports
from node.sip_location import DnsRecords, SipLocator, families_of


def open_outside(
    config: Config,
    names: OwnNames,
    transports: SipTransports,
    domain: Callable[[], str | None],
    *,
    clock: Clock,
    entropy: Entropy,
) -> tuple[SipLocator, OutwardParts]:
    """What finds other networks, and what the edge needs to call them.

    `domain` is one of ours at which DNS leads here. The caller closes the locator.
    """
    guard = SendGuard(names, config.sip.outbound_allowed)
    servers = SipLocator(
        DnsRecords(config.dns.endpoints),
        clock=clock,
        entropy=entropy,
        families=lambda: families_of(names.addresses),
        may_send=guard.may_send,
    )
    parts = OutwardParts(
        flow_to=transports.flow_to,
        may_send=guard.may_send,
        locate=servers.locate,
        domain=domain,
        accounts=frozenset(config.sip.outbound_accounts),
    )
    return servers, parts
