"""Large requests leave UDP (RFC 3261 section 18.1.1).

A request of more than 1,300 bytes, or within 200 bytes of a known path MTU, goes over TCP to the
same host and port. Where that is refused it goes over UDP after all, in fragments. A response goes
back the way its request came, and a request on a phone's own flow stays there: a phone behind a NAT
can be reached no other way.
"""

from dataclasses import dataclass

from node.sip.errors import SipParseError
from node.sip.flow import TransportName

UDP_LIMIT = 1_300
"Bytes a request may have over UDP where the path MTU is not known."
MTU_MARGIN = 200
"Bytes that a request over UDP stays below a known path MTU; its response may be larger."
MAX_UDP_BYTES = 65_507
"What one datagram over IPv4 holds at all."


@dataclass(frozen=True, slots=True)
class Carriage:
    """How a request is sent."""

    transport: TransportName
    "Also what its Via says."
    fallback: TransportName | None = None
    "What to try with a branch and Via of its own where the first is refused, not where it is slow."


def carriage_of(
    size: int, transport: TransportName, *, is_flow: bool = False, path_mtu: int | None = None
) -> Carriage:
    """How a request of `size` bytes goes to where `transport` was asked for.

    `is_flow` says that it goes back over a flow that the other end made.

    Raises:
        SipParseError: 513, no transport here carries it.
    """
    limit = UDP_LIMIT if path_mtu is None else path_mtu - MTU_MARGIN
    if transport != "UDP" or size <= limit:
        return Carriage(transport)
    if is_flow:
        if size > MAX_UDP_BYTES:
            raise SipParseError(513, "Message Too Large")
        return Carriage("UDP")
    return Carriage("TCP", "UDP" if size <= MAX_UDP_BYTES else None)
