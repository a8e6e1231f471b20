"""One STUN message: bytes to value and back, with its integrity and fingerprint.

`decode` is given whatever came from the network and raises one error, `StunError`. Attributes stay
bytes; `media_relay.stun.values` reads them. What follows a MESSAGE-INTEGRITY is not covered by it
and is ignored, but for MESSAGE-INTEGRITY-SHA256 and FINGERPRINT (RFC 8489, 14.5 and 14.6).
"""

import hmac
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from federation.model.errors import PeerError
from media_relay.stun.attributes import (
    COMPREHENSION_OPTIONAL,
    MAGIC_COOKIE,
    UNDERSTOOD,
    Attribute,
    MessageClass,
)

HEADER_BYTES = 20
MAX_ATTRIBUTES = 64
"More in one message are not a STUN message for us; the largest of RFC 8656 has about a dozen."
FINGERPRINT_XOR = 0x5354554E
SHA1_BYTES = 20
SHA256_BYTES = 32
SHORTEST_SHA256_BYTES = 16
"MESSAGE-INTEGRITY-SHA256 may be truncated to this, in steps of 4 (RFC 8489 section 14.6)."

_HEADER = struct.Struct("!HHI12s")
_ATTRIBUTE = struct.Struct("!HH")
_LENGTH = struct.Struct("!H")
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")
_METHOD_MASK = 0xFFF
_MI = int(Attribute.MESSAGE_INTEGRITY)
_MI256 = int(Attribute.MESSAGE_INTEGRITY_SHA256)
_FINGERPRINT = int(Attribute.FINGERPRINT)


class StunError(PeerError):
    """Bytes that are not a STUN message, or an attribute that holds what it may not."""


@dataclass(frozen=True, slots=True)
class Key:
    """What makes and checks the integrity of a message: the secret, and which attribute."""

    secret: bytes
    is_sha256: bool

    def __repr__(self) -> str:
        return f"Key(is_sha256={self.is_sha256})"


@dataclass(frozen=True, slots=True)
class Message:
    """A STUN message. Of an attribute that stands there twice the first counts, save `all`."""

    method: int
    kind: MessageClass
    transaction_id: bytes
    "12 bytes."
    attributes: tuple[tuple[int, bytes], ...]
    "Type and value in order, integrity and fingerprint left out."
    has_integrity: bool = False
    has_integrity_sha256: bool = False
    has_fingerprint: bool = False
    raw: bytes = b""
    "What it was decoded from; integrity is computed over it."
    integrity_at: int = 0
    "Where MESSAGE-INTEGRITY begins in `raw`."
    integrity_sha256_at: int = 0

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read a datagram, or one message cut from a stream.

        Raises:
            StunError: not a STUN message, or its fingerprint is wrong.
        """
        size = len(data)
        if size < HEADER_BYTES:
            raise StunError("a STUN message has at least 20 bytes")
        kind, length, cookie, transaction_id = _HEADER.unpack_from(data)
        if kind & 0xC000 or cookie != MAGIC_COOKIE or length & 3 or length + HEADER_BYTES != size:
            raise StunError("not a STUN header")
        attributes: list[tuple[int, bytes]] = []
        integrity_at = sha256_at = 0
        has_fingerprint = False
        at, count = HEADER_BYTES, 0
        while at < size:
            # The length is a multiple of 4 and so is `at`, hence four bytes are there.
            number, value_size = _ATTRIBUTE.unpack_from(data, at)
            end = at + 4 + value_size
            count += 1
            if end > size or count > MAX_ATTRIBUTES:
                raise StunError("an attribute overruns its message, or there are too many")
            if number == _FINGERPRINT:
                _check_fingerprint(data, at, end)
                has_fingerprint = True
            elif number == _MI256:
                if not sha256_at:
                    _check_size(value_size, SHORTEST_SHA256_BYTES, SHA256_BYTES)
                    sha256_at = at
            elif sha256_at:
                pass
            elif number == _MI:
                if not integrity_at:
                    _check_size(value_size, SHA1_BYTES, SHA1_BYTES)
                    integrity_at = at
            elif not integrity_at:
                attributes.append((number, data[at + 4 : end]))
            at = (end + 3) & ~3
        return cls(
            method=kind & 0x000F | (kind & 0x00E0) >> 1 | (kind & 0x3E00) >> 2,
            kind=MessageClass((kind & 0x0010) >> 4 | (kind & 0x0100) >> 7),
            transaction_id=transaction_id,
            attributes=tuple(attributes),
            has_integrity=bool(integrity_at),
            has_integrity_sha256=bool(sha256_at),
            has_fingerprint=has_fingerprint,
            raw=data,
            integrity_at=integrity_at,
            integrity_sha256_at=sha256_at,
        )

    def encode(self, key: Key | None = None) -> bytes:
        """The bytes of this message, with the integrity that `key` makes.

        `has_fingerprint` says whether a FINGERPRINT ends it; the other `has_` fields and `raw`
        describe what was decoded, and do not matter here.
        """
        parts = [b""]
        for number, value in self.attributes:
            parts += _ATTRIBUTE.pack(number, len(value)), value, _PADDING[len(value) & 3]
        size = sum(map(len, parts))
        m, c = self.method & _METHOD_MASK, self.kind
        kind = m & 0xF | (m & 0x70) << 1 | (m & 0xF80) << 2 | (c & 1) << 4 | (c & 2) << 7
        if key is not None:
            digest_size = SHA256_BYTES if key.is_sha256 else SHA1_BYTES
            parts[0] = _HEADER.pack(kind, size + 4 + digest_size, MAGIC_COOKIE, self.transaction_id)
            mac = hmac.digest(key.secret, b"".join(parts), "sha256" if key.is_sha256 else "sha1")
            parts += _ATTRIBUTE.pack(_MI256 if key.is_sha256 else _MI, digest_size), mac
            size += 4 + digest_size
        tail = 8 if self.has_fingerprint else 0
        parts[0] = _HEADER.pack(kind, size + tail, MAGIC_COOKIE, self.transaction_id)
        data = b"".join(parts)
        if tail:
            crc = zlib.crc32(data) ^ FINGERPRINT_XOR
            data += struct.pack("!HHI", _FINGERPRINT, 4, crc)
        return data

    def get(self, attribute: Attribute) -> bytes | None:
        """The value of an attribute, `None` if it is not there."""
        for number, value in self.attributes:
            if number == attribute:
                return value
        return None

    def all(self, attribute: Attribute) -> list[bytes]:
        """The values of an attribute that may stand there more than once."""
        return [value for number, value in self.attributes if number == attribute]

    def unknown(self) -> list[int]:
        """Comprehension-required attributes that are not of our RFCs, each once."""
        return list(
            dict.fromkeys(
                number
                for number, _ in self.attributes
                if number < COMPREHENSION_OPTIONAL and number not in UNDERSTOOD
            )
        )

    def is_signed_by(self, key: Key) -> bool:
        """Whether the integrity attribute that `key` is for is there and holds."""
        at = self.integrity_sha256_at if key.is_sha256 else self.integrity_at
        if not at:
            return False
        (size,) = _LENGTH.unpack_from(self.raw, at + 2)
        length = _LENGTH.pack(at + 4 + size - HEADER_BYTES)
        covered = b"".join((self.raw[:2], length, self.raw[4:at]))
        mac = hmac.digest(key.secret, covered, "sha256" if key.is_sha256 else "sha1")
        return hmac.compare_digest(mac[:size], self.raw[at + 4 : at + 4 + size])


def respond(
    request: Message, kind: MessageClass, attributes: Iterable[tuple[int, bytes]]
) -> Message:
    """An answer to a request; it ends with a FINGERPRINT if the request does."""
    return Message(
        request.method,
        kind,
        request.transaction_id,
        tuple(attributes),
        has_fingerprint=request.has_fingerprint,
    )


def _check_fingerprint(data: bytes, at: int, end: int) -> None:
    """RFC 8489 section 14.7: four bytes, the last attribute, a CRC-32 of all before it."""
    if end - at != 8 or end != len(data):
        raise StunError("a fingerprint ends its message")
    if zlib.crc32(data[:at]) ^ FINGERPRINT_XOR != int.from_bytes(data[at + 4 : end], "big"):
        raise StunError("the fingerprint is wrong")


def _check_size(size: int, least: int, most: int) -> None:
    if not least <= size <= most or size & 3:
        raise StunError("an integrity attribute of an impossible size")
