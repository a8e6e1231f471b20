"""One line of a header section: the field it belongs to, its text, and what it says.

The messages of one call repeat the lines that name its parties and its way, so lines that were
read are remembered for a while: most of a message is read by looking its lines up.
"""

from functools import lru_cache
from typing import Any, Final

from federation.model.errors import UsageError
from node.sip.errors import SipParseError
from node.sip.names import HEADER_KEYS, header_key
from node.sip.views import READERS

REMEMBERED_LINES: Final = 4096
"Lines that are remembered; beyond, the one that was not needed for longest goes."
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
        return None if read is None else read(self.text)


class ReadLine(Line):
    """A line whose value is known."""

    __slots__ = ("value",)

    value: Any

    def __init__(self, key: str, text: str, value: Any) -> None:
        self.key = key
        self.text = text
        self.value = value


def read_lines(texts: list[str]) -> list[Line]:
    """The lines of a message as they came.

    Raises:
        SipParseError: one has no colon, or no name.
    """
    return [_known(text) if len(text) <= OFTEN_LENGTH else _read(text) for text in texts]


def _read(text: str) -> Line:
    name, colon, _ = text.partition(":")
    if not colon:
        raise SipParseError(400, "Header line without a colon")
    key = HEADER_KEYS.get(name) or header_key(name)
    read = READERS.get(key)
    try:
        return ReadLine(key, text, None if read is None else read(text))
    except SipParseError:
        return Line(key, text)


_known = lru_cache(maxsize=REMEMBERED_LINES)(_read)


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
