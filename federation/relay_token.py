"""What nodes sign about relaying for each other: who asks whom, and what was relayed.

Both are msgpack arrays in their one canonical encoding, the signature last; it covers a context and
the array before it without the signature.

    token    relay1   [1, asker, relay, nonce 16 B, not-after, bytes, signature]
    receipt  rcpt1    [1, relay, asker, nonce, from, to, bytes to peers, to clients, signature]

A token asks one relay, for one asker, once, for a bounded time and amount. It is shown over the
link between the two, so nobody else sees it, and worth nothing elsewhere. A receipt is the relay's
word on what it relayed under a token's nonce; the asker checks and keeps it. Times are whole Unix
seconds.
"""

from dataclasses import dataclass
from typing import Any, Self

import msgpack

from federation.codec import CodecError, unpack_array
from federation.model.clocks import UnixTime
from federation.model.errors import PeerError, SignatureError
from federation.model.identity import SIGNATURE_BYTES, KeyFormatError, NodeId, NodeKey
from federation.model.network import Network

VERSION = 1
NONCE_BYTES = 16
MAX_TOKEN_SECONDS = 3600
"How far ahead a token may end."
CLOCK_SKEW = 300
"Seconds by which honest clocks may differ."
MAX_BYTES = 512
"Of an encoded token or receipt."
_MAX_INT = 2**60


class RelayTokenError(PeerError):
    """Not a token or receipt, not signed by its author, or not for this node and time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayToken:
    """`asker` wants `relay` to relay up to `quota` bytes for its users until `not_after`."""

    asker: NodeId
    relay: NodeId
    nonce: bytes
    not_after: int
    quota: int
    "Bytes, both directions added."

    def sign(self, key: NodeKey, network: Network) -> bytes:
        """The encoded token."""
        values = [VERSION, bytes(self.asker), bytes(self.relay), self.nonce]
        return _signed("relay1", [*values, self.not_after, self.quota], key, network)

    @classmethod
    def verify(
        cls, data: bytes, *, asker: NodeId, relay: NodeId, network: Network, now: UnixTime
    ) -> Self:
        """Read a token that `asker` shows to `relay`.

        Raises:
            RelayTokenError: malformed, of or for somebody else, or not valid now.
        """
        _, signer, for_relay, nonce, not_after, quota = _opened("relay1", data, 6, network)
        if signer != asker or for_relay != bytes(relay):
            raise RelayTokenError("the token is of or for another node")
        _check(nonce, not_after, quota)
        if not now - CLOCK_SKEW < not_after <= now + MAX_TOKEN_SECONDS + CLOCK_SKEW:
            raise RelayTokenError("the token has expired, or lasts too long")
        return cls(asker=asker, relay=relay, nonce=nonce, not_after=not_after, quota=quota)


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayReceipt:
    """`relay` says what it relayed for `asker` under a token."""

    relay: NodeId
    asker: NodeId
    nonce: bytes
    "The token's."
    begun: int
    ended: int
    "Until when this counts; a later receipt of the same nonce includes it."
    bytes_to_peers: int
    bytes_to_clients: int

    def sign(self, key: NodeKey, network: Network) -> bytes:
        """The encoded receipt."""
        values = [VERSION, bytes(self.relay), bytes(self.asker), self.nonce, self.begun]
        values += [self.ended, self.bytes_to_peers, self.bytes_to_clients]
        return _signed("rcpt1", values, key, network)

    @classmethod
    def verify(
        cls, data: bytes, *, relay: NodeId, asker: NodeId, nonce: bytes, network: Network
    ) -> Self:
        """Read a receipt for the token with this nonce.

        Raises:
            RelayTokenError: malformed, of or for somebody else, or of another token.
        """
        values = _opened("rcpt1", data, 8, network)
        _, signer, for_asker, of_nonce, begun, ended, to_peers, to_clients = values
        if signer != relay or for_asker != bytes(asker) or of_nonce != nonce:
            raise RelayTokenError("the receipt is of or for another node, or another token")
        _check(of_nonce, begun, ended, to_peers, to_clients)
        return cls(
            relay=relay,
            asker=asker,
            nonce=nonce,
            begun=begun,
            ended=ended,
            bytes_to_peers=to_peers,
            bytes_to_clients=to_clients,
        )


def _signed(tag: str, values: list[Any], key: NodeKey, network: Network) -> bytes:
    signature = key.sign(network.context(tag) + msgpack.packb(values))
    return bytes(msgpack.packb([*values, signature]))


def _opened(tag: str, data: bytes, count: int, network: Network) -> list[Any]:
    """The values of a signed array: of a known version, its second one the signer's key."""
    try:
        *values, signature = unpack_array(data, limit=MAX_BYTES)
        if msgpack.packb([*values, signature]) != data or len(values) != count:
            raise RelayTokenError("not in its one encoding")
        signer = NodeId(values[1])
    except (CodecError, KeyFormatError, ValueError, TypeError, IndexError) as error:
        raise RelayTokenError("not a token or receipt") from error
    if values[0] != VERSION or not isinstance(signature, bytes):
        raise RelayTokenError("of an unknown version")
    if len(signature) != SIGNATURE_BYTES:
        raise RelayTokenError("the signature has not 64 bytes")
    try:
        signer.verify(signature, network.context(tag) + msgpack.packb(values))
    except SignatureError as error:
        raise RelayTokenError("the signature does not hold") from error
    return values


def _check(nonce: Any, *numbers: Any) -> None:
    if not isinstance(nonce, bytes) or len(nonce) != NONCE_BYTES:
        raise RelayTokenError("the nonce has not 16 bytes")
    for number in numbers:
        if type(number) is not int or not 0 <= number <= _MAX_INT:
            raise RelayTokenError("a time or an amount is no number")
