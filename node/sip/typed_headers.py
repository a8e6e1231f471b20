"""What the header fields of a message say, as values."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from node.sip.errors import SipParseError
from node.sip.header_lines import HeaderLines
from node.sip.headers import CSeq, NameAddr, Via
from node.sip.line import Line, ReadLine, read_soon
from node.sip.text import first_value_end
from node.sip.views import joined

if TYPE_CHECKING:
    from node.sip.message import Request


class TypedHeaders(HeaderLines):
    """Header fields with typed views; what a line says is known once it was read.

    An error names the request in `partial` where it may be answered.
    """

    __slots__ = ()

    @property
    def top_via(self) -> Via:
        """The first Via value. Raises `SipParseError` if missing or malformed."""
        line = self._first.get("via")
        if type(line) is ReadLine:
            via: Via = line.value[0]
            return via
        value = self.first_value("via")
        if value is None:
            raise SipParseError(400, "Missing via", self._answerable())
        try:
            return Via.parse(value)  # whatever follows in the line
        except SipParseError as error:
            error.partial = self._answerable()
            raise

    @property
    def vias(self) -> Sequence[Via]:
        """All Via values, the top one first. Raises `SipParseError`."""
        return self._list("via")

    @property
    def from_(self) -> NameAddr:
        """The From field. Raises `SipParseError` if missing or malformed."""
        line = self._first.get("from")
        value: NameAddr = line.value if type(line) is ReadLine else self._needed("from")
        return value

    @property
    def to(self) -> NameAddr:
        """The To field. Raises `SipParseError` if missing or malformed."""
        line = self._first.get("to")
        value: NameAddr = line.value if type(line) is ReadLine else self._needed("to")
        return value

    @property
    def call_id(self) -> str:
        """The Call-ID. Raises `SipParseError` if missing or malformed."""
        line = self._first.get("call-id")
        value: str = line.value if type(line) is ReadLine else self._needed("call-id")
        return value

    @property
    def cseq(self) -> CSeq:
        """The CSeq. Raises `SipParseError` if missing, malformed or too large."""
        line = self._first.get("cseq")
        value: CSeq = line.value if type(line) is ReadLine else self._needed("cseq")
        return value

    @property
    def max_forwards(self) -> int | None:
        """Max-Forwards, `None` if missing. Raises `SipParseError` if not a number up to 255."""
        line = self._first.get("max-forwards")
        number: int | None = None if line is None else self._needed("max-forwards")
        return number

    @property
    def contacts(self) -> Sequence[NameAddr]:
        """All Contact values; empty for `*`. Raises `SipParseError`."""
        return self._list("contact")

    @property
    def is_star_contact(self) -> bool:
        """Whether the one Contact is `*` (RFC 3261 10.2.2)."""
        return self.get("contact") == "*"

    @property
    def routes(self) -> Sequence[NameAddr]:
        """All Route values. Raises `SipParseError`."""
        return self._list("route")

    @property
    def record_routes(self) -> Sequence[NameAddr]:
        """All Record-Route values. Raises `SipParseError`."""
        return self._list("record-route")

    def note_top_via(self, via: Via) -> None:
        """Write the first Via value anew."""
        line = self._first["via"]
        head, _, raw = line.text.partition(":")
        text = f"{head}: {via}{raw[first_value_end(raw) :]}"
        if type(line) is ReadLine:
            read = ReadLine("via", text, (via, *line.value[1:]))
            read_soon(read)
            new: Line = read
        else:
            new = Line("via", text)
        self._lines[self._lines.index(line)] = self._first["via"] = new

    def _list(self, key: str) -> Sequence[Any]:
        """The values of a list over all its lines."""
        line = self._first.get(key)
        if line is None:
            return []
        try:
            if key not in self._in_several_lines():
                values: Sequence[Any] = line.value
                return values
            lines = [line.value for line in self.lines(key)]
        except SipParseError as error:
            error.partial = self._answerable()
            raise
        return joined(lines)

    def _needed(self, key: str) -> Any:
        """What the line of a field says that was written here, is missing or cannot be read."""
        line = self._first.get(key)
        if line is None:
            raise SipParseError(400, f"Missing {key}", self._answerable())
        try:
            return line.value
        except SipParseError as error:
            error.partial = self._answerable()
            raise

    def _answerable(self) -> "Request | None":
        """The request itself, if an answer to it is possible."""
        return None
