"""The header section of a message: its lines, each edited without touching the others."""

from collections.abc import Callable
from typing import Final

from federation.model.errors import UsageError
from node.sip.line import Line, written
from node.sip.names import HEADER_KEYS, NOT_LISTS, header_key
from node.sip.text import first_value_end, split_values, unfold
from node.sip.views import line_value

_LINE_START: Final = " \t\r\n"
_NONE: Final[frozenset[str]] = frozenset()


class HeaderLines:
    """Header fields in the order and spelling they came in.

    Names are taken in any case and in their compact form. An edit replaces, adds or removes lines
    of one name and leaves every other byte as it was. Values given must be one line.
    """

    __slots__ = ("_first", "_lines", "_repeated")

    _lines: list[Line]
    _first: dict[str, Line]
    "The first line of each field."
    _repeated: frozenset[str] | None
    "Fields of several lines, once that was asked for."

    # Reading

    def get(self, name: str) -> str | None:
        """The value of the first line of that name, unfolded; `None` if there is none."""
        line = self._first.get(HEADER_KEYS.get(name) or header_key(name))
        return None if line is None else line_value(line.text)

    def line(self, key: str) -> Line | None:
        """The first line of a field; `key` is its long name in lower case."""
        return self._first.get(key)

    def lines(self, key: str) -> list[Line]:
        """Every line of a field; `key` is its long name in lower case."""
        line = self._first.get(key)
        if line is None:
            return []
        if key not in self._in_several_lines():
            return [line]
        return [line for line in self._lines if line.key == key]

    def _in_several_lines(self) -> frozenset[str]:
        """The fields that have more than one line."""
        if len(self._first) == len(self._lines):
            return _NONE
        if self._repeated is None:
            seen: set[str] = set()
            repeated: set[str] = set()
            for line in self._lines:
                (repeated if line.key in seen else seen).add(line.key)
            self._repeated = frozenset(repeated)
        return self._repeated

    def first_value(self, name: str) -> str | None:
        """The first value of that name alone (the top Via, the next Route); `None` if none."""
        value = self.get(name)
        if value is None or "," not in value:
            return value
        return value[: first_value_end(value)].strip(" \t")

    def get_all(self, name: str) -> list[str]:
        """The unfolded value of each line of that name, in order."""
        return [line_value(line.text) for line in self.lines(header_key(name))]

    def values(self, name: str) -> list[str]:
        """Every value of that name, over all its lines, split at the commas that separate.

        Empty values are left out. Fields in which commas do not separate come a line a value.
        """
        key = header_key(name)
        found = [line_value(line.text) for line in self.lines(key)]
        if not found or key in NOT_LISTS:
            return found
        return [value for text in found for value in split_values(text) if value]

    def __contains__(self, name: str) -> bool:
        return header_key(name) in self._first

    def header_lines(self) -> list[tuple[str, str]]:
        """Each line as (lower-case long name, unfolded value), in order."""
        return [(line.key, line_value(line.text)) for line in self._lines]

    def has(self, key: str) -> bool:
        """Whether there is such a field; `key` is its long name in lower case."""
        return key in self._first

    # Editing

    def set(self, name: str, value: str) -> None:
        """Put one line in place of all of that name: where the first was, else at the end."""
        line = written(name, value)
        key, lines = line.key, self._lines
        before = self._first.get(key)
        if before is None:
            lines.append(line)
        else:
            index = lines.index(before)
            if len(lines) != len(self._first):
                lines[index + 1 :] = [other for other in lines[index + 1 :] if other.key != key]
            lines[index] = line
        self._first[key] = line

    def remove(self, name: str) -> None:
        """Take out every line of that name."""
        key = header_key(name)
        if key in self._first:
            self._lines = [line for line in self._lines if line.key != key]
            del self._first[key]

    def remove_all(self, keys: frozenset[str]) -> None:
        """Take out every line of several fields; `keys` are long names in lower case."""
        if not keys.isdisjoint(self._first):
            self._lines = [line for line in self._lines if line.key not in keys]
            self._first = _first_of_each(self._lines)

    def keep(self, key: str, is_kept: Callable[[Line], bool]) -> None:
        """Take out those lines of one field that `is_kept` does not want."""
        kept = [line for line in self._lines if line.key != key or is_kept(line)]
        if len(kept) != len(self._lines):
            self._lines, self._first = kept, _first_of_each(kept)

    def prepend(self, name: str, value: str) -> None:
        """Add a line above the first of that name; at the top if there is none."""
        self.put(written(name, value))

    def put(self, line: Line) -> None:
        """Add a line above the first of its field; at the top if there is none."""
        before = self._first.get(line.key)
        self._lines.insert(0 if before is None else self._lines.index(before), line)
        self._first[line.key] = line
        self._repeated = None

    def append(self, name: str, value: str) -> None:
        """Add a line below all others."""
        line = written(name, value)
        self._lines.append(line)
        self._first.setdefault(line.key, line)
        self._repeated = None

    def pop_first_value(self, name: str) -> str | None:
        """Take the first value of that name (the top Via, the next Route) out and return it.

        The other values of its line stay as they were written. `None` if there is none.
        """
        key = header_key(name)
        line = self._first.get(key)
        if line is None:
            return None
        index = self._lines.index(line)
        head, _, raw = line.text.partition(":")
        end = first_value_end(raw)
        if end < len(raw):
            left = Line(key, f"{head}: {raw[end + 1 :].lstrip(_LINE_START)}")
            self._lines[index] = self._first[key] = left
        else:
            del self._lines[index]
            self._first = _first_of_each(self._lines)
        return unfold(raw[:end])

    def replace_first_value(self, name: str, value: str) -> None:
        """Write the first value of that name anew; the rest of its line stays as it was written.

        Raises:
            UsageError: there is none.
        """
        key = header_key(name)
        line = self._first.get(key)
        if line is None:
            raise UsageError(f"no {name} to replace")
        head, _, raw = line.text.partition(":")
        text = written(head, value).text + raw[first_value_end(raw) :]
        self._lines[self._lines.index(line)] = self._first[key] = Line(key, text)


def _first_of_each(lines: list[Line]) -> dict[str, Line]:
    return {line.key: line for line in reversed(lines)}
