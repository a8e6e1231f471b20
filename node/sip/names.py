"""Names that RFC 3261 and its companions registered: header fields and reason phrases."""

import re
from types import MappingProxyType
from typing import Final

from node.sip.errors import SipParseError

_COMPACT: Final = {
    "a": "accept-contact", "b": "referred-by", "c": "content-type", "d": "request-disposition",
    "e": "content-encoding", "f": "from", "i": "call-id", "j": "reject-contact", "k": "supported",
    "l": "content-length", "m": "contact", "n": "identity-info", "o": "event", "r": "refer-to",
    "s": "subject", "t": "to", "u": "allow-events", "v": "via", "x": "session-expires",
    "y": "identity",
}  # fmt: skip
_USUAL: Final = (
    "Accept", "Accept-Encoding", "Accept-Language", "Alert-Info", "Allow", "Allow-Events",
    "Authorization", "Call-ID", "Call-Info", "Contact", "Content-Disposition", "Content-Encoding",
    "Content-Language", "Content-Length", "Content-Type", "CSeq", "Date", "Diversion",
    "Error-Info", "Event", "Expires", "From", "Identity", "In-Reply-To", "Max-Breadth",
    "Max-Forwards", "MIME-Version", "Min-Expires", "Min-SE", "Organization",
    "P-Access-Network-Info", "P-Asserted-Identity", "P-Preferred-Identity", "Path", "Priority",
    "Privacy", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Require", "RAck", "Reason",
    "Record-Route", "Refer-To", "Referred-By", "Replaces", "Reply-To", "Require", "Retry-After",
    "Route", "RSeq", "Server", "Service-Route", "Session-Expires", "SIP-ETag", "SIP-If-Match",
    "Subject", "Subscription-State", "Supported", "Timestamp", "To", "Unsupported", "User-Agent",
    "Via", "Warning", "WWW-Authenticate", "X-Asterisk-HangupCause",
)  # fmt: skip
_TOKEN: Final = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]++")

HEADER_KEYS: Final = (
    {name: name.lower() for name in _USUAL}
    | {name.lower(): name.lower() for name in _USUAL}
    | _COMPACT
    | {short.upper(): full for short, full in _COMPACT.items()}
)
"`header_key` of the usual spellings; not to be changed."


def header_key(name: str) -> str:
    """The lower-case long form by which a header field is known, compact forms included.

    Raises:
        SipParseError: not a token.
    """
    key = HEADER_KEYS.get(name)
    if key is not None:
        return key
    name = name.rstrip(" \t")
    if not _TOKEN.fullmatch(name):
        raise SipParseError(400, "Bad header field name")
    key = name.lower()
    return _COMPACT.get(key, key)


SINGLE: Final = frozenset((
    "call-id", "content-disposition", "content-length", "content-type", "cseq", "event", "expires",
    "from", "max-breadth", "max-forwards", "min-se", "rack", "refer-to", "referred-by", "replaces",
    "rseq", "session-expires", "sip-etag", "sip-if-match", "subscription-state", "to",
))  # fmt: skip
"""Header fields that decide what a message means, so that a second one is refused (RFC 3261 20 and
the RFCs that added them; RFC 4475 3.3.8)."""

NOT_LISTS: Final = SINGLE | frozenset((
    "authentication-info", "authorization", "date", "identity", "identity-info", "mime-version",
    "min-expires", "organization", "priority", "proxy-authenticate", "proxy-authentication-info",
    "proxy-authorization", "reply-to", "retry-after", "server", "subject", "timestamp",
    "user-agent", "www-authenticate",
))  # fmt: skip
"Header fields in which a comma does not separate values (RFC 3261 7.3.1, 20)."

REASONS: Final = MappingProxyType({
    100: "Trying", 180: "Ringing", 181: "Call Is Being Forwarded", 182: "Queued",
    183: "Session Progress", 199: "Early Dialog Terminated", 200: "OK", 202: "Accepted",
    204: "No Notification", 300: "Multiple Choices", 301: "Moved Permanently",
    302: "Moved Temporarily", 305: "Use Proxy", 380: "Alternative Service", 400: "Bad Request",
    401: "Unauthorized", 402: "Payment Required", 403: "Forbidden", 404: "Not Found",
    405: "Method Not Allowed", 406: "Not Acceptable", 407: "Proxy Authentication Required",
    408: "Request Timeout", 410: "Gone", 412: "Conditional Request Failed",
    413: "Request Entity Too Large", 414: "Request-URI Too Long", 415: "Unsupported Media Type",
    416: "Unsupported URI Scheme", 417: "Unknown Resource-Priority", 420: "Bad Extension",
    421: "Extension Required", 422: "Session Interval Too Small", 423: "Interval Too Brief",
    424: "Bad Location Information", 428: "Use Identity Header", 429: "Provide Referrer Identity",
    430: "Flow Failed", 433: "Anonymity Disallowed", 436: "Bad Identity Info",
    437: "Unsupported Credential", 438: "Invalid Identity Header",
    439: "First Hop Lacks Outbound Support", 440: "Max-Breadth Exceeded", 469: "Bad Info Package",
    470: "Consent Needed", 480: "Temporarily Unavailable", 481: "Call/Transaction Does Not Exist",
    482: "Loop Detected", 483: "Too Many Hops", 484: "Address Incomplete", 485: "Ambiguous",
    486: "Busy Here", 487: "Request Terminated", 488: "Not Acceptable Here", 489: "Bad Event",
    491: "Request Pending", 493: "Undecipherable", 494: "Security Agreement Required",
    500: "Server Internal Error", 501: "Not Implemented", 502: "Bad Gateway",
    503: "Service Unavailable", 504: "Server Time-out", 505: "Version Not Supported",
    513: "Message Too Large", 555: "Push Notification Service Not Supported",
    580: "Precondition Failure", 600: "Busy Everywhere", 603: "Decline",
    604: "Does Not Exist Anywhere", 606: "Not Acceptable", 607: "Unwanted", 608: "Rejected",
})  # fmt: skip
"Reason phrases by status code."
