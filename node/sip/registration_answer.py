"""What the answer to a request of our own at a registrar says."""

from typing import Final

from federation.model.address import AddressError, Endpoint, parse_ip
from node.sip.errors import SipParseError
from node.sip.message import Response

MAX_RETRY_AFTER: Final = 1_800.0
"Seconds of a Retry-After that are heeded."


def seen_address(response: Response) -> Endpoint | None:
    """Where the server saw the request come from, if it says so (RFC 3581 4)."""
    try:
        via = response.top_via
        host = str(parse_ip((via.received or via.host).strip("[]")))
    except (SipParseError, AddressError):
        return None
    return Endpoint(host, via.rport) if via.rport else None


def granted_seconds(response: Response, contact: str, asked: int) -> int:
    """Seconds granted: of our Contact, else of the whole response, else as asked (10.2.4)."""
    try:
        user = contact.partition(":")[2].partition("@")[0]
        for value in response.contacts:
            expires = value.param("expires") or ""
            if value.uri.user == user and expires.isascii() and expires.isdigit():
                return int(expires[:9])
    except SipParseError:
        pass
    text = (response.get("Expires") or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else asked


def retry_after(response: Response) -> float:
    """Seconds that a server asks to be left alone (RFC 3261 20.33)."""
    text = (response.get("Retry-After") or "").partition(";")[0].partition("(")[0].strip()
    if not (text.isascii() and text.isdigit() and len(text) < 7):
        return 0.0
    return min(float(text), MAX_RETRY_AFTER)
