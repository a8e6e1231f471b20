"""Flows that a device keeps open to be reached over (RFC 5626), as the registrar sees them.

This node is edge proxy and registrar in one: the flow that a REGISTER came over is the one that
leads back, and is kept in its binding. What was forwarded by another proxy counts as outbound only
if the proxy next to the device says so (`ob` in its Path).
"""

from collections.abc import Sequence

from node.sip.errors import SipParseError
from node.sip.headers import NameAddr
from node.sip.message import Request

STREAM_FLOW_TIMER = 120
"Seconds between keepalives that a device is asked for on TCP and TLS (RFC 5626 10)."
UDP_FLOW_TIMER = 29
"The same on UDP, where NATs forget after 30 s."


def wants_outbound(request: Request) -> bool:
    """Whether a REGISTER asks for it: instance and reg-id count then (RFC 5626 4.2, 6)."""
    return any(tag.lower() == "outbound" for tag in request.values("Supported"))


def lacks_first_hop(request: Request, path: Sequence[str]) -> bool:
    """Whether a proxy stands between us and the device that keeps no flows: 439 (RFC 5626 6)."""
    if path:
        try:
            return NameAddr.parse(path[-1]).uri.param("ob") is None
        except SipParseError:
            return True
    return len(request.vias) > 1
