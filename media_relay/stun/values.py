"""What stands in STUN attributes: addresses, numbers, error codes, algorithms.

Readers raise `StunError` for a value of the wrong size or content, and for nothing else.
"""

import socket
import struct

from federation.model.address import Endpoint
from media_relay.stun.attributes import (
    MAGIC_COOKIE,
    REASONS,
    Attribute,
    Code,
    Family,
    PasswordAlgorithm,
)
from media_relay.stun.message import StunError

MAX_USERNAME_BYTES = 508
"RFC 8489 section 14.3."
MAX_TEXT_BYTES = 763
"REALM, NONCE and SOFTWARE (RFC 8489 sections 14.9, 14.10, 14.14)."

_COOKIE = MAGIC_COOKIE.to_bytes(4, "big")
_PORT_MASK = MAGIC_COOKIE >> 16
_ADDRESS = struct.Struct("!xBH")
_U32 = struct.Struct("!I")


def xor_address(endpoint: Endpoint, transaction_id: bytes) -> bytes:
    """The value of an XOR- address attribute (RFC 8489 section 14.2)."""
    if endpoint.is_ipv6:
        packed = socket.inet_pton(socket.AF_INET6, endpoint.host.partition("%")[0])
        return _ADDRESS.pack(Family.IPV6, endpoint.port ^ _PORT_MASK) + _xor(
            packed, _COOKIE + transaction_id
        )
    packed = socket.inet_aton(endpoint.host)
    return _ADDRESS.pack(Family.IPV4, endpoint.port ^ _PORT_MASK) + _xor(packed, _COOKIE)


def address(endpoint: Endpoint) -> bytes:
    """The value of MAPPED-ADDRESS and the like, in clear (RFC 8489 section 14.1)."""
    family, name = (
        (Family.IPV6, socket.AF_INET6) if endpoint.is_ipv6 else (Family.IPV4, socket.AF_INET)
    )
    packed = socket.inet_pton(name, endpoint.host.partition("%")[0])
    return _ADDRESS.pack(family, endpoint.port) + packed


def read_xor_address(value: bytes, transaction_id: bytes) -> tuple[Family, Endpoint]:
    """Read one. The family is what the attribute says: a v4-mapped IPv6 address is not made IPv4.

    Raises:
        StunError: another size or family.
    """
    if len(value) == 8 and value[1] == Family.IPV4:
        host = socket.inet_ntoa(_xor(value[4:], _COOKIE))
        family = Family.IPV4
    elif len(value) == 20 and value[1] == Family.IPV6:
        host = socket.inet_ntop(socket.AF_INET6, _xor(value[4:], _COOKIE + transaction_id))
        family = Family.IPV6
    else:
        raise StunError("not an address")
    return family, Endpoint(host, int.from_bytes(value[2:4], "big") ^ _PORT_MASK)


def error_code(code: Code, reason: bool = True) -> bytes:
    """The value of ERROR-CODE, its words left out unless `reason` (RFC 8489 section 14.8)."""
    words = REASONS[code].encode() if reason else b""
    return bytes((0, 0, code // 100, code % 100)) + words


def read_error_code(value: bytes) -> int:
    """The number in an ERROR-CODE.

    Raises:
        StunError: no such number.
    """
    if len(value) < 4 or not 3 <= value[2] & 7 <= 6 or value[3] > 99:
        raise StunError("not an error code")
    return (value[2] & 7) * 100 + value[3]


def address_error_code(family: Family, code: Code) -> bytes:
    """The value of ADDRESS-ERROR-CODE (RFC 8656 section 18.12)."""
    return bytes((family, 0, code // 100, code % 100)) + REASONS[code].encode()


def unknown_attributes(numbers: list[int]) -> bytes:
    """The value of UNKNOWN-ATTRIBUTES."""
    return struct.pack(f"!{len(numbers)}H", *numbers)


def u32(value: int) -> bytes:
    """A number such as LIFETIME."""
    return _U32.pack(value)


def read_u32(value: bytes) -> int:
    """Read one.

    Raises:
        StunError: not four bytes.
    """
    if len(value) != 4:
        raise StunError("not a number of four bytes")
    return int.from_bytes(value, "big")


def read_channel(value: bytes) -> int:
    """The number in CHANNEL-NUMBER; its reserved half is ignored (RFC 8656 section 18.1).

    Raises:
        StunError: not four bytes.
    """
    return read_u32(value) >> 16


def read_family(value: bytes) -> int:
    """The family in REQUESTED- or ADDITIONAL-ADDRESS-FAMILY, which may be none of ours.

    Raises:
        StunError: not four bytes.
    """
    return read_u32(value) >> 24


def read_transport(value: bytes) -> int:
    """The IP protocol number in REQUESTED-TRANSPORT.

    Raises:
        StunError: not four bytes.
    """
    return read_u32(value) >> 24


def read_even_port(value: bytes) -> bool:
    """Whether EVEN-PORT asks for the next higher port to be reserved.

    Raises:
        StunError: not one byte.
    """
    if len(value) != 1:
        raise StunError("EVEN-PORT has one byte")
    return bool(value[0] & 0x80)


def read_text(value: bytes, most: int = MAX_TEXT_BYTES) -> str:
    """USERNAME, REALM or NONCE.

    Raises:
        StunError: too long, or not UTF-8.
    """
    if len(value) > most:
        raise StunError("a text that is too long")
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise StunError("a text that is not UTF-8") from error


PASSWORD_ALGORITHMS = struct.pack("!4H", PasswordAlgorithm.SHA256, 0, PasswordAlgorithm.MD5, 0)
"What we offer, the better one first; neither has parameters (RFC 8489 section 14.11)."


def read_password_algorithm(value: bytes) -> PasswordAlgorithm:
    """The one algorithm in PASSWORD-ALGORITHM.

    Raises:
        StunError: none of ours.
    """
    if len(value) != 4 or value[2:] != b"\0\0":
        raise StunError("not an algorithm of ours")
    try:
        return PasswordAlgorithm(int.from_bytes(value[:2], "big"))
    except ValueError as error:
        raise StunError("not an algorithm of ours") from error


def icmp(kind: int, code: int, data: int) -> bytes:
    """The value of ICMP (RFC 8656 section 18.13): a type of 7 bits, a code of 9, and error data."""
    return struct.pack("!HHI", 0, (kind & 0x7F) << 9 | code & 0x1FF, data)


def _xor(data: bytes, mask: bytes) -> bytes:
    return (int.from_bytes(data, "big") ^ int.from_bytes(mask, "big")).to_bytes(len(data), "big")


def attribute(number: Attribute, value: bytes) -> tuple[int, bytes]:
    """One entry of `Message.attributes`."""
    return int(number), value
