"""Bodies that only the asked node can read: X25519, HKDF-SHA256, AES-128-GCM.

A sealed request is `ephemeral X25519 key 32 || ciphertext`; its answers are sealed under a second
key from the same exchange, as `nonce 12 || ciphertext`. Both are bound to the frame's header. The
request's key encrypts once, so its nonce is zero; a repeated request may be answered with other
bytes, so every answer draws a nonce.
"""

from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from dht.frame import FrameError
from federation.model.clocks import Entropy

EPHEMERAL_BYTES = 32
SEAL_OVERHEAD = EPHEMERAL_BYTES + 16
"Bytes a sealed request has beyond its body."
NONCE_BYTES = 12
ANSWER_OVERHEAD = NONCE_BYTES + 16
_INFO = b"dht1 seal"
_ZERO = bytes(NONCE_BYTES)


class SealKeys(NamedTuple):
    """The two keys of one exchange."""

    request: bytes
    answer: bytes


class SealingKey:
    """This run's X25519 key; a new one each start, so old traffic stays shut."""

    def __init__(self, *, entropy: Entropy) -> None:
        self._private = X25519PrivateKey.from_private_bytes(entropy.token(32))
        self.public = self._private.public_key().public_bytes_raw()

    def open(self, sealed: bytes, header: bytes) -> tuple[bytes, SealKeys]:
        """Open a request's body; the keys seal its answers.

        Raises:
            FrameError: not sealed to this key, or to this frame.
        """
        if len(sealed) < SEAL_OVERHEAD:
            raise FrameError("too short for a sealed body")
        ephemeral, ciphertext = sealed[:EPHEMERAL_BYTES], sealed[EPHEMERAL_BYTES:]
        try:
            shared = self._private.exchange(X25519PublicKey.from_public_bytes(ephemeral))
        except ValueError as error:
            raise FrameError("the ephemeral key is of small order") from error
        keys = _derive(shared, ephemeral, self.public)
        return _open(keys.request, _ZERO, ciphertext, header), keys


class RequestSeal:
    """One exchange with a recipient: seals the request, opens its answers.

    Raises:
        FrameError: the recipient's key is of small order.
    """

    def __init__(self, recipient: bytes, *, entropy: Entropy) -> None:
        private = X25519PrivateKey.from_private_bytes(entropy.token(32))
        self._ephemeral = private.public_key().public_bytes_raw()
        try:
            shared = private.exchange(X25519PublicKey.from_public_bytes(recipient))
        except ValueError as error:
            raise FrameError("the recipient's key is of small order") from error
        self._keys = _derive(shared, self._ephemeral, recipient)

    def seal(self, body: bytes, header: bytes) -> bytes:
        """The sealed body of the request. To be called once for each exchange."""
        return self._ephemeral + AESGCM(self._keys.request).encrypt(_ZERO, body, header)

    def open_answer(self, sealed: bytes, header: bytes) -> bytes:
        """Open one datagram of the answer.

        Raises:
            FrameError: not an answer to this request.
        """
        if len(sealed) < ANSWER_OVERHEAD:
            raise FrameError("too short for a sealed answer")
        return _open(self._keys.answer, sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], header)


def seal_answer(keys: SealKeys, body: bytes, header: bytes, *, entropy: Entropy) -> bytes:
    """The sealed body of one datagram of an answer."""
    nonce = entropy.token(NONCE_BYTES)
    return nonce + AESGCM(keys.answer).encrypt(nonce, body, header)


def _derive(shared: bytes, ephemeral: bytes, recipient: bytes) -> SealKeys:
    info = _INFO + ephemeral + recipient
    okm = HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(shared)
    return SealKeys(okm[:16], okm[16:])


def _open(key: bytes, nonce: bytes, sealed: bytes, header: bytes) -> bytes:
    try:
        return AESGCM(key).decrypt(nonce, sealed, header)
    except InvalidTag as error:
        raise FrameError("the sealed body does not open") from error
