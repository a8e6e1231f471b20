"""The parameters of credentials and challenges (RFC 7616 3.3, 3.4)."""

import re
from typing import Final

from node.sip.errors import SipParseError
from node.sip.text import QUOTED_PATTERN, TOKEN_PATTERN, unquote

MAX_CREDENTIALS_TEXT: Final = 4096
"Characters of one credentials line."

_PARAM: Final = re.compile(
    rf'[ \t]*+({TOKEN_PATTERN})[ \t]*+=[ \t]*+({QUOTED_PATTERN}|[^\x00-\x20\x7f",]++)'
    r"[ \t]*+(?:,[ \t,]*+|\Z)",
    re.DOTALL,
)


def parse_auth_params(text: str) -> dict[str, str]:
    """Read `Digest name=value, …` into unquoted values by lower-case name.

    Raises:
        SipParseError: another scheme, bad syntax, a repeated or no parameter.
    """
    scheme, _, rest = text.partition(" ")
    if scheme.lower() != "digest" or len(text) > MAX_CREDENTIALS_TEXT:
        raise SipParseError(400, "Not Digest credentials")
    params: dict[str, str] = {}
    position = len(rest) - len(rest.lstrip(" \t,"))
    while position < len(rest):
        match = _PARAM.match(rest, position)
        if match is None or match[1].lower() in params:
            raise SipParseError(400, "Bad credentials")
        params[match[1].lower()] = unquote(match[2])
        position = match.end()
    return params
