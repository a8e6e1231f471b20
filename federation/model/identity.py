"""Ed25519 keys that name nodes and accounts (RFC 8032).

A public key *is* the name: whoever can sign with it is the node or account. `cryptography`
accepts small-order keys, for which one fixed signature holds over many messages, so those and
every non-canonical encoding are refused when a `PublicKey` is made.
"""

import base64
from functools import lru_cache
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from federation.model.errors import PeerError, SignatureError

KEY_BYTES = 32
SIGNATURE_BYTES = 64
KEY_NAME_SUFFIX = ".ringmesh.alt"
"The domain under which every node key is a name of its own (RFC 9476: never in DNS)."
_TEXT_CHARACTERS = 52
_PRIME = 2**255 - 19
_SMALL_ORDER_Y = frozenset(
    {
        0,
        1,
        2707385501144840649318225287225658788936804267575313519463743609750303402022,
        55188659117513257062467267217118295137698188065244968500265048394206261417927,
        _PRIME - 1,
    }
)
"The y coordinates of the eight points whose order divides 8."


class KeyFormatError(PeerError):
    """These bytes or this text are not a key that may be used."""


class PublicKey(bytes):
    """A 32-byte Ed25519 public key of full order in its canonical encoding."""

    __slots__ = ()

    def __new__(cls, raw: bytes) -> Self:
        """Check and wrap raw key bytes.

        Raises:
            KeyFormatError: wrong length, non-canonical, or of small order.
        """
        if len(raw) != KEY_BYTES:
            raise KeyFormatError(f"a key has {KEY_BYTES} bytes, not {len(raw)}")
        y = int.from_bytes(raw, "little") & ((1 << 255) - 1)
        if y >= _PRIME or y in _SMALL_ORDER_Y:
            raise KeyFormatError("the key is not canonical or of small order")
        return super().__new__(cls, raw)

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read the base32 form (52 characters, lower case, no padding).

        Raises:
            KeyFormatError: not the one text form of a usable key.
        """
        if len(text) != _TEXT_CHARACTERS:
            raise KeyFormatError(f"a key's text has {_TEXT_CHARACTERS} characters, not {len(text)}")
        try:
            raw = base64.b32decode(text.upper() + "====")
        except ValueError as error:
            raise KeyFormatError("a key's text is base32") from error
        key = cls(raw)
        if key.text != text:
            raise KeyFormatError("a key's text is lower-case base32 without spare bits")
        return key

    @property
    def text(self) -> str:
        """Base32, lower case, no padding."""
        return _text_of(self)

    def verify(self, signature: bytes, message: bytes) -> None:
        """Check an Ed25519 signature by this key.

        Raises:
            SignatureError: the signature does not hold.
        """
        try:
            _loaded(bytes(self)).verify(signature, message)
        except InvalidSignature as error:
            raise SignatureError("the signature does not hold") from error
        except ValueError as error:
            raise SignatureError("the key is not a point of the curve") from error

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.text[:8]}…)"


@lru_cache(maxsize=4096)
def _text_of(raw: bytes) -> str:
    return base64.b32encode(raw).decode("ascii").rstrip("=").lower()


@lru_cache(maxsize=4096)
def _loaded(raw: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(raw)


class NodeId(PublicKey):
    """The public key of a node."""

    __slots__ = ()

    @property
    def key_name(self) -> str:
        """The domain that proves itself: `<base32>.ringmesh.alt`."""
        return self.text + KEY_NAME_SUFFIX

    @classmethod
    def from_key_name(cls, domain: str) -> Self:
        """Read a key name, in any case.

        Raises:
            KeyFormatError: the domain is not a key name.
        """
        lowered = domain.lower().rstrip(".")
        if not lowered.endswith(KEY_NAME_SUFFIX):
            raise KeyFormatError(f"a key name ends in {KEY_NAME_SUFFIX}")
        return cls.from_text(lowered.removesuffix(KEY_NAME_SUFFIX))


class AccountId(PublicKey):
    """The public key of an account (a user or a trunk)."""

    __slots__ = ()


class SigningKey:
    """A private Ed25519 key. `seed` is the secret; it is shown nowhere else."""

    __slots__ = ("_private", "public")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != KEY_BYTES:
            raise KeyFormatError(f"a key's seed has {KEY_BYTES} bytes, not {len(seed)}")
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = PublicKey(
            self._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        )

    @property
    def seed(self) -> bytes:
        """The 32 secret bytes."""
        return self._private.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())

    @property
    def private(self) -> Ed25519PrivateKey:
        """The key as `cryptography` knows it, for certificates."""
        return self._private

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature over `message`."""
        return self._private.sign(message)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.public.text[:8]}…)"


class NodeKey(SigningKey):
    """The private key of a node."""

    __slots__ = ("id",)

    def __init__(self, seed: bytes) -> None:
        super().__init__(seed)
        self.id = NodeId(self.public)


class AccountKey(SigningKey):
    """The private key of an account, kept for it by its node."""

    __slots__ = ("id",)

    def __init__(self, seed: bytes) -> None:
        super().__init__(seed)
        self.id = AccountId(self.public)
