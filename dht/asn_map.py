"""Which autonomous system announces an address, from a local file.

Whoever rents addresses in many networks often has them from one provider. With a map, a provider
counts as one: in the table, and among the answers that settle a lookup.

Two forms of lines are read, and may be mixed; empty lines and those that begin with `#` count for
nothing:

- `prefix,asn`: `192.0.2.0/24,64496` or `2001:db8::/32,AS64497`;
- ranges as the ip2asn files have them: first address, last address, number, and whatever follows,
  with tabs between; number 0 means that nobody announces the range.

The longest prefix (the shortest range) that holds an address counts.
"""

import ipaddress
from array import array
from bisect import bisect_right
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from federation.model.address import AddressError, IPAddress, parse_ip, unmapped
from federation.model.errors import ConfigError

MAX_MAP_BYTES = 256 << 20
MAX_ASN = (1 << 32) - 1
_IPV4_BITS, _IPV6_BITS = 32, 128


class _Range(NamedTuple):
    first: int
    last: int
    asn: int
    line: int


class _Table:
    """Ranges of one family, cut so that none overlaps another; sorted by their first address."""

    def __init__(self, ranges: list[_Range], bits: int, where: str) -> None:
        self._firsts: array[int] | list[int] = array("L") if bits == _IPV4_BITS else []
        self._asns = array("L")
        self._end = 1 << bits
        open_: list[_Range] = []
        for one in sorted(ranges, key=lambda r: (r.first, -r.last, r.line)):
            while open_ and open_[-1].last < one.first:
                self._close(open_)
            if open_ and one.last > open_[-1].last:
                raise ConfigError(
                    f"{where}:{one.line}: this range and that of line {open_[-1].line} overlap, "
                    "but neither holds the other"
                )
            self._begin(one.first, one.asn)
            open_.append(one)
        while open_:
            self._close(open_)

    def _close(self, open_: list[_Range]) -> None:
        ended = open_.pop()
        self._begin(ended.last + 1, open_[-1].asn if open_ else 0)

    def _begin(self, first: int, asn: int) -> None:
        if first >= self._end:
            return
        if len(self._firsts) and self._firsts[-1] == first:
            self._asns[-1] = asn
        else:
            self._firsts.append(first)
            self._asns.append(asn)

    def __len__(self) -> int:
        return len(self._firsts)

    def look_up(self, number: int) -> int:
        index = bisect_right(self._firsts, number) - 1
        return self._asns[index] if index >= 0 else 0


class AsnMap:
    """Autonomous systems by address. Immutable once made."""

    def __init__(self, lines: Iterable[str], where: str) -> None:
        """Read the lines of `where`, a name for complaints.

        Raises:
            ConfigError: a line is of neither form, or two ranges overlap in part.
        """
        ranges: dict[int, list[_Range]] = {4: [], 6: []}
        for number, raw in enumerate(lines, 1):
            line = raw.strip()
            if line and not line.startswith("#"):
                version, one = _read_line(line, number, where)
                ranges[version].append(one)
        self._tables = {
            version: _Table(ranges[version], bits, where)
            for version, bits in ((4, _IPV4_BITS), (6, _IPV6_BITS))
        }
        self.entries = sum(map(len, ranges.values()))
        "Lines that named a range."

    def asn_of(self, ip: IPAddress) -> int | None:
        """The number of the autonomous system; None if the map has none."""
        ip = unmapped(ip)
        return self._tables[ip.version].look_up(int(ip)) or None


def load_asn_map(path: Path) -> AsnMap:
    """Read a map from a file; takes seconds for the whole internet, so call it in a thread.

    Raises:
        ConfigError: it cannot be read, is too large, or a line will not do; names file and line.
    """
    try:
        if path.stat().st_size > MAX_MAP_BYTES:
            raise ConfigError(f"{path} has over {MAX_MAP_BYTES} bytes; a map is smaller")
        with path.open(encoding="utf-8", newline=None) as file:
            return AsnMap(file, str(path))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error


def _read_line(line: str, number: int, where: str) -> tuple[int, _Range]:
    try:
        if "\t" in line:
            first_text, last_text, asn_text = line.split("\t", 3)[:3]
            first, last = parse_ip(first_text), parse_ip(last_text)
            if first.version != last.version or int(first) > int(last):
                raise ValueError("the range ends before it begins")
            bounds = int(first), int(last)
            version = first.version
        else:
            prefix, asn_text = line.split(",")
            network = ipaddress.ip_network(prefix.strip())
            bounds = int(network.network_address), int(network.broadcast_address)
            version = network.version
        return version, _Range(*bounds, _read_asn(asn_text.strip()), number)
    except (ValueError, AddressError) as error:
        raise ConfigError(
            f"{where}:{number}: {line[:80]!r} found, but a line is PREFIX,ASN like "
            f"192.0.2.0/24,64496, or FIRST, LAST and ASN with tabs between ({error})"
        ) from error


def _read_asn(text: str) -> int:
    digits = text[2:] if text[:2].upper() == "AS" else text
    if not (digits.isascii() and digits.isdigit()) or int(digits) > MAX_ASN:
        raise ValueError(f"{text!r} is no number of an autonomous system")
    return int(digits)
