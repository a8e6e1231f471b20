"""The header section of a message: raw lines, named, each edited without touching the others."""

from collections.abc import Iterable
from typing import Any, Final

from federation.model.errors import UsageError
from node.sip.names import NOT_LISTS, header_key
from node.sip.text import first_value_end, split_values, unfold

ALL_VIAS: Final = "via*"
_LINE_START: Final = " \t\r\n"


class HeaderLines:
    """Header fields in the order and spelling they came in.

    Names are taken in any case and in their compact form. An edit replaces, adds or removes lines
    of one name and leaves every other byte as it was. Values given must be one line.
    """

    __slots__ = ("_cache", "_keys", "_lines")

    def __init__(self, keys: list[str], lines: list[str]) -> None:
        self._keys = keys
        self._lines = lines
        self._cache: dict[str, Any] = {}
        "Parsed values by field (all Vias apart, by `ALL_VIAS`), dropped when the field is edited."

    # Reading

    def get(self, name: str) -> str | None:
        """The value of the first line of that name, unfolded; `None` if there is none."""
        return self._first(header_key(name))

    def _line(self, key: str) -> str | None:
        """The first line of a field as it came."""
        keys = self._keys
        return self._lines[keys.index(key)] if key in keys else None

    def _lines_of(self, key: str) -> list[str]:
        """Every line of a field as it came."""
        keys = self._keys
        count = keys.count(key)
        if count > 1:
            return [line for line, k in zip(self._lines, keys, strict=True) if k == key]
        return [self._lines[keys.index(key)]] if count else []

    def _first(self, key: str) -> str | None:
        line = self._line(key)
        return None if line is None else line_value(line)

    def _all(self, key: str) -> list[str]:
        return [line_value(line) for line in self._lines_of(key)]

    def first_value(self, name: str) -> str | None:
        """The first value of that name alone (the top Via, the next Route); `None` if none."""
        value = self._first(header_key(name))
        if value is None or "," not in value:
            return value
        return value[: first_value_end(value)].strip(" \t")

    def get_all(self, name: str) -> list[str]:
        """The unfolded value of each line of that name, in order."""
        return self._all(header_key(name))

    def values(self, name: str) -> list[str]:
        """Every value of that name, over all its lines, split at the commas that separate.

        Empty values are left out. Fields in which commas do not separate come a line a value.
        """
        if header_key(name) in NOT_LISTS:
            return self.get_all(name)
        return [value for line in self.get_all(name) for value in split_values(line) if value]

    def __contains__(self, name: str) -> bool:
        return header_key(name) in self._keys

    def header_lines(self) -> list[tuple[str, str]]:
        """Each line as (lower-case long name, unfolded value), in order."""
        return [(key, line_value(line)) for key, line in zip(self._keys, self._lines, strict=True)]

    def has(self, key: str) -> bool:
        """Whether there is such a field; `key` is its long name in lower case."""
        return key in self._keys

    # Editing

    def set(self, name: str, value: str) -> None:
        """Put one line in place of all of that name: where the first was, else at the end."""
        key, line = header_key(name), header_line(name, value)
        if key not in self._keys:
            self._insert(len(self._keys), key, line)
            return
        first = self._keys.index(key)
        if self._keys.count(key) > 1:
            self.remove(name)
            self._insert(first, key, line)
        else:
            self._lines[first] = line
            self._forget(key)

    def remove(self, name: str) -> None:
        """Take out every line of that name."""
        key = header_key(name)
        if key in self._keys:
            kept = [i for i, k in enumerate(self._keys) if k != key]
            self._lines = [self._lines[i] for i in kept]
            self._keys = [self._keys[i] for i in kept]
            self._forget(key)

    def remove_all(self, keys: frozenset[str]) -> None:
        """Take out every line of several fields; `keys` are long names in lower case."""
        if not keys.isdisjoint(self._keys):
            for key in keys:
                self.remove(key)

    def prepend(self, name: str, value: str) -> None:
        """Add a line above the first of that name; at the top if there is none."""
        key, line = header_key(name), header_line(name, value)
        self._insert(self._keys.index(key) if key in self._keys else 0, key, line)

    def append(self, name: str, value: str) -> None:
        """Add a line below all others."""
        self._insert(len(self._keys), header_key(name), header_line(name, value))

    def pop_first_value(self, name: str) -> str | None:
        """Take the first value of that name (the top Via, the next Route) out and return it.

        The other values of its line stay as they were written. `None` if there is none.
        """
        key = header_key(name)
        if key not in self._keys:
            return None
        index = self._keys.index(key)
        head, _, raw = self._lines[index].partition(":")
        end = first_value_end(raw)
        if end < len(raw):
            self._lines[index] = f"{head}: {raw[end + 1 :].lstrip(_LINE_START)}"
        else:
            del self._lines[index], self._keys[index]
        self._forget(key)
        return unfold(raw[:end])

    def replace_first_value(self, name: str, value: str) -> None:
        """Write the first value of that name anew; the rest of its line stays as it was written.

        Raises:
            UsageError: there is none.
        """
        key = header_key(name)
        if key not in self._keys:
            raise UsageError(f"no {name} to replace")
        index = self._keys.index(key)
        head, _, raw = self._lines[index].partition(":")
        self._lines[index] = header_line(head, value) + raw[first_value_end(raw) :]
        self._forget(key)

    def _forget(self, key: str) -> None:
        """Drop what was parsed of a field that is being edited."""
        self._cache.pop(key, None)
        if key == "via":
            self._cache.pop(ALL_VIAS, None)

    def _insert(self, index: int, key: str, line: str) -> None:
        self._keys.insert(index, key)
        self._lines.insert(index, line)
        self._forget(key)


def line_value(line: str) -> str:
    """The unfolded value of a header line."""
    value = line[line.index(":") + 1 :]
    return unfold(value) if "\r\n" in value else value.strip(" \t")


def header_line(name: str, value: str) -> str:
    """Name and value as a line.

    Raises:
        UsageError: the value holds a line end.
    """
    return f"{name}: {one_line(value)}"


def one_line(text: str) -> str:
    """`text`, which must not hold a line end.

    Raises:
        UsageError: it does.
    """
    if "\n" in text or "\r" in text:
        raise UsageError("a line end inside a header field or start line")
    return text


def build_lines(headers: Iterable[tuple[str, str]]) -> tuple[list[str], list[str]]:
    """Keys and lines of new header fields."""
    keys, lines = [], []
    for name, value in headers:
        keys.append(header_key(name))
        lines.append(header_line(name, value))
    return keys, lines
