"""One message in HEP version 3, as Homer and other capture servers take it (core).

A packet is `HEP3`, its whole length (u16), and chunks: vendor (u16, 0 is generic), type (u16),
length (u16, these six bytes included), value. All numbers are big-endian.
"""

import struct
from dataclasses import dataclass

from federation.model.address import Endpoint

_AF_INET, _AF_INET6 = 2, 10
UDP, TCP = 17, 6
"IP protocols; what runs over TLS or WebSocket is TCP, what runs over QUIC is UDP."
SIP = 1
"The protocol type of SIP."
MAX_PACKET = 65_000
"Bytes of a packet; a longer message is cut. A datagram has no room for more."
_CHUNK = struct.Struct("!HHH")
_PACKET = struct.Struct("!4sH")

IP_FAMILY, IP_PROTOCOL = 0x01, 0x02
IPV4_SOURCE, IPV4_DESTINATION, IPV6_SOURCE, IPV6_DESTINATION = 0x03, 0x04, 0x05, 0x06
SOURCE_PORT, DESTINATION_PORT = 0x07, 0x08
SECONDS, MICROSECONDS = 0x09, 0x0A
PROTOCOL_TYPE, AGENT_ID, AUTH_KEY, PAYLOAD, CORRELATION_ID = 0x0B, 0x0C, 0x0E, 0x0F, 0x11


@dataclass(frozen=True, slots=True)
class Agent:
    """Who captures, as the server is told."""

    id: int
    "A number of 32 bits that tells this node from others at the server."
    password: str | None = None


def encode(
    payload: bytes,
    *,
    source: Endpoint,
    destination: Endpoint,
    ip_protocol: int,
    at: float,
    correlation_id: bytes,
    agent: Agent,
) -> bytes:
    """A packet for one SIP message that passed at `at`, in seconds since 1970.

    Both addresses are of one family.
    """
    is_ipv6 = source.is_ipv6
    seconds, micro = divmod(round(at * 1_000_000), 1_000_000)
    source_type, destination_type = IPV4_SOURCE, IPV4_DESTINATION
    if is_ipv6:
        source_type, destination_type = IPV6_SOURCE, IPV6_DESTINATION
    parts = [
        _chunk(IP_FAMILY, bytes([_AF_INET6 if is_ipv6 else _AF_INET])),
        _chunk(IP_PROTOCOL, bytes([ip_protocol])),
        _chunk(source_type, source.ip.packed),
        _chunk(destination_type, destination.ip.packed),
        _chunk(SOURCE_PORT, source.port.to_bytes(2, "big")),
        _chunk(DESTINATION_PORT, destination.port.to_bytes(2, "big")),
        _chunk(SECONDS, seconds.to_bytes(4, "big")),
        _chunk(MICROSECONDS, micro.to_bytes(4, "big")),
        _chunk(PROTOCOL_TYPE, bytes([SIP])),
        _chunk(AGENT_ID, agent.id.to_bytes(4, "big")),
    ]
    if agent.password is not None:
        parts.append(_chunk(AUTH_KEY, agent.password.encode()))
    parts.append(_chunk(CORRELATION_ID, correlation_id))
    head = b"".join(parts)
    room = MAX_PACKET - _PACKET.size - len(head) - _CHUNK.size
    body = head + _chunk(PAYLOAD, payload[:room])
    return _PACKET.pack(b"HEP3", _PACKET.size + len(body)) + body


def _chunk(kind: int, value: bytes) -> bytes:
    return _CHUNK.pack(0, kind, _CHUNK.size + len(value)) + value
