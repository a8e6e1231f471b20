"""A user or a trunk, and the hashes that stand for its password."""

import enum
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

from federation.model.clocks import UnixTime
from federation.model.identity import AccountId, AccountKey
from federation.model.number import Number
from node.sip.digest import REALM, DigestPreference, StoredCredential


class AccountKind(enum.StrEnum):
    """What registers under an account."""

    USER = "user"
    "A person's devices."
    TRUNK = "trunk"
    "A PBX, with extensions behind it."
    GROUP = "group"
    "Nothing: its calls ring other accounts."


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordHashes:
    """All that is kept of a password: enough to check a digest, not to show it again."""

    username: str
    "The user name that the hashes are for: the login, or `login@domain`."
    ha1_md5: str
    "MD5(username:realm:password), hex (RFC 3261 22.4)."
    ha1_sha256: str
    "SHA-256 of the same, hex (RFC 8760)."

    @classmethod
    def of(cls, username: str, password: str) -> "PasswordHashes":
        """Hash a password for one user name."""
        secret = f"{username}:{REALM}:{password}".encode()
        return cls(
            username=username,
            ha1_md5=hashlib.md5(secret, usedforsecurity=False).hexdigest(),
            ha1_sha256=hashlib.sha256(secret).hexdigest(),
        )


@dataclass(frozen=True, kw_only=True)
class Account:
    """An account of this node. Its key is its identity: the number follows from it."""

    login: str
    kind: AccountKind
    name: str
    "Shown to those who are called; empty for none."
    id: AccountId
    "The account's public key."
    seed: bytes = field(repr=False)
    "The 32 secret bytes of its key."
    number: Number | None
    "`None` until it was derived; the account can be used before."
    extension: str | None
    "Short number within the node."
    hashes: PasswordHashes = field(repr=False)
    "For the login itself."
    aliases: tuple[PasswordHashes, ...] = field(repr=False)
    "For `login@domain`, as many phones send it: one a domain known when the password was set."
    digest: DigestPreference
    "Which digest algorithms its devices are offered."
    created_at: UnixTime

    @cached_property
    def key(self) -> AccountKey:
        """The private key, to sign with."""
        return AccountKey(self.seed)

    @property
    def userhash(self) -> bytes:
        """SHA-256(login:realm), which hides the login in TURN (RFC 8489 14.4)."""
        return hashlib.sha256(f"{self.login}:{REALM}".encode()).digest()

    def credential(self, username: str) -> StoredCredential | None:
        """What a digest with this user name is checked against."""
        for hashes in (self.hashes, *self.aliases):
            if hashes.username == username:
                return StoredCredential(self.login, hashes.ha1_md5, hashes.ha1_sha256, self.digest)
        return None


def hash_password(
    login: str, password: str, domains: Iterable[str]
) -> tuple[PasswordHashes, tuple[PasswordHashes, ...]]:
    """Hash a password for the login and for `login@domain` with each domain."""
    names = sorted({name.lower() for name in domains})
    aliases = (PasswordHashes.of(f"{login}@{name}", password) for name in names)
    return PasswordHashes.of(login, password), tuple(aliases)
