"""The long-term credential mechanism, as a server sees it (RFC 8489 section 9.2.4).

Nothing is remembered about a client: a nonce proves itself. Whether an account exists cannot be
told from an answer, nor from the time it takes.
"""

from dataclasses import dataclass

from federation.model.clocks import Monotonic, UnixTime
from media_relay.stun.attributes import Attribute, Code, PasswordAlgorithm
from media_relay.stun.message import Key, Message, StunError
from media_relay.stun.values import (
    MAX_USERNAME_BYTES,
    PASSWORD_ALGORITHMS,
    read_password_algorithm,
    read_text,
)
from media_relay.turn.credentials import SHA256_BYTES, Account, Credentials
from media_relay.turn.nonce import (
    PASSWORD_ALGORITHMS_BIT,
    USERNAME_ANONYMITY_BIT,
    Nonces,
    Validity,
    features_of,
)


@dataclass(frozen=True, slots=True)
class Authenticated:
    """The request was made by whoever has this account's password."""

    login: str
    key: Key
    "Also signs the response."


@dataclass(frozen=True, slots=True)
class Challenge:
    """It was not, or cannot be told: the code to answer with."""

    code: Code


class Authenticator:
    """Checks requests against credentials, and writes the attributes of a challenge."""

    def __init__(self, credentials: Credentials, nonces: Nonces) -> None:
        self.credentials = credentials
        self.nonces = nonces

    def check(
        self, request: Message, source: str, *, now: Monotonic, unix: UnixTime
    ) -> Authenticated | Challenge:
        """Decide whose request this is, in the order of RFC 8489 section 9.2.4."""
        if not request.has_integrity and not request.has_integrity_sha256:
            return Challenge(Code.UNAUTHENTICATED)
        realm, nonce_bytes = request.get(Attribute.REALM), request.get(Attribute.NONCE)
        if realm is None or nonce_bytes is None:
            return Challenge(Code.BAD_REQUEST)
        try:
            nonce = read_text(nonce_bytes)
            algorithm = self._algorithm(request, nonce)
            account = self._account(request, unix)
        except StunError:
            return Challenge(Code.BAD_REQUEST)
        known = account or self.credentials.nobody
        key = Key(known.key(algorithm), is_sha256=request.has_integrity_sha256)
        signed = request.is_signed_by(key)
        if account is None or not signed or realm != self.credentials.realm.encode():
            return Challenge(Code.UNAUTHENTICATED)
        if self.nonces.check(nonce, source, now=now) is not Validity.GOOD:
            return Challenge(Code.STALE_NONCE)
        return Authenticated(account.login, key)

    def challenge(
        self, source: str, *, now: Monotonic, algorithms: bool = True
    ) -> list[tuple[int, bytes]]:
        """REALM, NONCE and PASSWORD-ALGORITHMS of a 401 or 438.

        Without `algorithms` the answer is as short as RFC 5389 would have it.
        """
        features = 0
        if algorithms:
            # A time-limited name is made up by others and has no USERHASH we could look up.
            anonymous = self.credentials.rest_secret is None
            features = PASSWORD_ALGORITHMS_BIT | (USERNAME_ANONYMITY_BIT if anonymous else 0)
        nonce = self.nonces.issue(source, features=features, now=now)
        attributes: list[tuple[int, bytes]] = [
            (Attribute.REALM, self.credentials.realm.encode()),
            (Attribute.NONCE, nonce.encode()),
        ]
        if algorithms:
            attributes.append((Attribute.PASSWORD_ALGORITHMS, PASSWORD_ALGORITHMS))
        return attributes

    def _account(self, request: Message, unix: UnixTime) -> Account | None:
        username, userhash = request.get(Attribute.USERNAME), request.get(Attribute.USERHASH)
        if username is not None:
            text = read_text(username, MAX_USERNAME_BYTES)
            return self.credentials.by_username(text, unix=unix)
        if userhash is None or len(userhash) != SHA256_BYTES:
            raise StunError("neither USERNAME nor USERHASH")
        return self.credentials.by_userhash(userhash)

    @staticmethod
    def _algorithm(request: Message, nonce: str) -> PasswordAlgorithm:
        """Which key; StunError where somebody on the way took algorithms from our offer."""
        offered = request.get(Attribute.PASSWORD_ALGORITHMS)
        chosen = request.get(Attribute.PASSWORD_ALGORITHM)
        if not features_of(nonce) & PASSWORD_ALGORITHMS_BIT or (offered is None and chosen is None):
            return PasswordAlgorithm.MD5
        if offered != PASSWORD_ALGORITHMS or chosen is None:
            raise StunError("not the algorithms that were offered")
        return read_password_algorithm(chosen)
