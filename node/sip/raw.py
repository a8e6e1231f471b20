"""Cutting a message into start line, header lines and body."""

import re
from typing import Final, NamedTuple

from node.sip.errors import SipParseError
from node.sip.names import HEADER_KEYS, REASONS, header_key
from node.sip.text import unfold

MAX_MESSAGE: Final = 65_535
"Bytes of one message, body included; more is 513."
MAX_HEADER_LINES: Final = 500
"Header fields of one message; more is 513."

_UNFOLDED: Final = re.compile(r"\r\n(?![ \t])")
_DIGITS: Final = re.compile(r"[0-9]++")
_ANSWER_NAMES: Final = {
    "via": "via", "v": "via", "from": "from", "f": "from", "to": "to", "t": "to",
    "call-id": "call-id", "i": "call-id", "cseq": "cseq", "timestamp": "timestamp",
}  # fmt: skip


class RawMessage(NamedTuple):
    """A message cut up but not read."""

    start: str
    keys: list[str]
    "The lower-case long name of each header line."
    lines: list[str]
    "Header lines with their folds, without their line ends."
    body: bytes


def cut_message(data: bytes) -> RawMessage:
    """Cut a message up and measure its body.

    Line ends before it are skipped. Without Content-Length the body is all that follows the header
    section; with it, what is too much is dropped (RFC 3261 18.3).

    Raises:
        SipParseError: 400, or 513 if too large.
    """
    data = data.lstrip(b"\r\n")
    if len(data) > MAX_MESSAGE:
        raise SipParseError(513, REASONS[513])
    head, end, body = data.partition(b"\r\n\r\n")
    if not end:
        raise SipParseError(400, "Header section without end")
    ends = head.count(b"\r\n")
    if head.count(b"\n") != ends or head.count(b"\r") != ends:
        raise SipParseError(400, "Bare line end in the header section")
    start, *lines = _cut(head)
    if len(lines) > MAX_HEADER_LINES:
        raise SipParseError(513, "Too many header fields")
    try:
        names = [line[: line.index(":")] for line in lines]
    except ValueError as error:
        raise SipParseError(400, "Header line without a colon") from error
    keys = [HEADER_KEYS.get(name) or header_key(name) for name in names]
    if "content-length" in keys:
        lengths = [line for line, key in zip(lines, keys, strict=True) if key == "content-length"]
        body = _measured(lengths, body)
    return RawMessage(start, keys, lines, body)


def salvage_message(data: bytes) -> RawMessage:
    """What an answer needs of a message that could not be cut up: only lines fit to be copied.

    Never raises. The body is empty.
    """
    head = data.lstrip(b"\r\n")[:MAX_MESSAGE].partition(b"\r\n\r\n")[0]
    start, *lines = _cut(head)
    keys, kept = [], []
    for line in lines[:MAX_HEADER_LINES]:
        name, colon, value = line.partition(":")
        key = _ANSWER_NAMES.get(name.rstrip(" \t").lower())
        bare_ends = value.count("\n") + value.count("\r") != 2 * value.count("\r\n")
        if colon and key is not None and not bare_ends:
            keys.append(key)
            kept.append(line)
    return RawMessage(start, keys, kept, b"")


def _cut(head: bytes) -> list[str]:
    text = head.decode("utf-8", "surrogateescape")
    if "\r\n " in text or "\r\n\t" in text:
        return _UNFOLDED.split(text)
    return text.split("\r\n")


def _measured(lines: list[str], body: bytes) -> bytes:
    """The body as long as Content-Length says (RFC 3261 18.3)."""
    if len(lines) == 1:
        text = lines[0].partition(":")[2].strip(" \t")
        if len(text) <= 5 and text.isascii() and text.isdigit() and int(text) <= len(body):
            return body[: int(text)]
    texts = {unfold(line[line.index(":") + 1 :]) for line in lines}
    if not all(_DIGITS.fullmatch(text) for text in texts):
        raise SipParseError(400, "Bad Content-Length")
    digits = {text.lstrip("0") or "0" for text in texts}
    if len(digits) > 1:
        raise SipParseError(400, "Conflicting Content-Length")
    number = digits.pop()
    if len(number) > len(str(MAX_MESSAGE)) or int(number) > len(body):
        raise SipParseError(400, "Content-Length larger than the body")
    return body[: int(number)]
