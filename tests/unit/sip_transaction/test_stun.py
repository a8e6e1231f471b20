"""STUN Binding on the SIP port: the vectors of RFC 5769, and what gets no answer."""

import struct
import zlib

import pytest

from federation.model.address import Endpoint
from node.sip.transports.stun import answer_binding, is_stun

V4, V6 = Endpoint("192.0.2.1", 32853), Endpoint("2001:db8:1234:5678:11:2233:4455:6677", 32853)
TRANSACTION = bytes.fromhex("b7e7a701bc34d686fa87dfae")
"Of the sample messages in RFC 5769 section 2."
XOR_V4 = bytes.fromhex("002000080001a147e112a643")
XOR_V6 = bytes.fromhex("002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9")


def message(kind: int = 1, attributes: bytes = b"", transaction: bytes = TRANSACTION) -> bytes:
    return struct.pack("!HHI12s", kind, len(attributes), 0x2112A442, transaction) + attributes


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4)


def fingerprinted(kind: int, attributes: bytes) -> bytes:
    head = struct.pack("!HHI12s", kind, len(attributes) + 8, 0x2112A442, TRANSACTION) + attributes
    return head + attribute(0x8028, struct.pack("!I", zlib.crc32(head) ^ 0x5354554E))


@pytest.mark.parametrize(("source", "mapped"), [(V4, XOR_V4), (V6, XOR_V6)], ids=["IPv4", "IPv6"])
def test_the_answer_names_the_source(source: Endpoint, mapped: bytes) -> None:
    assert answer_binding(message(), source) == message(0x0101, mapped)


def test_what_ice_and_authentication_add_is_ignored() -> None:
    extras = (
        attribute(0x0006, b"user") + attribute(0x8022, b"software") + attribute(0x0024, b"1234")
    )
    assert answer_binding(message(attributes=extras), V4) == message(0x0101, XOR_V4)


def test_a_fingerprint_is_checked_and_returned() -> None:
    assert answer_binding(fingerprinted(1, b""), V4) == fingerprinted(0x0101, XOR_V4)
    broken = bytearray(fingerprinted(1, b""))
    broken[-1] ^= 1
    assert answer_binding(bytes(broken), V4) is None


def test_an_unknown_required_attribute_is_refused_by_name() -> None:
    """RFC 8489 section 6.3.1."""
    body = attribute(0x0009, b"\0\0\x04\x14Unknown") + attribute(0x000A, b"\x00\x7a\x00\x7b")
    unknown = attribute(0x007A, b"") + attribute(0x007B, b"x") + attribute(0x8099, b"")
    assert answer_binding(message(attributes=unknown), V4) == message(0x0111, body)


def test_the_answer_is_never_thrice_the_question() -> None:
    many = b"".join(attribute(0x0070 + n, b"") for n in range(12))
    for source in (V4, V6):
        for question in (message(), message(attributes=many), message(attributes=many[:4])):
            assert len(answer_binding(question, source) or b"") <= 3 * len(question)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        message()[:19],
        message() + b"\0\0\0\0",
        message().replace(b"\x21\x12\xa4\x42", b"\0\0\0\0"),
        message(attributes=b"\0\x06\0\x09abcd"),
        message(0x0101, XOR_V4),
        message(0x0003),
        message(0x0011),
    ],
    ids=["empty", "short", "too long", "RFC 3489", "overrun", "response", "Allocate", "indication"],
)
def test_the_rest_gets_silence(data: bytes) -> None:
    assert answer_binding(data, V4) is None


def test_sip_is_not_taken_for_stun() -> None:
    assert is_stun(message())
    assert not is_stun(b"OPTIONS sip:a SIP/2.0\r\n\r\n")
