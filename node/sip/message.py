"""SIP messages as a proxy needs them: raw header lines, read on demand, passed on byte for byte.

A message is its start line, its header lines and its body. Parsing cuts the header section into
lines and names them, nothing more; a line that nobody edits leaves as it came, folds, blanks,
compact names and all. Values are read when asked for, and the parsed form is kept until that field
is edited.

Text is UTF-8 with `surrogateescape`, which gives back any bytes unchanged: what is not UTF-8 shows
as lone surrogates, so escape before logging.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final, Self

from node.sip.errors import SipParseError
from node.sip.headers import NameAddr
from node.sip.line import Line, ReadLine, one_line, written
from node.sip.names import REASONS, SINGLE
from node.sip.raw import RawMessage, cut_message, salvage_message
from node.sip.typed_headers import TypedHeaders
from node.sip.uri import Uri
from node.sip.views import LISTS, NEEDED

__all__ = ["Message", "Request", "Response", "SipParseError", "parse_message"]

_METHOD: Final = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]++")
_OUR_VERSION: Final = re.compile(r"SIP/2\.0", re.IGNORECASE | re.ASCII)
_VERSION: Final = re.compile(r"SIP/[0-9]++\.[0-9]++", re.IGNORECASE | re.ASCII)
_STATUS: Final = re.compile(r"[1-6][0-9][0-9]")
METHODS: Final = frozenset(("INVITE", "ACK", "BYE", "CANCEL", "REGISTER", "OPTIONS"))
"Methods that most requests have, and that need no look at their characters."
_RETURNED: Final = frozenset(("via", "from", "to"))
_COPIED: Final = frozenset(("via", "from", "to", "call-id", "cseq"))
_COPIED_TRYING: Final = _COPIED | {"timestamp"}
_COPIED_DIALOG: Final = _COPIED | {"record-route"}


class Message(TypedHeaders):
    """What requests and responses share: header fields and a body."""

    __slots__ = ("_body", "_start")

    def __init__(
        self, start: str, lines: list[Line], body: bytes, first: dict[str, Line] | None = None
    ) -> None:
        self._lines = lines
        self._first = {line.key: line for line in reversed(lines)} if first is None else first
        self._repeated = None
        self._start = start
        self._body = body

    @property
    def start_line(self) -> str:
        """The request line or status line, without its line end."""
        return self._start

    @property
    def body(self) -> bytes:
        """The body; setting it sets Content-Length too."""
        return self._body

    @body.setter
    def body(self, body: bytes) -> None:
        self._body = body
        self.set("Content-Length", str(len(body)))

    def cut_body(self) -> None:
        """Leave of the body what Content-Length says (RFC 3261 18.3).

        Raises:
            SipParseError: it is malformed, says two different lengths, or more than there is.
        """
        lines = self.lines("content-length")
        length: int = lines[0].value
        if len(lines) > 1 and any(line.value != length for line in lines):
            raise SipParseError(400, "Conflicting Content-Length")
        if length > len(self._body):
            raise SipParseError(400, "Content-Length larger than the body")
        self._body = self._body[:length]

    # Validation

    def check(self) -> None:
        """Everything a proxy has to verify before it passes the message on (RFC 3261 16.3 step 1).

        Present and well-formed are: Via (each), From, To, Call-ID, CSeq, Max-Forwards, Contact,
        Route and Record-Route; what may stand once stands once. Other fields are not looked at.

        Raises:
            SipParseError: with the status that the sender should get.
        """
        try:
            self._check()
        except SipParseError as error:
            error.partial = self._answerable()
            raise

    def _check(self) -> None:
        first, lines = self._first, self._lines
        repeated = self._in_several_lines()
        if repeated:
            if not repeated.isdisjoint(SINGLE):
                raise SipParseError(400, "Repeated header field that may occur once")
            for key in repeated & LISTS:
                self._list(key)
        for line in lines:
            if type(line) is not ReadLine:
                _ = line.value
        for key in NEEDED:
            if key not in first:
                raise SipParseError(400, f"Missing {key}")

    # Writing

    def encode(self) -> bytes:
        """The message as bytes; what was not edited is as it came."""
        text = "\r\n".join([self._start, *[line.text for line in self._lines], "", ""])
        return text.encode("utf-8", "surrogateescape") + self._body

    @property
    def size(self) -> int:
        """How many bytes `encode` makes, without making them where all is ASCII."""
        text = "".join([line.text for line in self._lines])
        if not (text.isascii() and self._start.isascii()):
            return len(self.encode())
        return len(text) + len(self._start) + 2 * len(self._lines) + 4 + len(self._body)

    def ensure_content_length(self) -> None:
        """Add Content-Length if it is missing, as streams need (RFC 3261 18.3)."""
        if "content-length" not in self._first:
            self.append("Content-Length", str(len(self._body)))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.start_line!a}>"


class Request(Message):
    """A SIP request."""

    __slots__ = ("_raw_uri", "_uri", "method")

    method: str
    "As written; methods are compared with regard to case."

    def __init__(
        self,
        start: str,
        method: str,
        raw_uri: str,
        lines: list[Line],
        body: bytes,
        first: dict[str, Line] | None = None,
    ) -> None:
        super().__init__(start, lines, body, first)
        self._raw_uri = raw_uri
        self._uri: Uri | None = None
        self.method = method

    @classmethod
    def create(
        cls, method: str, uri: Uri | str, headers: Iterable[tuple[str, str]], body: bytes = b""
    ) -> Self:
        """A new request with these header fields, in order, and Content-Length below them."""
        raw_uri = one_line(str(uri))
        lines = [written(name, value) for name, value in headers]
        lines.append(Line("content-length", f"Content-Length: {len(body)}"))
        return cls(f"{method} {raw_uri} SIP/2.0", method, raw_uri, lines, body)

    @property
    def raw_uri(self) -> str:
        """The Request-URI as written."""
        return self._raw_uri

    @property
    def uri(self) -> Uri:
        """The Request-URI; setting it rewrites the request line. Raises `SipParseError`."""
        if self._uri is None:
            try:
                self._uri = Uri.parse(self._raw_uri)
            except SipParseError as error:
                error.partial = self._answerable()
                raise
        return self._uri

    @uri.setter
    def uri(self, uri: Uri) -> None:
        self._uri = uri
        self._raw_uri = one_line(str(uri))
        self._start = f"{self.method} {self._raw_uri} SIP/2.0"

    def copy(self) -> "Request":
        """An independent request that says the same."""
        return self._twin(self._lines[:], self._first.copy())

    def _twin(self, lines: list[Line], first: dict[str, Line]) -> "Request":
        twin = Request(self._start, self.method, self._raw_uri, lines, self._body, first)
        twin._uri = self._uri
        return twin

    def passed_on(self, changed: Mapping[str, Line], dropped: frozenset[str]) -> "Request":
        """A copy for the next hop.

        The fields of `changed`, none of which may stand twice, have these lines in place of
        theirs, or at the end; those of `dropped` are left out. All else is as it came.
        """
        lines = [changed.get(line.key, line) for line in self._lines if line.key not in dropped]
        lines += [line for key, line in changed.items() if key not in self._first]
        first = {**self._first, **changed}
        for key in dropped:
            first.pop(key, None)
        return self._twin(lines, first)

    def _answerable(self) -> "Request | None":
        present = self.method != "ACK" and all(key in self._first for key in NEEDED)
        return self if present else None

    def _check(self) -> None:
        uri = self.uri
        if uri.headers:
            raise SipParseError(400, "Request-URI with header fields")
        super()._check()
        if self.cseq.method != self.method:
            raise SipParseError(400, "CSeq method differs from the request's")
        if not uri.is_sip and uri.scheme != "tel" and not _is_service(uri):
            raise SipParseError(416, REASONS[416])


class Response(Message):
    """A SIP response."""

    __slots__ = ("reason", "status")

    status: int
    reason: str

    def __init__(
        self,
        start: str,
        status: int,
        reason: str,
        lines: list[Line],
        body: bytes,
        first: dict[str, Line] | None = None,
    ) -> None:
        super().__init__(start, lines, body, first)
        self.status = status
        self.reason = reason

    @classmethod
    def answering(
        cls,
        request: Request,
        status: int,
        reason: str | None = None,
        *,
        to_tag: str | None = None,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
    ) -> Self:
        """The response to a request (RFC 3261 8.2.6, 12.1.1), with its lines copied as they came.

        Those are Via, From, To (with `to_tag` if it has no tag and this is no 100), Call-ID and
        CSeq; Timestamp in a 100; Record-Route in 101-299. Works on the `partial` of an error.
        """
        wanted = _COPIED
        if status == 100:
            wanted = _COPIED_TRYING
        elif status < 300:
            wanted = _COPIED_DIALOG
        lines = [line for line in request._lines if line.key in wanted]
        if len(request._lines) != len(request._first):
            lines = _once_where_single(lines)
        if to_tag is not None and status > 100 and not _has_tag(request):
            to = request._first["to"]
            lines[lines.index(to)] = Line("to", f"{to.text};tag={to_tag}")
        lines += [written(name, value) for name, value in headers]
        lines.append(Line("content-length", f"Content-Length: {len(body)}"))
        reason = REASONS.get(status, "") if reason is None else one_line(reason)
        return cls(f"SIP/2.0 {status} {reason}", status, reason, lines, body)

    def returned_to(self, request: Request, dropped: frozenset[str] = frozenset()) -> "Response":
        """This response for the sender of `request`: with that one's Via, From and To lines.

        To keeps the tag that it has here where the request has none. All else is copied but the
        fields of `dropped`.

        Raises:
            SipParseError: To cannot be read.
        """
        first = self._first.copy()
        for key in dropped:
            first.pop(key, None)
        for key in _RETURNED:
            first[key] = request._first[key]
        lines = [line for line in request._lines if line.key in _RETURNED]
        if request.to.tag is None and (tag := self.to.tag) is not None:
            to, value = first["to"], request.to
            tagged = NameAddr(value.display, value.uri, (*value.params, ("tag", tag)))
            first["to"] = line = ReadLine("to", f"{to.text};tag={tag}", tagged)
            lines[lines.index(to)] = line
        dropped |= _RETURNED
        lines += [line for line in self._lines if line.key not in dropped]
        return Response(self._start, self.status, self.reason, lines, self._body, first)

    def copy(self) -> "Response":
        """An independent response that says the same."""
        lines, first = self._lines[:], self._first.copy()
        return Response(self._start, self.status, self.reason, lines, self._body, first)


def parse_message(data: bytes) -> Request | Response:
    """Read one message: a datagram, or what a stream's framing cut out.

    Line ends before it are skipped. Without Content-Length the body is all that follows the header
    section; with it, what is too much is dropped (RFC 3261 18.3). Only the start line, the cut into
    header fields and Content-Length are looked at; `check` does the rest.

    Raises:
        SipParseError: 400, 505 for another SIP version, 513 if too large. With `partial` where an
            answer is possible.
    """
    try:
        raw = cut_message(data)
        is_response = raw.start[:4].upper() == "SIP/"
        message = _read_response(raw) if is_response else _read_request(raw)
        if message.has("content-length"):
            message.cut_body()
        return message
    except SipParseError as error:
        error.partial = _salvaged(salvage_message(data))
        raise


def _read_request(raw: RawMessage) -> Request:
    parts = raw.start.split(" ", 3)
    if len(parts) != 3 or not parts[1]:
        raise SipParseError(400, "Bad request line")
    method, uri, version = parts
    if method not in METHODS and not _METHOD.fullmatch(method):
        raise SipParseError(400, "Bad request line")
    if version != "SIP/2.0" and not _OUR_VERSION.fullmatch(version):
        if _VERSION.fullmatch(version):
            raise SipParseError(505, REASONS[505])
        raise SipParseError(400, "Bad request line")
    return Request(raw.start, method, uri, raw.lines, raw.body)


def _read_response(raw: RawMessage) -> Response:
    version, _, rest = raw.start.partition(" ")
    status, _, reason = rest.partition(" ")
    is_ours = version == "SIP/2.0" or _OUR_VERSION.fullmatch(version) is not None
    if not is_ours or not _STATUS.fullmatch(status):
        raise SipParseError(400, "Bad status line")
    return Response(raw.start, int(status), reason, raw.lines, raw.body)


def _salvaged(raw: RawMessage) -> Request | None:
    """A request that may be answered, though its start line may be anything."""
    method, _, rest = raw.start.partition(" ")
    if not _METHOD.fullmatch(method):
        return None
    request = Request(raw.start, method, rest.rpartition(" ")[0], raw.lines, raw.body)
    return request._answerable()


def _is_service(uri: Uri) -> bool:
    return uri.scheme == "urn" and uri.opaque.lower().startswith("service:")


def _has_tag(request: Request) -> bool:
    try:
        return request.to.tag is not None
    except SipParseError:
        return True


def _once_where_single(lines: list[Line]) -> list[Line]:
    """The lines without those that repeat a field which may occur once."""
    kept: list[Line] = []
    seen: set[str] = set()
    for line in lines:
        if line.key not in seen:
            kept.append(line)
        if line.key in SINGLE:
            seen.add(line.key)
    return kept
