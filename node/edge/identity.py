"""Who a caller is, as a callee is shown it.

A phone is shown a From that it can call back: the caller's number at the server the phone
registered to, else the caller's URI. Only a caller whose statement was verified gets a
P-Asserted-Identity (RFC 3325) with verstat (RFC 8225, 3GPP TS 24.229 7.2A.20); any other is named
`unverified:` in the display name.
"""

from typing import NamedTuple

from federation.model.number import Number
from node.sip.headers import NameAddr
from node.sip.uri import Uri

ANONYMOUS_HOST = "anonymous.invalid"
UNVERIFIED_MARK = "unverified:"
VERSTAT_PASSED = "verstat=TN-Validation-Passed"
MAX_DISPLAY_CHARACTERS = 64


class Caller(NamedTuple):
    """What is known of the party that sent a request outside a dialog."""

    display: str
    "The display name the caller gave, without quotes; only ever decoration."
    number: Number | None
    uri: str
    "`login@keyname` or `login@domain`, without scheme; empty when nothing is known."
    verified: bool
    anonymous: bool = False
    extension: str | None = None
    "Of one of the people behind a trunk, who is called back as `number*extension`."
    outside: str | None = None
    "The telephone number of a caller that a provider named, `+` and digits of E.164."

    @property
    def user(self) -> str | None:
        """The user part by which a device here can call back; `None` where only a URI can."""
        if self.outside is not None:
            return self.outside
        if self.number is None or self.extension is None:
            return self.number
        return f"{self.number}*{self.extension}"

    def shown_from(self, server: str) -> str:
        """The From value, without tag, for a device that knows this node as `server`."""
        if self.anonymous:
            return f'"Anonymous" <sip:anonymous@{ANONYMOUS_HOST}>'
        user = self.user
        uri = f"sip:{user}@{server}" if user else f"sip:{self.uri or ANONYMOUS_HOST}"
        display = self.display
        if not self.verified:
            display = f"{UNVERIFIED_MARK} {display or user or self.uri}"
        return f"{_quoted(display)} <{uri}>" if display else f"<{uri}>"

    def asserted_identity(self, server: str) -> str | None:
        """The P-Asserted-Identity value, or `None` where nothing was verified."""
        if self.anonymous or not self.verified:
            return None
        if self.outside is not None:
            return f"<sip:{self.outside}@{server};user=phone>"  # a provider's word, not a proof
        if self.number:
            return f"<sip:{self.user};{VERSTAT_PASSED}@{server};user=phone>"
        return f"<sip:{self.uri}>"


def display_of(value: NameAddr) -> str:
    """The display name of a From header shortened and without our own mark."""
    text = value.display.strip()
    if not text.isprintable():
        text = "".join(c for c in text if c.isprintable())
    while text.lower().startswith(UNVERIFIED_MARK):
        text = text[len(UNVERIFIED_MARK) :].strip()
    return text[:MAX_DISPLAY_CHARACTERS]


def is_anonymous(uri: Uri) -> bool:
    """Whether a From URI withholds the caller (RFC 3323 4.1.1.3)."""
    return (uri.host or "").lower() == ANONYMOUS_HOST


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
