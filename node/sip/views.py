"""The typed views of a message: how each header field is read, and when it is refused.

The messages of one call repeat the lines that name its parties and its way, so what a line says is
remembered for a while: most messages of a call are read by looking up lines that were read before.
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final, TypeVar

from node.sip.errors import SipParseError
from node.sip.header_lines import ALL_VIAS, HeaderLines, line_value
from node.sip.headers import CSeq, NameAddr, Via
from node.sip.text import split_values

MAX_VALUES: Final = 128
"Values of one list (Via, Route, Record-Route, Contact) over all its lines; more is 400."
MAX_FORWARDS: Final = 255
"The highest Max-Forwards (RFC 3261 20.22)."
REMEMBERED_LINES: Final = 2048
"Lines of one field that are remembered; beyond, the one that was not needed for longest goes."
_OFTEN_LENGTH: Final = 300
"Characters of a line up to which it is remembered."

_DIGITS: Final = re.compile(r"[0-9]++")
_CALL_ID: Final = re.compile(r"[^\x00-\x20\x7f,;]++")

T = TypeVar("T")


def _remembering(read: Callable[[str], T]) -> Callable[[str], T]:
    """`read`, a function of a header line, with a memory for lines of usual length."""
    return lru_cache(maxsize=REMEMBERED_LINES)(read)


def _address(line: str) -> NameAddr:
    return NameAddr.parse(line_value(line))


def _vias(line: str) -> tuple[Via, ...]:
    return tuple([Via.parse(value) for value in _values(line)])


def _addresses(line: str) -> tuple[NameAddr, ...]:
    values = _values(line)
    return () if values == ["*"] else tuple([NameAddr.parse(value) for value in values])


def _routes(line: str) -> tuple[NameAddr, ...]:
    return tuple([_route(value) for value in _values(line)])


def _call_id(line: str) -> str:
    value = line_value(line)
    if not _CALL_ID.fullmatch(value):
        raise SipParseError(400, "Bad Call-ID")
    return value


def _cseq(line: str) -> CSeq:
    return CSeq.parse(line_value(line))


def _max_forwards(line: str) -> int:
    value = line_value(line)
    if not _DIGITS.fullmatch(value):
        raise SipParseError(400, "Bad Max-Forwards")
    digits = value.lstrip("0") or "0"
    if len(digits) > 3 or int(digits) > MAX_FORWARDS:
        raise SipParseError(400, "Max-Forwards too large")
    return int(digits)


_SINGLE: Final[dict[str, Callable[[str], Any]]] = {
    "from": _address, "to": _address, "call-id": _call_id, "cseq": _cseq,
    "max-forwards": _max_forwards,
}  # fmt: skip
_LISTS: Final[dict[str, Callable[[str], tuple[Any, ...]]]] = {
    "via": _vias, "contact": _addresses, "route": _routes, "record-route": _routes,
}  # fmt: skip
_KNOWN_SINGLE: Final = {key: _remembering(read) for key, read in _SINGLE.items()}
_KNOWN_LISTS: Final = {key: _remembering(read) for key, read in _LISTS.items()}
_NEEDED: Final = frozenset(("via", "from", "to", "call-id", "cseq"))


def read_single(message: HeaderLines, key: str) -> Any:
    """What the one line of From, To, Call-ID, CSeq or Max-Forwards says.

    Raises:
        SipParseError: malformed, or missing where every message must have it.
    """
    line = message._line(key)
    if line is not None:
        return _single(key, line)
    if key in _NEEDED:
        raise SipParseError(400, f"Missing {key}")
    return None


def read_list(message: HeaderLines, key: str) -> Sequence[Any]:
    """The values of Contact (none for `*`), Route or Record-Route over all their lines.

    Raises:
        SipParseError: malformed, or too many.
    """
    return _joined([_values_of(key, line) for line in message._lines_of(key)])


def read_top_via(message: HeaderLines) -> Via:
    """The first Via value alone. Raises `SipParseError` if missing or malformed."""
    value = message.first_value("via")
    if value is None:
        raise SipParseError(400, "Missing via")
    return Via.parse(value)


def read_vias(message: HeaderLines) -> Sequence[Via]:
    """All Via values, the top one first. Raises `SipParseError` if malformed."""
    lines = message._lines_of("via")
    if not lines:
        return ()
    top: Via | None = message._cache.get("via")
    if "," in lines[0]:
        first = _vias(lines[0])
    else:  # never seen before: each message has a top Via of its own
        first = (Via.parse(line_value(lines[0])) if top is None else top,)
    message._cache["via"] = first[0]
    return _joined([first, *[_values_of("via", line) for line in lines[1:]]])


def read_all(message: HeaderLines) -> None:
    """Read every field that has a typed view, in one pass, and keep what they say.

    Raises:
        SipParseError: a field that must be there is missing, or one is malformed.
    """
    cache, lists = message._cache, []
    for key, line in zip(message._keys, message._lines, strict=True):
        if key in _SINGLE:
            if key not in cache:
                cache[key] = _single(key, line)
        elif key in _LISTS:
            lists.append(key)
    for key in lists:
        if key == "via":
            if ALL_VIAS not in cache:
                cache[ALL_VIAS] = read_vias(message)
        elif key not in cache:
            cache[key] = read_list(message, key)
    if not cache.keys() >= _NEEDED:
        missing = next(key for key in _NEEDED if key not in cache)
        raise SipParseError(400, f"Missing {missing}")


def _single(key: str, line: str) -> Any:
    return (_KNOWN_SINGLE if len(line) <= _OFTEN_LENGTH else _SINGLE)[key](line)


def _values_of(key: str, line: str) -> tuple[Any, ...]:
    return (_KNOWN_LISTS if len(line) <= _OFTEN_LENGTH else _LISTS)[key](line)


def _joined(lines: Sequence[tuple[T, ...]]) -> Sequence[T]:
    """The values of several lines of one field."""
    if len(lines) == 1:
        return lines[0]
    if () in lines:
        raise SipParseError(400, "Contact * stands alone")
    values = [value for line in lines for value in line]
    if len(values) > MAX_VALUES:
        raise SipParseError(400, "Too many values in a header field")
    return values


def _values(line: str) -> list[str]:
    values = split_values(line_value(line), MAX_VALUES + 1)
    if len(values) > MAX_VALUES:
        raise SipParseError(400, "Too many values in a header field")
    return values


def _route(value: str) -> NameAddr:
    if "<" not in value:
        raise SipParseError(400, "Route without angle brackets")
    return NameAddr.parse(value)
