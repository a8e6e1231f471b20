"""URIs as SIP uses them: sip, sips, tel, and others carried unopened (RFC 3261 19.1, RFC 3966)."""

import re
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from federation.model.address import AddressError, parse_ip
from node.sip.errors import SipParseError
from node.sip.text import MAX_PARAMS, Params, find_param, split_params, with_param, without_param

MAX_URI: Final = 4096
"Characters of one URI; a longer Request-URI is 414, any other 400."

_OFTEN_LENGTH: Final = 128
"Characters up to which parsed URIs are remembered."

UriHeaders = tuple[tuple[str, str], ...]

_SIP_SCHEMES: Final = ("sip", "sips")
_ESC: Final = r"%[0-9A-Fa-f]{2}"
# '#', brackets and letters beyond ASCII should be escaped in a user part; phones send them bare.
_USER: Final = rf"(?>(?:[A-Za-z0-9\-_.!~*'()&=+$,;?/#\[\]\x80-\U0010ffff]++|{_ESC})*)"
_PASSWORD: Final = rf"(?>(?:[A-Za-z0-9\-_.!~*'()&=+$,:;?/#]++|{_ESC})*)"
_PARAM_TEXT: Final = rf"(?>(?:[A-Za-z0-9\-_.!~*'()\[\]/:&+$]++|{_ESC})+)"
_PARAMS: Final = rf"(?>(?:;{_PARAM_TEXT}(?>(?:={_PARAM_TEXT})?))*)"
_HEADER_TEXT: Final = rf"(?:[A-Za-z0-9\-_.!~*'()\[\]/?:+$]++|{_ESC})"
_HEADER: Final = rf"(?>{_HEADER_TEXT}+)=(?>{_HEADER_TEXT}*)"
_SIP: Final = re.compile(
    rf"(?:({_USER})(?>(?::({_PASSWORD}))?)@)?"
    r"([A-Za-z0-9_.\-]++|\[[0-9A-Fa-f:.]++\])"
    r"(?>(?::([0-9]{1,5}))?)"
    rf"({_PARAMS})"
    rf"(?>(?:\?({_HEADER}(?>(?:&{_HEADER})*)))?)"
)
_TEL: Final = re.compile(
    rf"(\+?+[0-9A-Fa-f*#\-.()]++)((?>(?:;{_PARAM_TEXT}(?>(?:={_PARAM_TEXT})?))*))"
)
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*+")
_OPAQUE: Final = re.compile(r"[^\x00-\x20\x7f\"<>\\]++")
_ESCAPE: Final = re.compile(_ESC)
_SURPLUS_COLON: Final = re.compile(r":::(?=[0-9]++\.)")
_UNRESERVED: Final = frozenset(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.!~*'()"
)
_VISUAL_SEPARATORS: Final = str.maketrans("", "", "-.()")
_MATCHED_WHEN_ABSENT: Final = ("user", "ttl", "method", "maddr", "transport")


@dataclass(slots=True, init=False, unsafe_hash=True)
class Uri:
    """One URI. Escapes stay as they were written; scheme and host are in lower case.

    Never changed: messages share their values. `==` compares the written form; `same_as` compares
    as RFC 3261 19.1.4 does.
    """

    scheme: str
    user: str | None
    "User part as written (escapes kept); for tel the number as written."
    password: str | None
    host: str
    "Host name or address, IPv6 without its brackets; empty for other schemes than sip and sips."
    port: int | None
    params: Params
    headers: UriHeaders
    "What follows the `?`, as written."
    opaque: str
    "All after the colon, for schemes other than sip, sips and tel."
    _text: str | None = field(init=False, repr=False, compare=False)

    def __init__(
        self,
        scheme: str,
        user: str | None = None,
        password: str | None = None,
        host: str = "",
        port: int | None = None,
        params: Params = (),
        headers: UriHeaders = (),
        opaque: str = "",
    ) -> None:
        self.scheme = scheme
        self.user = user
        self.password = password
        self.host = host
        self.port = port
        self.params = params
        self.headers = headers
        self.opaque = opaque
        self._text = None

    @staticmethod
    def parse(text: str) -> "Uri":
        """Read a URI without brackets or blanks around it.

        Raises:
            SipParseError: 400 for bad syntax (a bare IPv6 address included), 414 if too long.
        """
        return _parse_often(text) if len(text) <= _OFTEN_LENGTH else _parse(text)

    def __str__(self) -> str:
        if self._text is None:
            self._text = self._written()
        return self._text

    def _written(self) -> str:
        if self.opaque or not (self.is_sip or self.scheme == "tel"):
            return f"{self.scheme}:{self.opaque}"
        parts = [self.scheme, ":"]
        if self.user is not None:
            parts.append(self.user)
            if self.password is not None:
                parts += (":", self.password)
            if self.is_sip:
                parts.append("@")
        parts.append(f"[{self.host}]" if ":" in self.host else self.host)
        if self.port is not None:
            parts.append(f":{self.port}")
        for name, value in self.params:
            parts.append(f";{name}" if value is None else f";{name}={value}")
        if self.headers:
            parts += ("?", "&".join(f"{name}={value}" for name, value in self.headers))
        return "".join(parts)

    @property
    def is_sip(self) -> bool:
        """Whether the scheme is sip or sips."""
        return self.scheme == "sip" or self.scheme == "sips"

    @property
    def user_text(self) -> str:
        """The user part with its escapes resolved; empty where there is none.

        To look an account up, never to write a URI. Bytes that are not UTF-8 become surrogates.
        """
        if self.user is None:
            return ""
        if "%" not in self.user:
            return self.user
        encoded = self.user.encode("utf-8", "surrogateescape")
        return unquote_to_bytes(encoded).decode("utf-8", "surrogateescape")

    def param(self, name: str) -> str | None:
        """A parameter's value as written; empty for one without value, `None` if there is none."""
        return find_param(self.params, name.lower())

    def with_param(self, name: str, value: str | None = None) -> "Uri":
        """This URI with one parameter set."""
        return replace(self, params=with_param(self.params, name, value))

    def without_param(self, name: str) -> "Uri":
        """This URI without one parameter."""
        return replace(self, params=without_param(self.params, name))

    def with_(self, **changes: Any) -> "Uri":
        """This URI with some fields replaced, by name."""
        return replace(self, **changes)

    def same_as(self, other: "Uri") -> bool:
        """Whether both name the same resource (RFC 3261 19.1.4; RFC 3966 5 for tel)."""
        if self.scheme != other.scheme:
            return False
        if self.is_sip:
            return (
                (self.host, self.port) == (other.host, other.port)
                and _normal(self.user) == _normal(other.user)
                and _normal(self.password) == _normal(other.password)
                and _same_params(self.params, other.params)
                and _normal_headers(self.headers) == _normal_headers(other.headers)
            )
        if self.scheme == "tel":
            return _normal_number(self.user) == _normal_number(other.user) and _tel_params(
                self.params
            ) == _tel_params(other.params)
        return self.opaque == other.opaque


def _parse(text: str) -> Uri:
    if len(text) > MAX_URI:
        raise SipParseError(414, "URI too long")
    scheme, colon, rest = text.partition(":")
    scheme = scheme.lower()
    if scheme in _SIP_SCHEMES:
        return _parse_sip(scheme, rest)
    if not colon or not _SCHEME.fullmatch(scheme):
        raise SipParseError(400, "Bad URI")
    if scheme == "tel":
        match = _TEL.fullmatch(rest)
        if match is None:
            raise SipParseError(400, "Bad tel URI")
        return Uri(scheme, match[1], params=split_params(match[2][1:]) if match[2] else ())
    if not _OPAQUE.fullmatch(rest):
        raise SipParseError(400, "Bad URI")
    return Uri(scheme, opaque=rest)


def _parse_sip(scheme: str, rest: str) -> Uri:
    match = _SIP.fullmatch(rest)
    if match is None:
        raise SipParseError(400, "Bad SIP URI")
    user, password, host, port_text, params, headers = match.groups()
    if user == "":
        raise SipParseError(400, "Empty user in SIP URI")
    port = None
    if port_text is not None:
        port = int(port_text)
        if port > 65535:
            raise SipParseError(400, "Bad port in SIP URI")
    return Uri(
        scheme,
        user,
        password,
        bracketed_ipv6(host) if host[0] == "[" else host.lower(),
        port,
        split_params(params[1:]) if params else (),
        _split_headers(headers) if headers else (),
    )


# The messages of one call, and one device's registrations, repeat the same few URIs.
_parse_often = lru_cache(maxsize=1024)(_parse)


def bracketed_ipv6(text: str) -> str:
    """`[…]` without its brackets, if it is an IPv6 address.

    An address written with the surplus colon that RFC 3261's grammar permits
    (`2001:db8:::192.0.2.1`, RFC 5118 4.10) is taken without it.

    Raises:
        SipParseError: it is not.
    """
    inner = text[1:-1].lower()
    if ":" not in inner or len(inner) > 46:
        raise SipParseError(400, "Bad IPv6 address")
    inner = _SURPLUS_COLON.sub("::", inner)
    try:
        parse_ip(inner)
    except AddressError as error:
        raise SipParseError(400, "Bad IPv6 address") from error
    return inner


def _split_headers(text: str) -> UriHeaders:
    pieces = text.split("&")
    if len(pieces) > MAX_PARAMS:
        raise SipParseError(400, "Too many URI headers")
    pairs = (piece.partition("=") for piece in pieces)
    return tuple((name, value) for name, _, value in pairs)


def _normal(text: str | None) -> str | None:
    """Escapes of unreserved characters resolved, other escapes in upper case."""
    if text is None or "%" not in text:
        return text

    def resolve(match: re.Match[str]) -> str:
        character = chr(int(match[0][1:], 16))
        return character if character in _UNRESERVED else match[0].upper()

    return _ESCAPE.sub(resolve, text)


def _same_params(ours: Params, theirs: Params) -> bool:
    left, right = _tel_params(ours), _tel_params(theirs)
    if any((name in left) != (name in right) for name in _MATCHED_WHEN_ABSENT):
        return False
    return all(right[name] == value for name, value in left.items() if name in right)


def _tel_params(params: Params) -> dict[str, str]:
    return {name.lower(): (_normal(value) or "").lower() for name, value in params}


def _normal_headers(headers: UriHeaders) -> list[tuple[str, str | None]]:
    return sorted(((_normal(name) or "").lower(), _normal(value)) for name, value in headers)


def _normal_number(number: str | None) -> str:
    return (number or "").translate(_VISUAL_SEPARATORS).lower()
