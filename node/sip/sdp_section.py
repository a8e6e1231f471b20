"""One section of a session description: its lines, of which `c=` and attributes are edited."""

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from federation.model.address import AddressError, parse_ip
from federation.model.errors import UsageError
from node.sip.ice_candidate import SdpError

_CONNECTION: Final = re.compile(r"c=([^ \r\n]++) ([^ \r\n]++) ([^ /\r\n]++)(?>(/[0-9/]++)?)[ \t]*+")
_ORIGIN: Final = re.compile(
    r"(o=[^ \r\n]++ [^ \r\n]++ [^ \r\n]++ IN) (IP[46]) [^ \r\n]++(?=[\r\n]|$)"
)
_NULL_ADDRESSES: Final = ("0.0.0.0", "::")  # noqa: S104 - compared with, never bound
_BEFORE_CONNECTION: Final = ("v=", "o=", "s=", "i=", "u=", "e=", "p=", "m=")
_NAME_ENDS: Final = ("", ":", "\r", "\n")


class Connection(NamedTuple):
    """What a `c=` line says."""

    family: str
    "`IP4` or `IP6`, or what another network type calls its own."
    address: str
    "An IP address or a host name, without any TTL."

    @property
    def ip(self) -> str | None:
        """The address in normal form, `None` where it is a name."""
        try:
            return str(parse_ip(self.address))
        except AddressError:
            return None

    @property
    def is_null(self) -> bool:
        """Whether it is the unspecified address: hold of old, or trickle's "not yet"."""
        return self.address in _NULL_ADDRESSES


class Section:
    """The session part or one media part: lines, of which attributes are read and edited by name.

    An attribute without a value has the value `""`.
    """

    __slots__ = ("_lines", "_newline")

    def __init__(self, lines: list[str], newline: str) -> None:
        self._lines = lines
        self._newline = newline

    def get(self, name: str) -> str | None:
        """The value of the first attribute of that name; `None` if there is none."""
        places = self._places(name)
        return self._value(places[0], name) if places else None

    def get_all(self, name: str) -> list[str]:
        """The values of all attributes of that name, in order."""
        return [self._value(index, name) for index in self._places(name)]

    def __contains__(self, name: str) -> bool:
        return bool(self._places(name))

    def set(self, name: str, value: str = "") -> None:
        """Put one attribute in place of all of that name: where the first was, else at the end."""
        places = self._places(name)
        if not places:
            self.append(name, value)
            return
        self._lines[places[0]] = self._written(_attribute(name, value), places[0])
        self._drop(places[1:])

    def append(self, name: str, value: str = "") -> None:
        """Add an attribute below the last of that name, else at the end."""
        places = self._places(name)
        self._insert((places[-1] if places else self._last()) + 1, _attribute(name, value))

    def remove(self, name: str, where: Callable[[str], bool] | None = None) -> int:
        """Take out the attributes of that name (`where` of the value holds); how many they were."""
        places = self._places(name)
        if where is not None:
            places = [index for index in places if where(self._value(index, name))]
        self._drop(places)
        return len(places)

    @property
    def own_connection(self) -> Connection | None:
        """What this section's own (first) `c=` line says."""
        for line in self._lines:
            if line.startswith("c="):
                return read_connection(line)
        return None

    def set_connection(self, address: str) -> None:
        """Write the `c=` line of this section, in place of any it had; a TTL goes.

        Raises:
            UsageError: not an IP address.
        """
        self._put_connection(f"c=IN {_family(address)} {address}")

    def align_origin(self, address: str) -> None:
        """Let an `o=` line of the other IP family name `address`; one of its own family stays.

        It is a mere identifier (RFC 8866 section 5.2), yet some phones take it for the family of
        all media and refuse the description.

        Raises:
            UsageError: not an IP address.
        """
        family = _family(address)
        for index, line in enumerate(self._lines):
            match = _ORIGIN.match(line)
            if match is not None and match[2] != family:
                self._lines[index] = self._written(f"{match[1]} {family} {address}", index)

    def _put_connection(self, text: str) -> None:
        places = [i for i, line in enumerate(self._lines) if line.startswith("c=")]
        if places:
            self._lines[places[0]] = self._written(text, places[0])
            self._drop(places[1:])
            return
        before = [i for i, line in enumerate(self._lines) if line[:2] in _BEFORE_CONNECTION]
        self._insert(before[-1] + 1, text)

    def _places(self, name: str) -> list[int]:
        """The indexes of all attributes of that name."""
        prefix = f"a={name}"
        end = len(prefix)
        return [
            index
            for index, line in enumerate(self._lines)
            if line.startswith(prefix) and line[end : end + 1] in _NAME_ENDS
        ]

    def _drop(self, places: list[int]) -> None:
        if places:
            gone = set(places)
            self._lines = [line for i, line in enumerate(self._lines) if i not in gone]

    def _value(self, index: int, name: str) -> str:
        return self._lines[index][len(name) + 3 :].rstrip("\r\n")

    def _last(self) -> int:
        """The last line that is one: blank lines at the end stay at the end."""
        index = len(self._lines) - 1
        while index > 0 and not self._lines[index].rstrip("\r\n"):
            index -= 1
        return index

    def _written(self, text: str, index: int) -> str:
        """`text` with the line end of the line it replaces."""
        old = self._lines[index]
        return text + old[len(old.rstrip("\r\n")) :]

    def _insert(self, index: int, text: str) -> None:
        above = self._lines[index - 1]
        if not above.endswith("\n"):
            self._lines[index - 1] = above + self._newline
        self._lines.insert(index, text + self._newline)


def _family(address: str) -> str:
    try:
        return "IP6" if parse_ip(address).version == 6 else "IP4"
    except AddressError as error:
        raise UsageError(f"{address!r} cannot stand in a description") from error


def _attribute(name: str, value: str) -> str:
    if "\n" in value or "\r" in value:
        raise UsageError("a line end inside an attribute")
    return f"a={name}:{value}" if value else f"a={name}"


def read_connection(line: str) -> Connection:
    """Read a `c=` line.

    Raises:
        SdpError: bad syntax.
    """
    match = _CONNECTION.fullmatch(line.rstrip("\r\n"))
    if match is None:
        raise SdpError("a c= line that cannot be read")
    return Connection(match[2], match[3])
