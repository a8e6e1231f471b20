"""Who may use the relay: accounts by login or USERHASH, and time-limited user names.

An account's long-term keys are what the node stores for SIP digest anyway: MD5 and SHA-256 of
`login:realm:password` (RFC 8489 section 18.5.1). A time-limited user name is `expiry:login`, where
`expiry` is a Unix time; its password is base64(HMAC-SHA1(secret, user name)). Whoever holds the
secret can hand out such names without storing them.
"""

import base64
import hashlib
import hmac
from dataclasses import dataclass

from federation.model.clocks import UnixTime
from media_relay.stun.attributes import PasswordAlgorithm

MD5_BYTES = 16
SHA256_BYTES = 32
_MAX_EXPIRY_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Account:
    """One account's login and keys."""

    login: str
    md5: bytes
    sha256: bytes

    def __repr__(self) -> str:
        return f"Account({self.login!r})"

    def key(self, algorithm: PasswordAlgorithm) -> bytes:
        """The long-term key by this algorithm."""
        return self.md5 if algorithm is PasswordAlgorithm.MD5 else self.sha256


class Credentials:
    """All accounts of the node, as one worker knows them."""

    def __init__(self, realm: str, rest_secret: bytes | None = None) -> None:
        self.realm = realm
        self.rest_secret = rest_secret
        self._accounts: dict[str, Account] = {}
        self._by_userhash: dict[bytes, Account] = {}
        self._nobody = Account("", bytes(MD5_BYTES), bytes(SHA256_BYTES))

    def put(self, account: Account) -> None:
        """Add an account, or change its keys."""
        self._accounts[account.login] = account
        self._by_userhash[self._userhash(account.login)] = account

    def remove(self, login: str) -> None:
        """Forget an account, if it is known."""
        if self._accounts.pop(login, None) is not None:
            del self._by_userhash[self._userhash(login)]

    def knows(self, login: str) -> bool:
        """Whether there is such an account."""
        return login in self._accounts

    def __len__(self) -> int:
        return len(self._accounts)

    def by_username(self, username: str, *, unix: UnixTime) -> Account | None:
        """The account behind a login, or behind a time-limited name that has not expired."""
        account = self._accounts.get(username)
        if account is None and self.rest_secret is not None:
            expiry, colon, login = username.partition(":")
            if (
                colon
                and login in self._accounts
                and expiry.isascii()
                and expiry.isdigit()
                and len(expiry) <= _MAX_EXPIRY_DIGITS
                and int(expiry) > unix
            ):
                password = time_limited_password(self.rest_secret, username)
                account = _derive(login, username, self.realm, password)
        return account

    def by_userhash(self, userhash: bytes) -> Account | None:
        """The account whose SHA-256(login:realm) this is (RFC 8489 section 14.4)."""
        return self._by_userhash.get(userhash)

    @property
    def nobody(self) -> Account:
        """Keys to check against where there is no account, so that it takes as long."""
        return self._nobody

    def _userhash(self, login: str) -> bytes:
        return hashlib.sha256(f"{login}:{self.realm}".encode()).digest()


def time_limited_password(secret: bytes, username: str) -> str:
    """The password of a time-limited user name."""
    return base64.b64encode(hmac.digest(secret, username.encode(), "sha1")).decode()


def account_of(login: str, realm: str, password: str) -> Account:
    """An account with the keys of a password."""
    return _derive(login, login, realm, password)


def _derive(login: str, username: str, realm: str, password: str) -> Account:
    text = f"{username}:{realm}:{password}".encode()
    return Account(
        login,
        hashlib.md5(text, usedforsecurity=False).digest(),
        hashlib.sha256(text).digest(),
    )
