"""How this node asks devices who they are."""

from federation.model.clocks import Entropy
from node.accounts.book import AccountBook
from node.edge.token import SECRET_BYTES
from node.sip.digest import DigestAuthenticator

MD5_FIRST = ("SIPp",)
"User-Agents that end at a first challenge with SHA-256."
MD5_ONLY = ("baresip v0.", "baresip v1.")
"User-Agents that give up where SHA-256 is offered at all."


def authenticator(
    accounts: AccountBook, *, entropy: Entropy, nonces: Entropy
) -> DigestAuthenticator:
    """One with a fresh secret; `nonces` is drawn from for each challenge."""
    return DigestAuthenticator(
        accounts.credential,
        secret=entropy.token(SECRET_BYTES),
        entropy=nonces,
        md5_first=MD5_FIRST,
        md5_only=MD5_ONLY,
    )
