"""Digest authentication, client side (RFC 3261 22, RFC 7616, RFC 8760): a core.

One `DigestClient` is what this node knows at one provider. It answers challenges, and remembers the
last one, so that the next request can prove itself at once. Challenges of other schemes, algorithms
or qualities of protection are passed over; SHA-256 is chosen before MD5.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Final

from federation.model.clocks import Entropy
from node.sip.auth_params import parse_auth_params
from node.sip.errors import SipParseError
from node.sip.message import Request, Response
from node.sip.text import quote

MAX_CHALLENGES: Final = 8
"Challenges of one response that are looked at."
MAX_REMEMBERED: Final = 16
"Challenges kept, by the field that they came in and their realm."
MAX_COUNT: Final = 0xFFFFFFFF
_CNONCE_BYTES: Final = 8
_ALGORITHMS: Final = {"sha-256": "SHA-256", "md5": "MD5"}
_FIELDS: Final = {
    401: ("WWW-Authenticate", "Authorization"),
    407: ("Proxy-Authenticate", "Proxy-Authorization"),
}


@dataclass(frozen=True, slots=True)
class _Asked:
    """One challenge that can be answered."""

    realm: str
    nonce: str
    algorithm: str
    "SHA-256 or MD5, as on the wire."
    is_session: bool
    "The `-sess` form, which mixes nonce and cnonce into the secret."
    qop: str
    "auth, auth-int, or empty as in RFC 2069."
    opaque: str | None
    stale: bool

    def digest(self, text: bytes) -> str:
        if self.algorithm == "MD5":
            return hashlib.md5(text, usedforsecurity=False).hexdigest()
        return hashlib.sha256(text).hexdigest()


@dataclass(slots=True)
class _Known:
    asked: _Asked
    count: int = 0


@dataclass(slots=True)
class DigestClient:
    """Proves who we are to a server that asks."""

    username: str
    password: str = field(repr=False)
    _known: dict[tuple[str, str], _Known] = field(default_factory=dict, repr=False)

    def take(self, response: Response) -> bool:
        """Note the challenges of a 401 or 407; whether there is one that can be answered."""
        challenge_field, answer_field = _FIELDS[response.status]
        seen: set[str] = set()
        for asked in _challenges(response.get_all(challenge_field)):
            if asked.realm not in seen:  # the best of a realm comes first
                seen.add(asked.realm)
                self._known[(answer_field, asked.realm)] = _Known(asked)
        while len(self._known) > MAX_REMEMBERED:
            del self._known[next(iter(self._known))]
        return bool(seen)

    def prove(self, request: Request, entropy: Entropy) -> None:
        """Put the answer to every known challenge into a request that is about to be sent."""
        for (answer_field, _), known in self._known.items():
            if known.count >= MAX_COUNT:
                continue
            known.count += 1
            request.append(answer_field, self._answer(known, request, entropy))

    def forget(self) -> None:
        """Forget every challenge: another server is asked."""
        self._known.clear()

    def _answer(self, known: _Known, request: Request, entropy: Entropy) -> str:
        """The value of one Authorization line (RFC 7616 3.4)."""
        asked = known.asked
        cnonce, count = entropy.token(_CNONCE_BYTES).hex(), f"{known.count:08x}"

        def h(text: str) -> str:
            return asked.digest(text.encode("utf-8", "surrogateescape"))

        secret = h(f"{self.username}:{asked.realm}:{self.password}")
        if asked.is_session:
            secret = h(f"{secret}:{asked.nonce}:{cnonce}")
        a2 = f"{request.method}:{request.raw_uri}"
        if asked.qop == "auth-int":
            a2 = f"{a2}:{asked.digest(request.body)}"
        parts = [asked.nonce, h(a2)]
        if asked.qop:
            parts = [asked.nonce, count, cnonce, asked.qop, h(a2)]
        fields = [
            f"username={quote(self.username)}",
            f"realm={quote(asked.realm)}",
            f"nonce={quote(asked.nonce)}",
            f"uri={quote(request.raw_uri)}",
            f'response="{h(":".join([secret, *parts]))}"',
            f"algorithm={asked.algorithm}{'-sess' if asked.is_session else ''}",
        ]
        if asked.opaque is not None:
            fields.append(f"opaque={quote(asked.opaque)}")
        if asked.qop:
            fields += [f"qop={asked.qop}", f"nc={count}"]
        if asked.qop or asked.is_session:
            fields.append(f'cnonce="{cnonce}"')
        return "Digest " + ", ".join(fields)


def is_stale(response: Response) -> bool:
    """Whether a 401 or 407 says that only the nonce was too old, and not the password wrong."""
    challenge_field, _ = _FIELDS[response.status]
    return any(asked.stale for asked in _challenges(response.get_all(challenge_field)))


def _challenges(lines: list[str]) -> list[_Asked]:
    """Those that can be answered, SHA-256 first; the order of equals stays."""
    found = []
    for line in lines[:MAX_CHALLENGES]:
        try:
            params = parse_auth_params(line)
        except SipParseError:
            continue
        asked = _read(params)
        if asked is not None:
            found.append(asked)
    found.sort(key=lambda asked: asked.algorithm == "MD5")
    return found


def _read(params: dict[str, str]) -> _Asked | None:
    name = params.get("algorithm", "MD5").lower()
    algorithm = _ALGORITHMS.get(name.removesuffix("-sess"))
    qops = [qop.strip().lower() for qop in params.get("qop", "").split(",") if qop.strip()]
    qop = "auth" if "auth" in qops else "auth-int" if "auth-int" in qops else ""
    if algorithm is None or "realm" not in params or not params.get("nonce") or (qops and not qop):
        return None
    return _Asked(
        realm=params["realm"],
        nonce=params["nonce"],
        algorithm=algorithm,
        is_session=name.endswith("-sess"),
        qop=qop,
        opaque=params.get("opaque"),
        stale=params.get("stale", "").lower() == "true",
    )
