"""The parameters of credentials and challenges (RFC 7616 3.3, 3.4)."""

import re
from typing import Final

from node.sip.errors import SipParseError
from node.sip.text import TOKEN_PATTERN

MAX_CREDENTIALS_TEXT: Final = 4096
"Characters of one credentials line."

_PARAM: Final = (
    rf"[ \t]*+({TOKEN_PATTERN})[ \t]*+=[ \t]*+"
    r'(?:"([^"\\]*+(?>(?:\\.[^"\\]*+)*))"|([^\x00-\x20\x7f",]++))'
    r"[ \t]*+(?:,[ \t,]*+|\Z)"
)
_ONE: Final = re.compile(_PARAM, re.DOTALL)
_ALL: Final = re.compile(rf"[ \t,]*+(?>(?:{_PARAM})*)", re.DOTALL)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)


def parse_auth_params(text: str) -> dict[str, str]:
    """Read `Digest name=value, …` into unquoted values by lower-case name.

    Raises:
        SipParseError: another scheme, bad syntax, a repeated or no parameter.
    """
    scheme, _, rest = text.partition(" ")
    if scheme.lower() != "digest" or len(text) > MAX_CREDENTIALS_TEXT:
        raise SipParseError(400, "Not Digest credentials")
    if not _ALL.fullmatch(rest):
        raise SipParseError(400, "Bad credentials")
    found = _ONE.findall(rest.lstrip(" \t,"))
    params = {name.lower(): quoted or bare for name, quoted, bare in found}
    if len(params) != len(found):
        raise SipParseError(400, "Bad credentials")
    if "\\" in rest:
        for name, quoted, _ in found:
            if quoted:
                params[name.lower()] = _ESCAPED.sub(r"\1", quoted)
    return params
