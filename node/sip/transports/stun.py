"""STUN Binding on the SIP port (RFC 8489; used as RFC 5626 section 3.5.2 asks for over UDP).

A phone learns the address its NAT gave it and keeps the NAT's binding open. Only Binding requests
are served, without authentication; whatever else looks like STUN is dropped in silence.
"""

import struct
import zlib
from typing import Final

from federation.model.address import Endpoint

MAGIC_COOKIE: Final = 0x2112A442
_HEADER: Final = struct.Struct("!HHI12s")
_ATTRIBUTE: Final = struct.Struct("!HH")
_BINDING_REQUEST: Final = 0x0001
_BINDING_SUCCESS: Final = 0x0101
_BINDING_ERROR: Final = 0x0111
_ERROR_CODE: Final = 0x0009
_UNKNOWN_ATTRIBUTES: Final = 0x000A
_XOR_MAPPED_ADDRESS: Final = 0x0020
_FINGERPRINT: Final = 0x8028
_FINGERPRINT_XOR: Final = 0x5354554E
_FIRST_OPTIONAL: Final = 0x8000
"Attributes from here on may be ignored; unknown ones below are refused with 420."
_KNOWN: Final = frozenset({0x0006, 0x0008, 0x0014, 0x0015, 0x001C, 0x001D, 0x001E, 0x0024, 0x0025})
"Understood well enough to ignore: credentials, which Binding here does not ask for, and ICE's."
_MAX_UNKNOWN: Final = 4
"Unknown attributes named in one answer, so that it does not outgrow the question."


def is_stun(data: bytes) -> bool:
    """Whether this is a STUN message: two zero bits, the cookie, a whole number of words."""
    return (
        len(data) >= _HEADER.size
        and data[0] < 4
        and data[4:8] == b"\x21\x12\xa4\x42"
        and int.from_bytes(data[2:4], "big") + _HEADER.size == len(data)
        and len(data) % 4 == 0
    )


def answer_binding(data: bytes, source: Endpoint) -> bytes | None:
    """The answer to a Binding request from `source`; `None` where silence is right."""
    if not is_stun(data):
        return None
    kind, _, _, transaction = _HEADER.unpack_from(data)
    if kind != _BINDING_REQUEST:
        return None
    types = _attribute_types(data)
    if types is None or not _fingerprint_holds(data, types):
        return None
    unknown = [t for t in types if t < _FIRST_OPTIONAL and t not in _KNOWN]
    if unknown:
        named = unknown[:_MAX_UNKNOWN]
        body = _attribute(_ERROR_CODE, b"\0\0\x04\x14Unknown")
        body += _attribute(_UNKNOWN_ATTRIBUTES, struct.pack(f"!{len(named)}H", *named))
        reply = _HEADER.pack(_BINDING_ERROR, len(body), MAGIC_COOKIE, transaction) + body
    else:
        body = _attribute(_XOR_MAPPED_ADDRESS, _xor_address(source, transaction))
        reply = _HEADER.pack(_BINDING_SUCCESS, len(body), MAGIC_COOKIE, transaction) + body
    return _with_fingerprint(reply) if _FINGERPRINT in types else reply


def _attribute_types(data: bytes) -> list[int] | None:
    """The type of each attribute; `None` if they do not add up."""
    types = []
    position = _HEADER.size
    while position < len(data):
        kind, size = _ATTRIBUTE.unpack_from(data, position)
        types.append(kind)
        position += _ATTRIBUTE.size + size + (-size % 4)
    return types if position == len(data) else None


def _fingerprint_holds(data: bytes, types: list[int]) -> bool:
    """Whether a FINGERPRINT, if there is one, is the last attribute and right (14.7)."""
    if _FINGERPRINT not in types:
        return True
    return types[-1] == _FINGERPRINT and data[-4:] == _fingerprint(data[:-8])


def _fingerprint(before: bytes) -> bytes:
    return struct.pack("!I", zlib.crc32(before) ^ _FINGERPRINT_XOR)


def _with_fingerprint(message: bytes) -> bytes:
    length = struct.pack("!H", len(message) - _HEADER.size + 8)
    message = message[:2] + length + message[4:]
    return message + _ATTRIBUTE.pack(_FINGERPRINT, 4) + _fingerprint(message)


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(kind, len(value)) + value + bytes(-len(value) % 4)


def _xor_address(source: Endpoint, transaction: bytes) -> bytes:
    """RFC 8489 section 14.2."""
    packed = source.packed
    mask = MAGIC_COOKIE.to_bytes(4, "big") + transaction
    family = 1 if len(packed) == 4 else 2
    masked = bytes(a ^ b for a, b in zip(packed, mask, strict=False))
    return struct.pack("!BBH", 0, family, source.port ^ (MAGIC_COOKIE >> 16)) + masked
