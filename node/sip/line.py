"""One line of a header section: the field it belongs to, its text, and what it says.

The messages of one call repeat the lines that name its parties and its way, so lines that were
read are remembered for a while: most of a message is read by looking its lines up.
"""

from typing import Any, Final

from federation.model.errors import UsageError
from node.sip.errors import SipParseError
from node.sip.names import HEADER_KEYS, header_key
from node.sip.text import unfold
from node.sip.views import READERS, line_value

REMEMBERED_LINES: Final = 4096
"Lines that are remembered; beyond, those that were not needed for longest go."
OFTEN_LENGTH: Final = 256
"Characters of a line up to which it is remembered."


class Line:
    """A line that was written here, or that cannot be read. Lines are never changed."""

    __slots__ = ("key", "text")

    def __init__(self, key: str, text: str) -> None:
        self.key = key
        "The field's long name in lower case."
        self.text = text
        "The line with its folds, without its line end."

    @property
    def value(self) -> Any:
        """What the line says, by `READERS`; `None` for a field that has no reader.

        Raises:
            SipParseError: it is malformed.
        """
        read = READERS.get(self.key)
        return None if read is None else read(line_value(self.text))


class ReadLine(Line):
    """A line whose value is known."""

    __slots__ = ("value",)

    value: Any

    def __init__(self, key: str, text: str, value: Any) -> None:
        self.key = key
        self.text = text
        self.value = value


class LineMemory:
    """The lines that came or went last, by their text.

    They are kept in two halves. When the younger one is full it becomes the older one, whose lines
    go; a line that is needed moves to the younger one.
    """

    __slots__ = ("_half", "_older", "_younger")

    def __init__(self, size: int) -> None:
        self._half = size // 2
        self._younger: dict[str, Line] = {}
        self._older: dict[str, Line] = {}

    def __len__(self) -> int:
        return len(self._younger) + len(self._older)

    def keep(self, line: Line) -> None:
        """Remember a line."""
        if len(line.text) > OFTEN_LENGTH:
            return
        if len(self._younger) >= self._half:
            self._older, self._younger = self._younger, {}
        self._younger[line.text] = line

    def read(self, texts: list[str]) -> list[Line]:
        """The lines of a message as they came; raises as `read_lines`."""
        younger = self._younger
        lines: list[Line] = []
        for text in texts:
            line = younger.get(text)
            if line is None:
                line = self._older.get(text) or _read(text)
                self.keep(line)
                younger = self._younger
            lines.append(line)
        return lines


def _read(text: str) -> Line:
    name, colon, raw = text.partition(":")
    if not colon:
        raise SipParseError(400, "Header line without a colon")
    is_folded = "\n" in text or "\r" in text
    if is_folded and not _only_folds(text):
        raise SipParseError(400, "Bare line end in the header section")
    key = HEADER_KEYS.get(name) or header_key(name)
    reader = READERS.get(key)
    if reader is None:
        return ReadLine(key, text, None)
    try:
        return ReadLine(key, text, reader(unfold(raw) if is_folded else raw.strip(" \t")))
    except SipParseError:
        return Line(key, text)


def _only_folds(text: str) -> bool:
    """Whether each line end in it is a whole one."""
    ends = text.count("\r\n")
    return text.count("\n") == ends and text.count("\r") == ends


_memory: Final = LineMemory(REMEMBERED_LINES)


def read_lines(texts: list[str]) -> list[Line]:
    """The lines of a message as they came.

    Raises:
        SipParseError: one has no colon, no name, or a line end that is not a fold.
    """
    return _memory.read(texts)


def read_soon(line: ReadLine) -> None:
    """Remember a line that was written here and comes back: a Via, or a Record-Route."""
    _memory.keep(line)


def written(name: str, value: str) -> Line:
    """Name and value as a line.

    Raises:
        UsageError: the value holds a line end.
    """
    if "\n" in value or "\r" in value:
        raise UsageError("a line end inside a header field")
    return Line(HEADER_KEYS.get(name) or header_key(name), f"{name}: {value}")


def one_line(text: str) -> str:
    """`text`, which must not hold a line end.

    Raises:
        UsageError: it does.
    """
    if "\n" in text or "\r" in text:
        raise UsageError("a line end inside a start line")
    return text
