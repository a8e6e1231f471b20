"""Tokens in our Record-Route URIs.

A token is the user part of every Record-Route URI this node writes:
`<side><16 hex digits of BLAKE2s(side, Call-ID), keyed with the secret>`. It carries its own proof,
so a route set is recognised without a table: whoever shows one for a Call-ID was given it by us, in
that call. Which dialog a request belongs to is then found by Call-ID and tags.
"""

import hmac
from functools import lru_cache
from hashlib import blake2s

from node.sip.uri import Uri

SECRET_BYTES = 32
_MAC_BYTES = 8
_MARK_BYTES = 6
REMEMBERED = 2048
"Tokens kept for the next message of their call; each can be made anew."
PHONE_SIDE = "p"
MESH_SIDE = "m"


class RouteTokens:
    """Makes and recognises the tokens of one node."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._made = lru_cache(maxsize=REMEMBERED)(self._make)

    def issue(self, side: str, call_id: str) -> str:
        """The user part for a Record-Route URI of `side` in the call `call_id`."""
        return self._made(side, call_id)

    def _make(self, side: str, call_id: str) -> str:
        text = _bytes(f"{side}\0{call_id}")
        return side + blake2s(text, key=self._secret, digest_size=_MAC_BYTES).hexdigest()

    def digest(self, text: str) -> str:
        """Twelve characters that only this node can make of `text`."""
        data = _bytes(f"loop\0{text}")
        return blake2s(data, key=self._secret, digest_size=_MARK_BYTES).hexdigest()

    def is_ours(self, uri: Uri, call_id: str) -> bool:
        """Whether this Route URI was issued by this node in the call `call_id`."""
        token = uri.user
        if not token or token[0] not in (PHONE_SIDE, MESH_SIDE):
            return False
        return hmac.compare_digest(_bytes(token), _bytes(self.issue(token[0], call_id)))


def _bytes(text: str) -> bytes:
    """The bytes that came, whether they were UTF-8 or not."""
    return text.encode("utf-8", "surrogateescape")
