"""How each header field is read, and when it is refused.

A reader takes the unfolded value of a line. Fields without a reader are passed on unread.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from node.sip.auth_params import parse_auth_params
from node.sip.errors import SipParseError
from node.sip.headers import CSeq, NameAddr, Via
from node.sip.text import split_values, unfold

MAX_VALUES: Final = 128
"Values of one list (Via, Route, Record-Route, Contact) over all its lines; more is 400."
MAX_FORWARDS: Final = 255
"The highest Max-Forwards (RFC 3261 20.22)."

_LONGEST_NUMBER: Final = 9
"Digits of a number that means something; a longer one counts as `_TOO_MANY`."
_TOO_MANY: Final = 10**_LONGEST_NUMBER
_DIGITS: Final = re.compile(r"[0-9]++")
_CALL_ID: Final = re.compile(r"[^\x00-\x20\x7f,;]++")


def line_value(line: str) -> str:
    """The unfolded value of a header line."""
    value = line[line.index(":") + 1 :]
    return unfold(value) if "\r\n" in value else value.strip(" \t")


def _vias(text: str) -> tuple[Via, ...]:
    if "," not in text:
        return (Via.parse(text),)
    return tuple([Via.parse(value) for value in _values(text)])


def _addresses(text: str) -> tuple[NameAddr, ...]:
    values = _values(text)
    return () if values == ["*"] else tuple([NameAddr.parse(value) for value in values])


def _routes(text: str) -> tuple[NameAddr, ...]:
    return tuple([_route(value) for value in _values(text)])


def _call_id(value: str) -> str:
    if not _CALL_ID.fullmatch(value):
        raise SipParseError(400, "Bad Call-ID")
    return value


def _max_forwards(value: str) -> int:
    if not _DIGITS.fullmatch(value):
        raise SipParseError(400, "Bad Max-Forwards")
    number = _number(value)
    if number > MAX_FORWARDS:
        raise SipParseError(400, "Max-Forwards too large")
    return number


def _content_length(digits: str) -> int:
    if not _DIGITS.fullmatch(digits):
        raise SipParseError(400, "Bad Content-Length")
    return _number(digits)


def _number(digits: str) -> int:
    """A number of any length, without the time that reading thousands of digits takes."""
    digits = digits.lstrip("0") or "0"
    return int(digits) if len(digits) <= _LONGEST_NUMBER else _TOO_MANY


def _credentials(text: str) -> dict[str, str] | None:
    """The parameters of Digest credentials; of others nothing is known here."""
    try:
        return parse_auth_params(text)
    except SipParseError:
        return None


LISTS: Final = frozenset(("via", "contact", "route", "record-route"))
"Fields whose lines are read to tuples of values."
NEEDED: Final = ("via", "from", "to", "call-id", "cseq")
"Fields that every message has."
READERS: Final[dict[str, Callable[[str], Any]]] = {
    "via": _vias, "contact": _addresses, "route": _routes, "record-route": _routes,
    "from": NameAddr.parse, "to": NameAddr.parse, "call-id": _call_id, "cseq": CSeq.parse,
    "max-forwards": _max_forwards, "content-length": _content_length,
    "authorization": _credentials, "proxy-authorization": _credentials,
}  # fmt: skip
"What the value of a field says; each raises `SipParseError` where it is malformed."


def joined(lines: Sequence[tuple[Any, ...]]) -> list[Any]:
    """The values of several lines of one list.

    Raises:
        SipParseError: they are too many, or one is `*`.
    """
    if () in lines:
        raise SipParseError(400, "Contact * stands alone")
    values = [value for line in lines for value in line]
    if len(values) > MAX_VALUES:
        raise SipParseError(400, "Too many values in a header field")
    return values


def _values(text: str) -> list[str]:
    values = split_values(text, MAX_VALUES + 1)
    if len(values) > MAX_VALUES:
        raise SipParseError(400, "Too many values in a header field")
    return values


def _route(value: str) -> NameAddr:
    if "<" not in value:
        raise SipParseError(400, "Route without angle brackets")
    return NameAddr.parse(value)
