"""The DHT datagram: one signed frame, at most 1,200 bytes.

| field | bytes | |
|---|---|---|
| magic | 1 | 0x08; the mesh socket tells protocols apart by it (RFC 9443) |
| type | 1 | 1 request, 2 reply, 3 challenge, 4 refusal; the high bit marks a sealed body |
| txid | 8 | random; an answer repeats it |
| sender | 32 | public key |
| nonce | 8 | the sender's puzzle solution |
| to | 32 | request: the recipient's overlay id (zero: unknown, ping only); else its public key |
| cookie | 16 | request: proof of address from an earlier answer, or zero; else zero |
| body | n | canonical msgpack array, then zero bytes in padded requests |
| signature | 64 | over the context "dht1" and everything before; a challenge carries zeros |

An answer names its recipient by key and not by overlay id, since computing a stranger's id would
cost an Argon2id. A challenge is not signed: it is what a node sends when it will not spend a
signature on an unproven address, and all it can do to its reader is cause one more request.
A request without a cookie fills 400 bytes, so an answer of 1,200 stays within the factor of three
that RFC 9000 8.1 allows towards an unproven address.
"""

import enum
from dataclasses import dataclass
from typing import Self

from federation.model.errors import PeerError
from federation.model.identity import (
    KEY_BYTES,
    SIGNATURE_BYTES,
    KeyFormatError,
    NodeId,
    NodeKey,
)
from federation.model.network import Network

MAGIC = 0x08
MAX_DATAGRAM = 1200
UNPROVEN_REQUEST = 400
"Bytes of a request without a cookie, at least; a padded one has exactly these."
AMPLIFICATION = 3
"Bytes sent for each byte received while the sender's address is unproven."
TXID_BYTES = 8
NONCE_BYTES = 8
COOKIE_BYTES = 16
TO_BYTES = 32
HEADER_BYTES = 2 + TXID_BYTES + KEY_BYTES + NONCE_BYTES + TO_BYTES + COOKIE_BYTES
OVERHEAD = HEADER_BYTES + SIGNATURE_BYTES
MAX_BODY = MAX_DATAGRAM - OVERHEAD
NO_COOKIE = bytes(COOKIE_BYTES)
UNKNOWN_RECIPIENT = bytes(TO_BYTES)
_NO_SIGNATURE = bytes(SIGNATURE_BYTES)
_SEALED = 0x80


class FrameError(PeerError):
    """Not a DHT datagram of ours, or not signed by its sender."""


class FrameType(enum.IntEnum):
    """What a frame is for."""

    REQUEST = 1
    REPLY = 2
    CHALLENGE = 3
    "Ask again with this cookie."
    REFUSAL = 4
    "No answer will come; the body says why."


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One datagram taken apart. Its signature holds only after `verify`."""

    type: FrameType
    txid: bytes
    sender: NodeId
    nonce: bytes
    to: bytes
    cookie: bytes = NO_COOKIE
    body: bytes
    "Padding included; sealed bytes if `sealed`."
    sealed: bool = False
    signature: bytes = _NO_SIGNATURE

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Take a datagram apart; cheap, the signature is not checked yet.

        Raises:
            FrameError: wrong length, magic, type, key, or a field that must be zero is not.
        """
        if not OVERHEAD < len(data) <= MAX_DATAGRAM or data[0] != MAGIC:
            raise FrameError("not a DHT datagram")
        try:
            kind = FrameType(data[1] & ~_SEALED)
            sender = NodeId(data[10:42])
        except (ValueError, KeyFormatError) as error:
            raise FrameError("unknown type or unusable key") from error
        cookie = data[82:HEADER_BYTES]
        signature = data[-SIGNATURE_BYTES:]
        if kind is FrameType.REQUEST:
            if cookie == NO_COOKIE and len(data) < UNPROVEN_REQUEST:
                raise FrameError(f"a request without a cookie has {UNPROVEN_REQUEST} bytes")
        elif cookie != NO_COOKIE:
            raise FrameError("only requests carry a cookie")
        if (kind is FrameType.CHALLENGE) != (signature == _NO_SIGNATURE):
            raise FrameError("all but challenges are signed")
        return cls(
            type=kind,
            txid=data[2:10],
            sender=sender,
            nonce=data[42:50],
            to=data[50:82],
            cookie=cookie,
            body=data[HEADER_BYTES:-SIGNATURE_BYTES],
            sealed=bool(data[1] & _SEALED),
            signature=signature,
        )

    @property
    def header(self) -> bytes:
        """The bytes before the body; sealed bodies are bound to them."""
        kind = self.type | (_SEALED if self.sealed else 0)
        return b"".join(
            (bytes((MAGIC, kind)), self.txid, self.sender, self.nonce, self.to, self.cookie)
        )

    def encode(self) -> bytes:
        """The datagram.

        Raises:
            FrameError: it would be too long.
        """
        data = self.header + self.body + self.signature
        if len(data) > MAX_DATAGRAM:
            raise FrameError(f"a datagram has at most {MAX_DATAGRAM} bytes, not {len(data)}")
        return data

    def signed(self, key: NodeKey, network: Network) -> bytes:
        """The datagram, signed by its sender's key."""
        message = self.header + self.body
        if len(message) + SIGNATURE_BYTES > MAX_DATAGRAM:
            raise FrameError(f"a datagram has at most {MAX_DATAGRAM} bytes")
        return message + key.sign(network.context("dht1") + message)

    def verify(self, network: Network) -> None:
        """Check that the sender signed this.

        Raises:
            FrameError: it did not.
        """
        if self.type is FrameType.CHALLENGE:
            raise FrameError("a challenge is not signed")
        try:
            self.sender.verify(self.signature, network.context("dht1") + self.header + self.body)
        except PeerError as error:
            raise FrameError("the sender did not sign this") from error


def padding_for(body_bytes: int, *, has_cookie: bool) -> int:
    """How many zero bytes follow a request's body."""
    return 0 if has_cookie else max(0, UNPROVEN_REQUEST - OVERHEAD - body_bytes)
