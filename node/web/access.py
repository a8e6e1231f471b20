"""Who may use the web server: one-time links, sessions, tokens and the operator's password (core).

Every secret is random and 160 bits long; kept is only its SHA-256. A one-time link lives in memory,
opens one session and is gone. The password, where the operator has set one, is kept by scrypt.
"""

import base64
import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Iterable

from federation.model.clocks import Clock, Entropy, UnixTime
from node.storage.grants import Grant, GrantBook, GrantKind
from node.storage.writer import Writer

LINK_SECONDS = 3600
"How long a one-time link may be used."
SESSION_SECONDS = 14 * 86_400
MAX_LINKS = 64
MAX_NAME = 64
PASSWORD_NAME = "web-password"  # noqa: S105  (its name among the single values)
LEAST_PASSWORD, LONGEST_PASSWORD = 10, 256
_TOKEN_BYTES = 20
_SALT_BYTES = 16
_SCRYPT = {"n": 1 << 15, "r": 8, "p": 1, "maxmem": 64 << 20, "dklen": 32}
"About 32 MB and a tenth of a second for a try (RFC 7914)."


def new_token(entropy: Entropy) -> str:
    """A secret of 32 characters that can be typed."""
    return base64.b32encode(entropy.token(_TOKEN_BYTES)).decode("ascii").lower()


def digest_of(token: str) -> bytes:
    """What is kept of a secret."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def form_token(session: str) -> str:
    """What a form of a session carries, so that no other site can send one in its name."""
    return hashlib.sha256(b"form " + session.encode("ascii", "replace")).hexdigest()[:32]


class Access:
    """Gives out secrets and knows them again."""

    def __init__(
        self,
        grants: Iterable[Grant],
        password: bytes | None,
        writer: Writer,
        *,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        """`password` is what `set_password` gave, `None` where none was set."""
        self.book = GrantBook(grants, writer)
        self._password = password
        self._writer = writer
        self._clock = clock
        self._entropy = entropy
        self._links: OrderedDict[bytes, UnixTime] = OrderedDict()

    # One-time links

    def link(self) -> str:
        """The secret of a link that opens one session within `LINK_SECONDS`."""
        token = new_token(self._entropy)
        self._links[digest_of(token)] = UnixTime(self._clock.unix() + LINK_SECONDS)
        while len(self._links) > MAX_LINKS:
            self._links.popitem(last=False)
        return token

    def use_link(self, token: str, name: str) -> str | None:
        """The token of a session for a link's secret, which is used up; `None`: it is not valid."""
        until = self._links.pop(digest_of(token), None)
        if until is None or self._clock.unix() >= until:
            return None
        return self.open_session(name)

    # Sessions and tokens

    def open_session(self, name: str) -> str:
        """Let a browser in; returns what its cookie holds."""
        return self._grant(GrantKind.SESSION, name, SESSION_SECONDS)[1]

    def grant_token(self, name: str, seconds: int | None) -> tuple[Grant, str]:
        """Let a program in, for some seconds or until it is revoked."""
        return self._grant(GrantKind.TOKEN, name, seconds)

    def check(self, kind: GrantKind, token: str) -> Grant | None:
        """The grant of a token, if it holds."""
        grant = self.book.get(digest_of(token), now=self._clock.unix())
        return grant if grant is not None and grant.kind is kind else None

    def _grant(self, kind: GrantKind, name: str, seconds: int | None) -> tuple[Grant, str]:
        token, now = new_token(self._entropy), self._clock.unix()
        grant = Grant(
            digest=digest_of(token),
            kind=kind,
            name=name[:MAX_NAME],
            since=now,
            until=None if seconds is None else UnixTime(now + seconds),
        )
        self.book.put(grant, now=now)
        return grant, token

    # The operator's password

    @property
    def has_password(self) -> bool:
        """Whether one was set."""
        return self._password is not None

    def set_password(self, password: str | None) -> None:
        """Take another password, or none; sessions go on."""
        if password is None:
            self._password = None
            self._writer.remove("meta", (PASSWORD_NAME,))
            return
        salt = self._entropy.token(_SALT_BYTES)
        self._password = salt + _hashed(password, salt)
        self._writer.put("meta", (PASSWORD_NAME,), {"name": PASSWORD_NAME, "value": self._password})

    def is_password(self, password: str) -> bool:
        """Whether it is the one that was set. Takes a tenth of a second: not for the loop."""
        if self._password is None:
            return False
        salt, kept = self._password[:_SALT_BYTES], self._password[_SALT_BYTES:]
        return hmac.compare_digest(_hashed(password, salt), kept)


def _hashed(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode("utf-8", "surrogatepass"), salt=salt, **_SCRYPT)
