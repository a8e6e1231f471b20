"""Globally routable URIs of single devices (RFC 5627).

A public one is the account's address with `gr` naming the instance. A temporary one tells nobody
whose it is: its user part is sealed, and holds the account, the instance and the Call-ID of the
registrations it belongs to. So nothing has to be remembered of those that were given out; each
holds until its device registers with another Call-ID, or not at all (RFC 5627 3.2).
"""

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from federation.model.clocks import Entropy
from node.sip.binding import Binding
from node.sip.uri import Uri

TEMPORARY = "tgruu."
"How the user part of a temporary GRUU begins."
MAX_TEMPORARY = 256
"Characters of such a user part; more is none of ours."
_PLAIN = re.compile(r"[A-Za-z0-9:._+/-]{1,200}")
"Instances that get GRUUs: URNs, which stand in a URI as they are."
_NONCE, _DIGEST = 12, 8


@dataclass(frozen=True, slots=True)
class Device:
    """What a GRUU names."""

    aor: str
    instance: str | None
    "Without its angle brackets; `None` where only its digests are known."
    digest: bytes = b""
    "Of instance and Call-ID, in a temporary GRUU."

    def is_at(self, binding: Binding) -> bool:
        """Whether this is one of the device's bindings."""
        if binding.aor != self.aor or binding.instance is None:
            return False
        if self.instance is not None:
            return _bare(binding.instance) == self.instance
        return hmac.compare_digest(_digest(binding), self.digest)


class Gruus:
    """Makes and reads the GRUUs of one node."""

    def __init__(self, secret: bytes, entropy: Entropy) -> None:
        self._cipher = AESGCM(hmac.digest(secret, b"temporary GRUUs", "sha256"))
        self._entropy = entropy

    def parameters(self, binding: Binding, host: str) -> str:
        """What a 200 to REGISTER adds to a Contact (RFC 5627 5.3); empty: the device gets none."""
        instance = _bare(binding.instance or "")
        if not _PLAIN.fullmatch(instance):
            return ""
        public = f"sip:{binding.aor}@{host};gr={instance}"
        return f';pub-gruu="{public}";temp-gruu="sip:{self._temporary(binding)}@{host};gr"'

    def read(self, uri: Uri) -> Device | None:
        """The device that a URI of this node names; `None`: it is no GRUU."""
        name = uri.param("gr")
        if name is None:
            return None
        user = uri.user or ""
        if name:
            return Device(user.lower(), name)
        return self._opened(user) if user.startswith(TEMPORARY) else None

    def _temporary(self, binding: Binding) -> str:
        nonce = self._entropy.token(_NONCE)
        plain = _digest(binding) + binding.aor.encode()
        sealed = nonce + self._cipher.encrypt(nonce, plain, None)
        return TEMPORARY + base64.b32encode(sealed).decode("ascii").rstrip("=").lower()

    def _opened(self, user: str) -> Device | None:
        text = user[len(TEMPORARY) :].upper()
        if len(user) > MAX_TEMPORARY:
            return None
        try:
            sealed = base64.b32decode(text + "=" * (-len(text) % 8))
            plain = self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], None)
            return Device(plain[_DIGEST:].decode(), None, plain[:_DIGEST])
        except (binascii.Error, InvalidTag, ValueError):
            return None


def wants_gruu(supported: list[str]) -> bool:
    """Whether a REGISTER with these option tags asks for GRUUs (RFC 5627 4.1)."""
    return any(tag.lower() == "gruu" for tag in supported)


def _bare(instance: str) -> str:
    return instance.removeprefix("<").removesuffix(">")


def _digest(binding: Binding) -> bytes:
    text = f"{binding.instance}\0{binding.call_id}".encode("utf-8", "surrogateescape")
    return hashlib.sha256(text).digest()[:_DIGEST]
