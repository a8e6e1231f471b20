"""The sockets that carry SIP: UDP and TCP, IPv4 and IPv6 at once."""

from node.sip.transports.connection import TcpLimits
from node.sip.transports.sockets import ListenError, SipTransports

__all__ = ["ListenError", "SipTransports", "TcpLimits"]
