"""Cutting a message into start line, header lines and body."""

import re
from typing import Final

from node.sip.errors import SipParseError
from node.sip.line import Line, read_lines
from node.sip.names import REASONS

MAX_MESSAGE: Final = 65_535
"Bytes of one message, body included; more is 513."
MAX_HEADER_LINES: Final = 500
"Header fields of one message; more is 513."

_UNFOLDED: Final = re.compile(r"\r\n(?![ \t])")
_ANSWER_NAMES: Final = {
    "via": "via", "v": "via", "from": "from", "f": "from", "to": "to", "t": "to",
    "call-id": "call-id", "i": "call-id", "cseq": "cseq", "timestamp": "timestamp",
}  # fmt: skip


class RawMessage:
    """A message cut up but not read."""

    __slots__ = ("body", "lines", "start")

    def __init__(self, start: str, lines: list[Line], body: bytes) -> None:
        self.start = start
        self.lines = lines
        self.body = body


def cut_message(data: bytes) -> RawMessage:
    """Cut a message up. Line ends before it are skipped; the body is all that follows.

    Raises:
        SipParseError: 400, or 513 if too large.
    """
    data = data.lstrip(b"\r\n")
    if len(data) > MAX_MESSAGE:
        raise SipParseError(513, REASONS[513])
    head, end, body = data.partition(b"\r\n\r\n")
    if not end:
        raise SipParseError(400, "Header section without end")
    texts = _cut(head)
    start = texts.pop(0)
    if "\r" in start or "\n" in start:
        raise SipParseError(400, "Bare line end in the header section")
    if len(texts) > MAX_HEADER_LINES:
        raise SipParseError(513, "Too many header fields")
    return RawMessage(start, read_lines(texts), body)


def salvage_message(data: bytes) -> RawMessage:
    """What an answer needs of a message that could not be cut up: only lines fit to be copied.

    Never raises. The body is empty.
    """
    head = data.lstrip(b"\r\n")[:MAX_MESSAGE].partition(b"\r\n\r\n")[0]
    start, *texts = _cut(head)
    kept = []
    for text in texts[:MAX_HEADER_LINES]:
        name, colon, value = text.partition(":")
        key = _ANSWER_NAMES.get(name.rstrip(" \t").lower())
        bare_ends = value.count("\n") + value.count("\r") != 2 * value.count("\r\n")
        if colon and key is not None and not bare_ends:
            kept.append(Line(key, text))
    return RawMessage(start, kept, b"")


def _cut(head: bytes) -> list[str]:
    text = head.decode("utf-8", "surrogateescape")
    if "\r\n " in text or "\r\n\t" in text:
        return _UNFOLDED.split(text)
    return text.split("\r\n")
