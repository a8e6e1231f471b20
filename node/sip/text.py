"""The pieces every header field is made of: lists, quoted strings, parameters (RFC 3261 25.1).

All of it works on text without folds, and in time proportional to its length whatever it holds:
every repetition in a pattern here is possessive (`++`, `*+`) or atomic (`(?>...)`), so nothing is
ever tried twice. Groups are atomic, never possessive: before 3.11.5 Python went on behind the
failed last try of a possessive group (CPython issue 106052), and Debian 12 has 3.11.2.
"""

import re
from typing import Final

from node.sip.errors import SipParseError

Params = tuple[tuple[str, str | None], ...]
"Parameters in their order, values as written (quotes included); `None` where there is no `=`."

MAX_PARAMS: Final = 100
"Parameters of one value; more is refused."

TOKEN_PATTERN: Final = r"[A-Za-z0-9\-.!%*_+`'~]++"  # noqa: S105 - a token of RFC 3261, no secret
QUOTED_PATTERN: Final = r'"[^"\\]*+(?>(?:\\.[^"\\]*+)*)"'
HOST_PATTERN: Final = r"(?:[A-Za-z0-9_.\-]++|\[[0-9A-Fa-f:.]++\])"

_VALUE: Final = re.compile(rf'(?>(?:[^",<]++|{QUOTED_PATTERN}|<[^>]*+>)*)', re.DOTALL)
_PLAIN_PARAMS: Final = re.compile(
    r"(?>(?:;[A-Za-z0-9\-.!%*_+`'~]++(?>(?:=[^\x00-\x20\x7f\";,<>]++)?))*)"
)
_PARAM: Final = re.compile(
    rf"[ \t]*+;[ \t]*+({TOKEN_PATTERN})[ \t]*+"
    rf'(?>(?:=[ \t]*+({QUOTED_PATTERN}|[^\x00-\x20\x7f";,<>]++)[ \t]*+)?)',
    re.DOTALL,
)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_TO_ESCAPE: Final = re.compile(r'(["\\])')


def first_value_end(text: str) -> int:
    """Where the first value of a comma-separated list ends: at its comma, or at the end.

    A comma in a quoted string or in angle brackets separates nothing. If a quote or bracket never
    closes, the rest is one value (and the value's own parser will refuse it).
    """
    match = _VALUE.match(text)
    end = match.end() if match else 0
    return end if end < len(text) and text[end] == "," else len(text)


def split_values(text: str, most: int | None = None) -> list[str]:
    """The values of a comma-separated list, without the blanks around them; empty ones are kept.

    With `most` it stops after that many values, whatever is left.
    """
    if "," not in text:
        return [text.strip(" \t")]
    if '"' not in text and "<" not in text:
        pieces = text.split(",") if most is None else text.split(",", most)[:most]
        return [value.strip(" \t") for value in pieces]
    values, start, length = [], 0, len(text)
    while True:
        match = _VALUE.match(text, start)
        end = match.end() if match else start
        if end < length and text[end] != ",":
            end = length
        values.append(text[start:end].strip(" \t"))
        if end >= length or len(values) == most:
            return values
        start = end + 1


def parse_params(text: str) -> Params:
    """Read `;name=value;name` with blanks where RFC 3261 allows them; empty text has none.

    Raises:
        SipParseError: anything else, or more than `MAX_PARAMS`.
    """
    if not text:
        return ()
    if _PLAIN_PARAMS.fullmatch(text):
        return split_params(text[1:])
    found: list[tuple[str, str | None]] = []
    position, length = 0, len(text)
    while position < length:
        match = _PARAM.match(text, position)
        if match is None:
            raise SipParseError(400, "Bad header parameter")
        if len(found) == MAX_PARAMS:
            raise SipParseError(400, "Too many parameters")
        found.append((match[1], match[2]))
        position = match.end()
    return tuple(found)


def split_params(text: str) -> Params:
    """Cut `name=value;name`, of which nothing is quoted.

    Raises:
        SipParseError: more than `MAX_PARAMS`.
    """
    if ";" not in text:
        name, equals, value = text.partition("=")
        return ((name, value if equals else None),)
    pieces = text.split(";")
    if len(pieces) > MAX_PARAMS:
        raise SipParseError(400, "Too many parameters")
    cuts = [piece.partition("=") for piece in pieces]
    return tuple([(name, value if equals else None) for name, equals, value in cuts])


def format_params(params: Params) -> str:
    """The inverse of `parse_params`, without blanks."""
    return "".join([f";{name}" if value is None else f";{name}={value}" for name, value in params])


def find_param(params: Params, name: str) -> str | None:
    """The unquoted value of a parameter, empty for one without a value, `None` if there is none.

    `name` is lower case; names are compared without regard to case.
    """
    for key, value in params:
        if key == name or key.lower() == name:
            if not value:
                return ""
            return unquote(value) if value[0] == '"' else value
    return None


def with_param(params: Params, name: str, value: str | None) -> Params:
    """`params` with one set, in its old place if it was there, else last."""
    name_key, placed, result = name.lower(), False, []
    for key, old in params:
        if key.lower() != name_key:
            result.append((key, old))
        elif not placed:
            result.append((name, value))
            placed = True
    if not placed:
        result.append((name, value))
    return tuple(result)


def without_param(params: Params, name: str) -> Params:
    """`params` without every one of this name."""
    name_key = name.lower()
    return tuple(pair for pair in params if pair[0].lower() != name_key)


def unquote(text: str) -> str:
    """What a quoted string says; other text as it is."""
    if len(text) < 2 or text[0] != '"' or text[-1] != '"':
        return text
    inner = text[1:-1]
    return _ESCAPED.sub(r"\1", inner) if "\\" in inner else inner


def quote(text: str) -> str:
    """A quoted string that says `text`."""
    return '"' + _TO_ESCAPE.sub(r"\\\1", text) + '"'


def unfold(text: str) -> str:
    """A field value on one line: folds become blanks (RFC 3261 7.3.1), its ends are stripped."""
    if "\r\n" in text:
        text = " ".join(line.strip(" \t") for line in text.split("\r\n"))
    return text.strip(" \t")
