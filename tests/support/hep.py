"""Reads HEP version 3, written after its specification (revision 36), not after what sends it."""

import ipaddress
import struct
from typing import Any

FIELDS: dict[int, tuple[str, Any]] = {
    0x01: ("family", lambda v: {2: 4, 10: 6}[v[0]]),
    0x02: ("protocol", lambda v: {17: "UDP", 6: "TCP"}[v[0]]),
    0x03: ("source", lambda v: str(ipaddress.IPv4Address(v))),
    0x04: ("destination", lambda v: str(ipaddress.IPv4Address(v))),
    0x05: ("source", lambda v: str(ipaddress.IPv6Address(v))),
    0x06: ("destination", lambda v: str(ipaddress.IPv6Address(v))),
    0x07: ("source_port", lambda v: struct.unpack("!H", v)[0]),
    0x08: ("destination_port", lambda v: struct.unpack("!H", v)[0]),
    0x09: ("seconds", lambda v: struct.unpack("!I", v)[0]),
    0x0A: ("microseconds", lambda v: struct.unpack("!I", v)[0]),
    0x0B: ("type", lambda v: v[0]),
    0x0C: ("agent", lambda v: struct.unpack("!I", v)[0]),
    0x0E: ("key", bytes.decode),
    0x0F: ("payload", bytes),
    0x11: ("correlation", bytes),
}


def read_hep(packet: bytes) -> dict[str, Any]:
    """The chunks of a packet by name; anything that is not as it should be fails the test."""
    mark, length = struct.unpack("!4sH", packet[:6])
    assert (mark, length) == (b"HEP3", len(packet))
    found: dict[str, Any] = {}
    at = 6
    while at < length:
        vendor, kind, size = struct.unpack("!HHH", packet[at : at + 6])
        assert vendor == 0
        assert 6 <= size <= length - at
        name, value = FIELDS[kind]
        assert name not in found
        found[name] = value(packet[at + 6 : at + size])
        at += size
    return found
