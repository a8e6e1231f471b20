"""SIP messages as a proxy needs them: raw header lines, read on demand, passed on byte for byte.

A message is its start line, its header lines and its body. Parsing cuts the header section into
lines and names them, nothing more; a line that nobody edits leaves as it came, folds, blanks,
compact names and all. Values are read when asked for, and the parsed form is kept until that field
is edited.

Text is UTF-8 with `surrogateescape`, which gives back any bytes unchanged: what is not UTF-8 shows
as lone surrogates, so escape before logging.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Self, TypeVar, cast

from node.sip.errors import SipParseError
from node.sip.header_lines import ALL_VIAS, HeaderLines, build_lines, one_line
from node.sip.headers import CSeq, NameAddr, Via
from node.sip.names import REASONS, SINGLE, header_key
from node.sip.raw import RawMessage, cut_message, salvage_message
from node.sip.uri import Uri
from node.sip.views import read_all, read_list, read_single, read_top_via, read_vias

__all__ = ["Message", "Request", "Response", "SipParseError", "parse_message"]

_METHOD: Final = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]++")
_OUR_VERSION: Final = re.compile(r"SIP/2\.0", re.IGNORECASE | re.ASCII)
_VERSION: Final = re.compile(r"SIP/[0-9]++\.[0-9]++", re.IGNORECASE | re.ASCII)
_STATUS: Final = re.compile(r"[1-6][0-9][0-9]")
_ANSWER_NEEDS: Final = ("via", "from", "to", "call-id", "cseq")
_RETURNED: Final = frozenset(("via", "from", "to"))

T = TypeVar("T")


class Message(HeaderLines):
    """What requests and responses share: header fields and a body."""

    __slots__ = ("_body", "_start")

    def __init__(self, start: str, keys: list[str], lines: list[str], body: bytes) -> None:
        super().__init__(keys, lines)
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

    # Typed views

    @property
    def top_via(self) -> Via:
        """The first Via value. Raises `SipParseError` if missing or malformed."""
        value: Via | None = self._cache.get("via")
        return value if value is not None else self._typed("via", read_top_via)

    @property
    def vias(self) -> Sequence[Via]:
        """All Via values, the top one first. Raises `SipParseError`."""
        value: Sequence[Via] | None = self._cache.get(ALL_VIAS)
        return value if value is not None else self._typed(ALL_VIAS, read_vias)

    @property
    def from_(self) -> NameAddr:
        """The From field. Raises `SipParseError` if missing or malformed."""
        value: NameAddr | None = self._cache.get("from")
        return value if value is not None else self._single("from")

    @property
    def to(self) -> NameAddr:
        """The To field. Raises `SipParseError` if missing or malformed."""
        value: NameAddr | None = self._cache.get("to")
        return value if value is not None else self._single("to")

    @property
    def call_id(self) -> str:
        """The Call-ID. Raises `SipParseError` if missing or malformed."""
        value: str | None = self._cache.get("call-id")
        return value if value is not None else self._single("call-id")

    @property
    def cseq(self) -> CSeq:
        """The CSeq. Raises `SipParseError` if missing, malformed or too large."""
        value: CSeq | None = self._cache.get("cseq")
        return value if value is not None else self._single("cseq")

    @property
    def max_forwards(self) -> int | None:
        """Max-Forwards, `None` if missing. Raises `SipParseError` if not a number up to 255."""
        number: int | None = self._single("max-forwards")
        return number

    @property
    def contacts(self) -> Sequence[NameAddr]:
        """All Contact values; empty for `*`. Raises `SipParseError`."""
        values: Sequence[NameAddr] = self._list("contact")
        return values

    @property
    def is_star_contact(self) -> bool:
        """Whether the one Contact is `*` (RFC 3261 10.2.2)."""
        return self.get("contact") == "*"

    @property
    def routes(self) -> Sequence[NameAddr]:
        """All Route values. Raises `SipParseError`."""
        values: Sequence[NameAddr] = self._list("route")
        return values

    @property
    def record_routes(self) -> Sequence[NameAddr]:
        """All Record-Route values. Raises `SipParseError`."""
        values: Sequence[NameAddr] = self._list("record-route")
        return values

    def view(self, name: str, read: Callable[[list[str]], T]) -> T:
        """What `read` makes of the lines of a field, kept until the field is edited.

        A field has one such view: always give the same `read` for a name, and none of those above.
        """
        key = header_key(name)
        if key not in self._cache:
            self._cache[key] = read(self._all(key))
        return cast(T, self._cache[key])

    def note_top_via(self, via: Via) -> None:
        """Write the first Via value anew."""
        cache = self._cache
        vias = cache.get(ALL_VIAS)
        self.replace_first_value("Via", str(via))
        cache["via"] = via
        if vias is not None:
            cache[ALL_VIAS] = (via, *vias[1:])

    def _single(self, key: str) -> Any:
        cache = self._cache
        if key in cache:
            return cache[key]
        try:
            value = cache[key] = read_single(self, key)
        except SipParseError as error:
            error.partial = self._answerable()
            raise
        return value

    def _list(self, key: str) -> Any:
        cache = self._cache
        if key in cache:
            return cache[key]
        try:
            value = cache[key] = read_list(self, key)
        except SipParseError as error:
            error.partial = self._answerable()
            raise
        return value

    def _typed(self, key: str, read: Callable[[HeaderLines], T]) -> T:
        cache = self._cache
        if key in cache:
            return cast(T, cache[key])
        try:
            value = cache[key] = read(self)
        except SipParseError as error:
            error.partial = self._answerable()
            raise
        return value

    def _answerable(self) -> "Request | None":
        return None

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
        keys = self._keys
        present = set(keys)
        if len(present) != len(keys):
            for key in present & SINGLE:
                if keys.count(key) > 1:
                    raise SipParseError(400, "Repeated header field that may occur once")
        read_all(self)

    # Writing

    def encode(self) -> bytes:
        """The message as bytes; what was not edited is as it came."""
        text = "\r\n".join((self._start, *self._lines, "", ""))
        return text.encode("utf-8", "surrogateescape") + self._body

    def ensure_content_length(self) -> None:
        """Add Content-Length if it is missing, as streams need (RFC 3261 18.3)."""
        if "content-length" not in self._keys:
            self.append("Content-Length", str(len(self._body)))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.start_line!a}>"


class Request(Message):
    """A SIP request."""

    __slots__ = ("_raw_uri", "_uri", "method")

    method: str
    "As written; methods are compared with regard to case."

    def __init__(
        self, start: str, method: str, raw_uri: str, keys: list[str], lines: list[str], body: bytes
    ) -> None:
        super().__init__(start, keys, lines, body)
        self._raw_uri = raw_uri
        self._uri: Uri | None = None
        self.method = method

    @classmethod
    def create(
        cls, method: str, uri: Uri | str, headers: Iterable[tuple[str, str]], body: bytes = b""
    ) -> Self:
        """A new request with these header fields, in order, and Content-Length below them."""
        raw_uri = one_line(str(uri))
        keys, lines = build_lines((*headers, ("Content-Length", str(len(body)))))
        return cls(f"{method} {raw_uri} SIP/2.0", method, raw_uri, keys, lines, body)

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
        twin = Request(
            self._start, self.method, self._raw_uri, self._keys[:], self._lines[:], self._body
        )
        twin._uri = self._uri
        twin._cache = self._cache.copy()
        return twin

    def _answerable(self) -> "Request | None":
        present = self.method != "ACK" and all(key in self._keys for key in _ANSWER_NEEDS)
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
        self, start: str, status: int, reason: str, keys: list[str], lines: list[str], body: bytes
    ) -> None:
        super().__init__(start, keys, lines, body)
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
        wanted = {"via", "from", "to", "call-id", "cseq"}
        if status == 100:
            wanted.add("timestamp")
        elif status < 300:
            wanted.add("record-route")
        keys, lines = [], []
        for key, line in zip(request._keys, request._lines, strict=True):
            if key in wanted:
                if key in SINGLE:
                    wanted.discard(key)
                if key == "to" and to_tag is not None and status > 100 and not _has_tag(request):
                    line = f"{line};tag={to_tag}"
                keys.append(key)
                lines.append(line)
        more_keys, more_lines = build_lines((*headers, ("Content-Length", str(len(body)))))
        reason = REASONS.get(status, "") if reason is None else one_line(reason)
        start = f"SIP/2.0 {status} {reason}"
        return cls(start, status, reason, keys + more_keys, lines + more_lines, body)

    def returned_to(self, request: Request) -> "Response":
        """This response for the sender of `request`: with that one's Via, From and To lines.

        To keeps the tag that it has here where the request has none. All else is copied.

        Raises:
            SipParseError: To cannot be read.
        """
        tag = None if request.to.tag is not None else self.to.tag
        suffix = "" if tag is None else f";tag={tag}"
        keys, lines = [], []
        for key, line in zip(request._keys, request._lines, strict=True):
            if key in _RETURNED:
                keys.append(key)
                lines.append(line + suffix if key == "to" else line)
        for key, line in zip(self._keys, self._lines, strict=True):
            if key not in _RETURNED:
                keys.append(key)
                lines.append(line)
        return Response(self._start, self.status, self.reason, keys, lines, self._body)

    def copy(self) -> "Response":
        """An independent response that says the same."""
        twin = Response(
            self._start, self.status, self.reason, self._keys[:], self._lines[:], self._body
        )
        twin._cache = self._cache.copy()
        return twin


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
        if raw.start[:4].upper() == "SIP/":
            return _read_response(raw)
        return _read_request(raw)
    except SipParseError as error:
        error.partial = _salvaged(salvage_message(data))
        raise


def _read_request(raw: RawMessage) -> Request:
    parts = raw.start.split(" ", 3)
    if len(parts) != 3 or not _METHOD.fullmatch(parts[0]) or not parts[1]:
        raise SipParseError(400, "Bad request line")
    method, uri, version = parts
    if not _OUR_VERSION.fullmatch(version):
        if _VERSION.fullmatch(version):
            raise SipParseError(505, REASONS[505])
        raise SipParseError(400, "Bad request line")
    return Request(raw.start, method, uri, raw.keys, raw.lines, raw.body)


def _read_response(raw: RawMessage) -> Response:
    version, _, rest = raw.start.partition(" ")
    status, _, reason = rest.partition(" ")
    if not _OUR_VERSION.fullmatch(version) or not _STATUS.fullmatch(status):
        raise SipParseError(400, "Bad status line")
    return Response(raw.start, int(status), reason, raw.keys, raw.lines, raw.body)


def _salvaged(raw: RawMessage) -> Request | None:
    """A request that may be answered, though its start line may be anything."""
    method, _, rest = raw.start.partition(" ")
    if not _METHOD.fullmatch(method):
        return None
    request = Request(raw.start, method, rest.rpartition(" ")[0], raw.keys, raw.lines, raw.body)
    return request._answerable()


def _is_service(uri: Uri) -> bool:
    return uri.scheme == "urn" and uri.opaque.lower().startswith("service:")


def _has_tag(request: Request) -> bool:
    try:
        return request.to.tag is not None
    except SipParseError:
        return True
