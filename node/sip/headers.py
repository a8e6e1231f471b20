"""Typed header fields: Via, the name-addr fields (From, To, Contact, Route, …) and CSeq.

Each has a `parse` that raises only `SipParseError` and a `str` that writes the field value. A
message that is passed on keeps the text it came with; `str` serves what this node changes or adds.
"""

import re
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Self

from node.sip.errors import SipParseError
from node.sip.text import (
    HOST_PATTERN,
    QUOTED_PATTERN,
    TOKEN_PATTERN,
    Params,
    find_param,
    format_params,
    parse_params,
    quote,
    unquote,
    with_param,
    without_param,
)
from node.sip.uri import Uri, bracketed_ipv6

MAX_CSEQ: Final = 2**31 - 1
"The highest sequence number (RFC 3261 8.1.1.5)."
MAGIC_COOKIE: Final = "z9hG4bK"
"How a branch of RFC 3261 begins; one with nothing after it identifies nothing (RFC 4475 3.2.1)."

_NAME_ADDR: Final = re.compile(
    rf'(?:({QUOTED_PATTERN})[ \t]*+|([^"<>,;\x00-\x08\x0a-\x1f\x7f]*+))<([^<>]*+)>[ \t]*+(;.*+)?',
    re.DOTALL,
)
_VIA: Final = re.compile(
    rf"SIP[ \t]*+/[ \t]*+2\.0[ \t]*+/[ \t]*+({TOKEN_PATTERN})[ \t]++({HOST_PATTERN})[ \t]*+"
    r"(?>(?::[ \t]*+([0-9]{1,5})[ \t]*+)?)(;.*+)?",
    re.DOTALL | re.IGNORECASE | re.ASCII,
)
_CSEQ: Final = re.compile(rf"([0-9]++)[ \t]++({TOKEN_PATTERN})")
_NUMBER: Final = re.compile(r"[0-9]{1,5}")


class CSeq(NamedTuple):
    """A sequence number and the method it counts (RFC 3261 20.16)."""

    number: int
    method: str

    @classmethod
    def parse(cls, text: str) -> "CSeq":
        """Read `314159 INVITE`.

        Raises:
            SipParseError: bad syntax, or a number of 2^31 or more.
        """
        match = _CSEQ.fullmatch(text)
        if match is None:
            raise SipParseError(400, "Bad CSeq")
        digits = match[1].lstrip("0")
        if len(digits) > 10 or int(digits or "0") > MAX_CSEQ:
            raise SipParseError(400, "CSeq number too large")
        return cls(int(digits or "0"), match[2])

    def __str__(self) -> str:
        return f"{self.number} {self.method}"


@dataclass(slots=True, init=False, unsafe_hash=True)
class NameAddr:
    """A display name, a URI and header parameters (RFC 3261 20.10, 20.20, 20.34, 20.39).

    Never changed: messages share their values.
    """

    display: str
    "The display name without quotes and escapes; empty for none."
    uri: Uri
    params: Params
    "Parameters of the header field, not of the URI."
    tag: str | None = field(init=False, repr=False, compare=False)
    "The dialog tag, `None` if absent or empty."
    _without_tag: str | None = field(init=False, repr=False, compare=False)

    def __init__(self, display: str, uri: Uri, params: Params = ()) -> None:
        self.display = display
        self.uri = uri
        self.params = params
        self.tag = (find_param(params, "tag") or None) if params else None
        self._without_tag = None

    @staticmethod
    def parse(text: str) -> "NameAddr":
        """Read one value, with or without angle brackets.

        Without them every parameter belongs to the header field, and the URI may hold neither
        comma nor question mark (RFC 3261 20.10).

        Raises:
            SipParseError: bad syntax.
        """
        return _parse_name_addr(text)

    def __str__(self) -> str:
        display = quote(self.display) + " " if self.display else ""
        return f"{display}<{self.uri}>{format_params(self.params)}"

    @property
    def without_tag(self) -> str:
        """The value as text, without its tag."""
        if self._without_tag is None:
            params = without_param(self.params, "tag")
            display = quote(self.display) + " " if self.display else ""
            self._without_tag = f"{display}<{self.uri}>{format_params(params)}"
        return self._without_tag

    def param(self, name: str) -> str | None:
        """A header parameter, unquoted; empty for one without value, `None` if there is none."""
        return find_param(self.params, name.lower())

    def with_param(self, name: str, value: str | None = None) -> Self:
        """This value with one header parameter set; `value` is written as given."""
        return type(self)(self.display, self.uri, with_param(self.params, name, value))

    def without_param(self, name: str) -> Self:
        """This value without one header parameter."""
        return type(self)(self.display, self.uri, without_param(self.params, name))


@dataclass(slots=True, init=False, unsafe_hash=True)
class Via:
    """One hop that a request came through (RFC 3261 20.42, RFC 3581).

    Never changed: messages share their values.
    """

    transport: str
    "In upper case."
    host: str
    "The sent-by host in lower case, IPv6 without its brackets."
    port: int | None
    params: Params
    branch: str | None = field(init=False, repr=False, compare=False)
    "The branch parameter, `None` if absent or empty."

    def __init__(
        self, transport: str, host: str, port: int | None = None, params: Params = ()
    ) -> None:
        self.transport = transport
        self.host = host
        self.port = port
        self.params = params
        self.branch = find_param(params, "branch") or None

    @staticmethod
    def parse(text: str) -> "Via":
        """Read one value.

        Raises:
            SipParseError: bad syntax, or another protocol than SIP/2.0.
        """
        return _parse_via(text)

    def __str__(self) -> str:
        return f"SIP/2.0/{self.transport} {self.sent_by}{format_params(self.params)}"

    @property
    def sent_by(self) -> str:
        """Host and port as written in the field (RFC 3261 18.1.1)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"

    @property
    def has_cookie(self) -> bool:
        """Whether the branch can identify a transaction by RFC 3261 17.2.3: cookie and more."""
        branch = self.branch
        return branch is not None and branch.startswith(MAGIC_COOKIE) and branch != MAGIC_COOKIE

    @property
    def received(self) -> str | None:
        """The address the request came from, with or without brackets as IPv6 (RFC 5118 4.5)."""
        value = find_param(self.params, "received")
        return value.strip("[]") if value else None

    @property
    def wants_rport(self) -> bool:
        """Whether there is an rport parameter, filled or not."""
        return find_param(self.params, "rport") is not None

    @property
    def rport(self) -> int | None:
        """The port the request came from, `None` if not filled in."""
        value = find_param(self.params, "rport")
        if not value or not _NUMBER.fullmatch(value) or not 0 < int(value) <= 65535:
            return None
        return int(value)

    @property
    def maddr(self) -> str | None:
        """The address responses are sent to instead (RFC 3261 18.2.2)."""
        value = find_param(self.params, "maddr")
        return value.strip("[]").lower() if value else None

    def param(self, name: str) -> str | None:
        """A parameter, unquoted; empty for one without value, `None` if there is none."""
        return find_param(self.params, name.lower())

    def with_received(self, host: str, port: int) -> "Via":
        """This Via as the next hop notes it: where the request really came from.

        `received` is set where the sent-by host differs or rport was asked for, `rport` only where
        it was asked for (RFC 3261 18.2.1, RFC 3581 4). What the sender put there is overwritten.
        """
        asked = told = False
        noted: list[tuple[str, str | None]] = []
        for pair in self.params:
            name = pair[0].lower()
            if name == "rport":
                asked = True
                noted.append((pair[0], str(port)))
            elif name != "received":
                noted.append(pair)
            elif not told:
                told = True
                noted.append((pair[0], host))
        if asked or host != self.host:
            if not told:
                noted.append(("received", host))
        elif told:
            noted = [pair for pair in noted if pair[0].lower() != "received"]
        else:
            return self
        return self._with(tuple(noted))

    def with_param(self, name: str, value: str | None = None) -> "Via":
        """This Via with one parameter set."""
        return self._with(with_param(self.params, name, value))

    def without_param(self, name: str) -> "Via":
        """This Via without one parameter."""
        return self._with(without_param(self.params, name))

    def _with(self, params: Params) -> "Via":
        return Via(self.transport, self.host, self.port, params)


def _parse_name_addr(text: str) -> NameAddr:
    match = _NAME_ADDR.fullmatch(text)
    if match is not None:
        quoted, plain, address, params = match.groups()
        display = unquote(quoted) if quoted else plain.strip(" \t")
        return NameAddr(display, _parse_uri(address), parse_params(params) if params else ())
    address, semicolon, rest = text.partition(";")
    if "<" in address or "?" in address or "," in address:
        raise SipParseError(400, "Bad address in a header field")
    return NameAddr("", _parse_uri(address.rstrip(" \t")), parse_params(semicolon + rest))


def _parse_via(text: str) -> Via:
    match = _VIA.fullmatch(text)
    if match is None:
        raise SipParseError(400, "Bad Via")
    transport, host, port_text, params = match.groups()
    port = None
    if port_text is not None:
        port = int(port_text)
        if port > 65535:
            raise SipParseError(400, "Bad port in Via")
    host = bracketed_ipv6(host) if host[0] == "[" else host.lower()
    return Via(transport.upper(), host, port, parse_params(params) if params else ())


def _parse_uri(text: str) -> Uri:
    """A URI inside a header field, where too long a one is 400 and not 414."""
    try:
        return Uri.parse(text)
    except SipParseError as error:
        raise SipParseError(400, error.reason) from error
