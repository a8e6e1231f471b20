"""The typed views of a message: how each header field is read, and when it is refused."""

import re
from typing import Final

from node.sip.errors import SipParseError
from node.sip.header_lines import HeaderLines
from node.sip.headers import CSeq, NameAddr, Via
from node.sip.text import split_values

MAX_VALUES: Final = 128
"Values of one list (Via, Route, Record-Route, Contact) over all its lines; more is 400."
MAX_FORWARDS: Final = 255
"The highest Max-Forwards (RFC 3261 20.22)."

_DIGITS: Final = re.compile(r"[0-9]++")
_CALL_ID: Final = re.compile(r"[^\x00-\x20\x7f,;]++")


def read_top_via(message: HeaderLines) -> Via:
    """The first Via value. Raises `SipParseError` if malformed."""
    value = message.first_value("via")
    if value is None:
        raise SipParseError(400, "Missing Via")
    return Via.parse(value)


def read_vias(message: HeaderLines) -> list[Via]:
    """All Via values. Raises `SipParseError` if malformed."""
    return [Via.parse(value) for value in _listed(message, "via")]


def _listed(message: HeaderLines, key: str) -> list[str]:
    lines = message._all(key)
    if len(lines) == 1 and "," not in lines[0]:
        return lines
    values = [value for line in lines for value in split_values(line, MAX_VALUES + 1)]
    if len(values) > MAX_VALUES:
        raise SipParseError(400, "Too many values in a header field")
    return values


def _one(message: HeaderLines, key: str) -> str:
    value = message._first(key)
    if value is None:
        raise SipParseError(400, f"Missing {key}")
    return value


def read_from(message: HeaderLines) -> NameAddr:
    """The From field. Raises `SipParseError` if malformed."""
    return NameAddr.parse(_one(message, "from"))


def read_to(message: HeaderLines) -> NameAddr:
    """The To field. Raises `SipParseError` if malformed."""
    return NameAddr.parse(_one(message, "to"))


def read_call_id(message: HeaderLines) -> str:
    """The Call-ID. Raises `SipParseError` if malformed."""
    value = _one(message, "call-id")
    if not _CALL_ID.fullmatch(value):
        raise SipParseError(400, "Bad Call-ID")
    return value


def read_cseq(message: HeaderLines) -> CSeq:
    """The CSeq. Raises `SipParseError` if malformed."""
    return CSeq.parse(_one(message, "cseq"))


def read_max_forwards(message: HeaderLines) -> int | None:
    """Max-Forwards, `None` if missing. Raises `SipParseError` if malformed."""
    value = message._first("max-forwards")
    if value is None:
        return None
    if not _DIGITS.fullmatch(value):
        raise SipParseError(400, "Bad Max-Forwards")
    digits = value.lstrip("0") or "0"
    if len(digits) > 3 or int(digits) > MAX_FORWARDS:
        raise SipParseError(400, "Max-Forwards too large")
    return int(digits)


def read_contacts(message: HeaderLines) -> list[NameAddr]:
    """All Contact values; none for `*`. Raises `SipParseError` if malformed."""
    values = _listed(message, "contact")
    if values == ["*"]:
        return []
    return [NameAddr.parse(value) for value in values]


def read_routes(message: HeaderLines) -> list[NameAddr]:
    """All Route values. Raises `SipParseError` if malformed."""
    return [_route(value) for value in _listed(message, "route")]


def read_record_routes(message: HeaderLines) -> list[NameAddr]:
    """All Record-Route values. Raises `SipParseError` if malformed."""
    return [_route(value) for value in _listed(message, "record-route")]


def _route(value: str) -> NameAddr:
    if "<" not in value:
        raise SipParseError(400, "Route without angle brackets")
    return NameAddr.parse(value)
