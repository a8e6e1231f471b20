"""The other side of digest authentication, and REGISTERs as a phone sends them."""

import hashlib
import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field

from node.sip.auth_params import parse_auth_params
from node.sip.message import Request

_HASHES = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}


def register(
    *,
    user: str = "alice",
    domain: str = "example.org",
    uri: str | None = None,
    contacts: Iterable[str] = ("<sip:alice@192.0.2.10:5070>",),
    call_id: str = "reg-1",
    cseq: int = 1,
    headers: Iterable[tuple[str, str]] = (),
    method: str = "REGISTER",
    body: bytes = b"",
) -> Request:
    """A REGISTER as the phone of `user` sends it."""
    lines = [
        ("Via", "SIP/2.0/UDP 192.0.2.10:5070;branch=z9hG4bK-1;rport"),
        ("Max-Forwards", "70"),
        ("From", f"<sip:{user}@{domain}>;tag=from"),
        ("To", f"<sip:{user}@{domain}>"),
        ("Call-ID", call_id),
        ("CSeq", f"{cseq} {method}"),
        *(("Contact", contact) for contact in contacts),
        *headers,
    ]
    return Request.create(method, uri or f"sip:{domain}", lines, body)


@dataclass
class DigestClient:
    """A phone that answers challenges, with one nonce as long as it is let."""

    username: str
    password: str
    realm: str = "ringmesh"
    qop: str = "auth"
    _counts: dict[str, "itertools.count[int]"] = field(default_factory=dict)

    def answer(
        self,
        challenge: str,
        request: Request,
        *,
        uri: str | None = None,
        count: int | None = None,
        extra: str = "",
        **replaced: str,
    ) -> str:
        """The credentials for a challenge line's value; parameters may be replaced by name."""
        asked = parse_auth_params(challenge)
        digest = _HASHES[asked["algorithm"]]
        nonce = asked["nonce"]
        number = count or next(self._counts.setdefault(nonce, itertools.count(1)))
        uri = uri or request.raw_uri
        nc, cnonce = f"{number:08x}", "0a4f113b"

        def h(text: str) -> str:
            return digest(text.encode()).hexdigest()

        a2 = f"{request.method}:{uri}"
        if self.qop == "auth-int":
            a2 += ":" + digest(request.body).hexdigest()
        ha1 = h(f"{self.username}:{self.realm}:{self.password}")
        params = {
            "username": f'"{self.username}"',
            "realm": f'"{self.realm}"',
            "nonce": f'"{nonce}"',
            "uri": f'"{uri}"',
            "response": f'"{h(f"{ha1}:{nonce}:{nc}:{cnonce}:{self.qop}:{h(a2)}")}"',
            "algorithm": asked["algorithm"],
            "qop": self.qop,
            "nc": nc,
            "cnonce": f'"{cnonce}"',
        } | replaced
        return "Digest " + ", ".join(f"{k}={v}" for k, v in params.items() if v) + extra
