"""Where the session description stands in a body of several parts (RFC 2046 5.1, RFC 5621).

Only its place is found, so that it can be read and replaced; every other byte stays as it came.
"""

import re
from typing import Final, NamedTuple

MAX_PARTS: Final = 16
"Parts of one body that are looked at."
MAX_DEPTH: Final = 3
"Bodies of several parts within each other."

_BOUNDARY: Final = re.compile(
    r';[ \t]*boundary[ \t]*=[ \t]*(?:"([^"]{1,70})"|([^\s;"]{1,70}))', re.I
)
_HEADER_END: Final = re.compile(rb"\r?\n\r?\n")
_PLAIN_ENCODINGS: Final = ("", "7bit", "8bit", "binary")


class Place(NamedTuple):
    """Bytes of a body, from `start` up to `end`."""

    start: int
    end: int


def description_place(content_type: str, body: bytes) -> Place | None:
    """The first part that is a session description of this session; `None` without one.

    A part in another encoding, or with another disposition (RFC 3959 early-session), is none.
    """
    return _find(content_type, body, Place(0, len(body)), MAX_DEPTH)


def _find(content_type: str, body: bytes, place: Place, depth: int) -> Place | None:
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/sdp":
        return place if place.end > place.start else None
    boundary = _BOUNDARY.search(content_type)
    if not kind.startswith("multipart/") or boundary is None or not depth:
        return None
    for part in _parts(body, place, (boundary[1] or boundary[2]).encode()):
        head, content = _opened(body, part)
        if head.get("content-transfer-encoding", "").lower() not in _PLAIN_ENCODINGS:
            continue
        disposition = head.get("content-disposition", "session").partition(";")[0].strip().lower()
        if disposition != "session":
            continue
        found = _find(head.get("content-type", "text/plain"), body, content, depth - 1)
        if found is not None:
            return found
    return None


def _parts(body: bytes, place: Place, boundary: bytes) -> list[Place]:
    """What stands between the delimiters, the last of which may be missing."""
    delimiter = re.compile(rb"^--" + re.escape(boundary) + rb"(--)?[ \t]*(?:\r?\n|\Z)", re.M)
    parts: list[Place] = []
    start = None
    for found in delimiter.finditer(body[place.start : place.end]):
        begin, end = (place.start + offset for offset in found.span())
        if start is not None:
            # The line end before a delimiter is the delimiter's.
            line_end = 2 if body[begin - 2 : begin] == b"\r\n" else 1
            parts.append(Place(start, max(start, begin - line_end)))
        start = None if found[1] else end
        if start is None or len(parts) == MAX_PARTS:
            return parts
    return parts if start is None else [*parts, Place(start, place.end)]


def _opened(body: bytes, part: Place) -> tuple[dict[str, str], Place]:
    """A part's header fields, by lower-case name, and its content."""
    end = _HEADER_END.search(body, part.start, part.end)
    if body[part.start : part.start + 1] in (b"\r", b"\n"):
        blank = 2 if body[part.start : part.start + 2] == b"\r\n" else 1
        return {}, Place(min(part.start + blank, part.end), part.end)
    if end is None:
        return {}, Place(part.end, part.end)
    text = re.sub(r"\r?\n[ \t]+", " ", body[part.start : end.start()].decode("latin-1"))
    head: dict[str, str] = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        head.setdefault(name.strip().lower(), value.strip())
    return head, Place(end.end(), part.end)
