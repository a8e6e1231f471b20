"""Digest authentication of requests (RFC 3261 22, RFC 7616, RFC 8760), server side.

One realm everywhere, `ringmesh`, so that one hash of a password serves every place. SHA-256 is
offered before MD5, each in a header line of its own. A digest is computed and compared whether or
not the user exists, so that neither the answer nor its time tells a guesser which logins there are
(an account that is restricted to one algorithm shows by its challenge).

With a secret made anew at each start, a phone's first request after a restart earns a challenge
with `stale=true`, which it answers without asking its user; what was sniffed before the restart is
worth nothing. A secret that is kept would let counts used before the restart be used once more.
"""

import enum
import hashlib
import hmac
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from federation.model.clocks import Entropy, UnixTime
from node.sip.auth_params import parse_auth_params
from node.sip.errors import SipParseError
from node.sip.message import Request
from node.sip.nonce import MAX_NONCES, NONCE_LIFETIME, NonceKeeper, NonceState
from node.sip.uri import Uri

REALM: Final = "ringmesh"
MAX_CREDENTIALS: Final = 4
"Credentials of one realm that are looked at in one request."
MAX_SOURCES: Final = 10_000
"Sources whose failures are counted; beyond it the one that failed longest ago is forgotten."
FAILURE_WINDOW: Final = 600.0
"Seconds without a failure after which a source starts at none again."

_COUNT: Final = re.compile(r"[0-9A-Fa-f]{8}")
_RESPONSE: Final = re.compile(r"[0-9A-Fa-f]{32,64}")


class DigestPreference(enum.StrEnum):
    """Which algorithms an account's devices are offered, and may use."""

    BOTH = "both"
    MD5 = "md5"
    SHA256 = "sha256"


class Algorithm(enum.Enum):
    """A hash for digests, named as on the wire."""

    SHA256 = "SHA-256"
    MD5 = "MD5"

    def hash(self, data: bytes) -> str:
        """The hash in lower-case hex."""
        if self is Algorithm.MD5:
            return hashlib.md5(data, usedforsecurity=False).hexdigest()
        return hashlib.sha256(data).hexdigest()


_ALLOWED: Final = {
    DigestPreference.BOTH: (Algorithm.SHA256, Algorithm.MD5),
    DigestPreference.MD5: (Algorithm.MD5,),
    DigestPreference.SHA256: (Algorithm.SHA256,),
}
_ALGORITHMS: Final = {"md5": Algorithm.MD5, "sha-256": Algorithm.SHA256}


class Role(enum.Enum):
    """Who asks: a registrar answers 401, a proxy 407 (RFC 3261 22.2, 22.3)."""

    REGISTRAR = (401, "WWW-Authenticate", "Authorization", "authorization")
    PROXY = (407, "Proxy-Authenticate", "Proxy-Authorization", "proxy-authorization")

    @property
    def status(self) -> int:
        """Of the response that asks."""
        return self._value_[0]

    @property
    def challenge(self) -> str:
        """The header field that asks."""
        return self._value_[1]

    @property
    def credentials(self) -> str:
        """The header field that answers."""
        return self._value_[2]

    @property
    def credentials_key(self) -> str:
        """The same, in lower case."""
        return self._value_[3]


class StoredCredential(NamedTuple):
    """What a digest with one user name is checked against."""

    login: str
    ha1_md5: str
    ha1_sha256: str
    preference: DigestPreference = DigestPreference.BOTH


CredentialSource = Callable[[str], StoredCredential | None]
"Finds the credential for a user name as sent: a login or `login@domain`."


class Failure(enum.Enum):
    """Why a request was challenged."""

    MISSING = "missing"
    "No credentials for the realm: the ordinary first request."
    MALFORMED = "malformed"
    "Credentials that break RFC 7616, or are for another Request-URI."
    WRONG = "wrong"
    "No such user or no such password."
    STALE = "stale"
    "Good, but for a nonce that is too old or was made before a restart."
    REPLAYED = "replayed"
    "Good, but used before."


class Verified(NamedTuple):
    """The request was sent by somebody who knows the password of `login`."""

    login: str
    username: str
    "As sent; `login@domain` where the phone was told so."
    algorithm: Algorithm


class Challenge(NamedTuple):
    """The request proves nothing; answer with this status and these header fields."""

    status: int
    headers: tuple[tuple[str, str], ...]
    failure: Failure


@dataclass(slots=True, init=False)
class DigestCredentials:
    """The parameters of one Authorization or Proxy-Authorization line; nobody changes them."""

    username: str
    realm: str
    nonce: str
    uri: str
    response: str
    algorithm: Algorithm
    qop: str
    cnonce: str
    count_text: str

    def __init__(
        self,
        username: str,
        realm: str,
        nonce: str,
        uri: str,
        response: str,
        algorithm: Algorithm,
        qop: str,
        cnonce: str,
        count_text: str,
    ) -> None:
        self.username = username
        self.realm = realm
        self.nonce = nonce
        self.uri = uri
        self.response = response
        self.algorithm = algorithm
        self.qop = qop
        self.cnonce = cnonce
        self.count_text = count_text

    @classmethod
    def parse(cls, text: str) -> "DigestCredentials":
        """Read a line's value. `qop` and all that goes with it is required (RFC 7616 3.4).

        Raises:
            SipParseError: not Digest credentials that could be verified.
        """
        return cls.from_params(parse_auth_params(text))

    @classmethod
    def from_params(cls, params: Mapping[str, str]) -> "DigestCredentials":
        """The same, of a line that was cut into parameters.

        Raises:
            SipParseError: a parameter is missing or cannot be.
        """
        try:
            found = cls(
                params["username"],
                params["realm"],
                params["nonce"],
                params["uri"],
                params["response"].lower(),
                _ALGORITHMS[params.get("algorithm", "MD5").lower()],
                params["qop"].lower(),
                params["cnonce"],
                params["nc"],
            )
        except KeyError as error:
            raise SipParseError(400, "Incomplete credentials") from error
        if (
            found.qop not in ("auth", "auth-int")
            or not _COUNT.fullmatch(found.count_text)
            or not _RESPONSE.fullmatch(found.response)
        ):
            raise SipParseError(400, "Bad credentials")
        return found

    def expected_response(self, ha1: str, method: str, body: bytes) -> str:
        """What `response` has to be for these parameters (RFC 7616 3.4.1)."""
        digest = self.algorithm.hash
        a2 = f"{method}:{self.uri}"
        if self.qop == "auth-int":
            a2 = f"{a2}:{digest(body)}"
        ha2 = digest(a2.encode("utf-8", "surrogateescape"))
        joined = f"{ha1}:{self.nonce}:{self.count_text}:{self.cnonce}:{self.qop}:{ha2}"
        return digest(joined.encode("utf-8", "surrogateescape"))


class FailureLog:
    """How often each source failed lately. Bounded; not yet a judgement."""

    def __init__(self, *, limit: int = MAX_SOURCES, window: float = FAILURE_WINDOW) -> None:
        self._limit = limit
        self._window = window
        self._sources: OrderedDict[str, tuple[int, UnixTime]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sources)

    def add(self, source: str, *, now: UnixTime) -> int:
        """Count a failure and return how many there are."""
        failures = self.count(source, now=now) + 1
        self._sources[source] = (failures, now)
        self._sources.move_to_end(source)
        if len(self._sources) > self._limit:
            self._sources.popitem(last=False)
        return failures

    def count(self, source: str, *, now: UnixTime) -> int:
        """Failures of a source without a pause of the window's length between them."""
        failures, last = self._sources.get(source, (0, now))
        return failures if now - last < self._window else 0


class DigestAuthenticator:
    """Challenges requests and verifies the answers."""

    def __init__(
        self,
        credentials: CredentialSource,
        *,
        secret: bytes,
        entropy: Entropy,
        lifetime: float = NONCE_LIFETIME,
        max_nonces: int = MAX_NONCES,
        offer_integrity: bool = False,
        md5_first: Sequence[str] = (),
        md5_only: Sequence[str] = (),
    ) -> None:
        """`offer_integrity` offers auth-int too, which is accepted in any case.

        A device whose User-Agent begins with one of `md5_first` finds MD5 in the first line, one
        of `md5_only` finds nothing else: some give up at a challenge they do not know.
        """
        self._credentials = credentials
        self._secret = secret
        self._nonces = NonceKeeper(secret, entropy=entropy, lifetime=lifetime, limit=max_nonces)
        self._qop = "auth,auth-int" if offer_integrity else "auth"
        self._md5_first = tuple(md5_first)
        self._md5_only = tuple(md5_only)
        self.failures = FailureLog()
        "Wrong passwords and unknown users by source host."

    def authenticate(
        self, request: Request, role: Role, *, source: str, now: UnixTime
    ) -> Verified | Challenge:
        """Find out who sent a request. `source` is the host that it came from.

        Never call it for ACK or CANCEL, which cannot be challenged (RFC 3261 22.1).
        """
        ours, broken = self._ours(request, role)
        if not ours:
            failure = Failure.MALFORMED if broken else Failure.MISSING
            return self.challenge(request, role, failure, now=now)
        credentials = ours[0]
        if not same_target(credentials.uri, request):
            return self.challenge(request, role, Failure.MALFORMED, now=now)
        login = self._login_behind(credentials, request)
        if login is None:
            self.failures.add(source, now=now)
            return self.challenge(request, role, Failure.WRONG, now=now)
        state = self._nonces.use(credentials.nonce, int(credentials.count_text, 16), now=now)
        if state is not NonceState.GOOD:
            failure = Failure.STALE if state is NonceState.STALE else Failure.REPLAYED
            return self.challenge(request, role, failure, now=now)
        return Verified(login, credentials.username, credentials.algorithm)

    def challenge(
        self, request: Request, role: Role, failure: Failure, *, now: UnixTime
    ) -> Challenge:
        """The answer that asks for credentials."""
        stale = ", stale=true" if failure in (Failure.STALE, Failure.REPLAYED) else ""
        rest = f', nonce="{self._nonces.make(now=now)}"{stale}, qop="{self._qop}"'
        headers = tuple(
            (role.challenge, f'Digest realm="{REALM}"{rest}, algorithm={algorithm.value}')
            for algorithm in self._offer(request)
        )
        return Challenge(role.status, headers, failure)

    def _offer(self, request: Request) -> tuple[Algorithm, ...]:
        try:
            user = request.from_.uri.user or ""
        except SipParseError:
            user = ""
        credential = self._credentials(user)
        allowed = _ALLOWED[credential.preference if credential else DigestPreference.BOTH]
        if len(allowed) > 1 and (self._md5_first or self._md5_only):
            agent = request.get("User-Agent") or ""
            if agent.startswith(self._md5_only):
                return (Algorithm.MD5,)
            if agent.startswith(self._md5_first):
                return allowed[::-1]
        return allowed

    def _ours(self, request: Request, role: Role) -> tuple[list[DigestCredentials], bool]:
        """Our realm's credentials, the stronger algorithm first, and whether any are broken."""
        found: list[DigestCredentials] = []
        broken = False
        for line in request.lines(role.credentials_key)[:MAX_CREDENTIALS]:
            try:
                if line.value is None:
                    raise SipParseError(400, "Bad credentials")
                credentials = DigestCredentials.from_params(line.value)
            except SipParseError:
                broken = True
                continue
            if credentials.realm == REALM:
                found.append(credentials)
        if len(found) > 1:
            found.sort(key=lambda credentials: credentials.algorithm is Algorithm.MD5)
        return found, broken

    def _login_behind(self, credentials: DigestCredentials, request: Request) -> str | None:
        """The login whose password made the response; costs the same if there is none."""
        username = credentials.username.encode("utf-8", "surrogateescape")
        nobody = hashlib.blake2s(username, key=self._secret).hexdigest()
        stored = self._credentials(credentials.username) or StoredCredential(
            "", nobody[:32], nobody
        )
        is_md5 = credentials.algorithm is Algorithm.MD5
        ha1 = stored.ha1_md5 if is_md5 else stored.ha1_sha256
        expected = credentials.expected_response(ha1, request.method, request.body)
        is_right = hmac.compare_digest(expected, credentials.response)
        is_allowed = credentials.algorithm in _ALLOWED[stored.preference]
        return stored.login if is_right and is_allowed and stored.login else None


def same_target(text: str, request: Request) -> bool:
    """Whether a digest's `uri` is the Request-URI (RFC 3261 22.4 item 1).

    Parameters, a port that only one of them names and the case of the host may differ: phones add
    `;transport=` to one of the two.
    """
    if text == request.raw_uri:
        return True
    try:
        theirs, target = Uri.parse(text), request.uri
    except SipParseError:
        return False
    if not (theirs.is_sip and target.is_sip):
        return theirs.same_as(target)
    ports = {theirs.port, target.port} - {None}
    return theirs.host == target.host and theirs.user_text == target.user_text and len(ports) <= 1


def strip_credentials(request: Request, role: Role) -> None:
    """Take our realm's credentials out of a request that goes on; others' stay (RFC 3261 22.3)."""
    if request.has(role.credentials_key):
        request.keep(role.credentials_key, lambda line: not _is_ours(line.value))


def _is_ours(params: Mapping[str, str] | None) -> bool:
    return params is not None and params.get("realm") == REALM
