"""Other SIP networks: what leads to them, and where plain SIP may be sent at all."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from federation.model.address import AddressError, Endpoint, Scope, parse_ip, scope_of
from node.names import OwnNames
from node.sip.locate import Hop, Target
from node.sip.uri import Uri

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Outside:
    """Nobody of this network answers there: the SIP servers to try, in order (RFC 3263)."""

    hops: tuple[Hop, ...]
    uri: Uri
    "The Request-URI."


class SipServers(Protocol):
    """Finds SIP servers of other networks (`node.sip_location.SipLocator`)."""

    async def locate(self, target: Target) -> tuple[Hop, ...]:
        """The hops to try; raises `LocateError`."""


class SendGuard:
    """Keeps plain SIP away from where strangers' DNS and Contacts must not lead it.

    That is everything but global addresses, and this node itself: a domain that points here is a
    loop. Networks that the operator lists are allowed, the node's own SIP ports never.
    """

    def __init__(self, names: OwnNames, allowed: Sequence[Network] = ()) -> None:
        self._names = names
        self._allowed = tuple(allowed)

    def may_send(self, remote: Endpoint) -> bool:
        """Whether a request may go to `remote`, which somebody else named."""
        try:
            address = parse_ip(remote.host)
        except AddressError:
            return False
        if str(address) in self._names.addresses:
            own_ports = (self._names.sip_port, self._names.tls_port)
            return remote.port not in own_ports and self._is_allowed(remote)
        return scope_of(address) is Scope.GLOBAL or self._is_allowed(remote)

    def _is_allowed(self, remote: Endpoint) -> bool:
        address = parse_ip(remote.host)
        return any(
            address.version == network.version and address in network for network in self._allowed
        )
