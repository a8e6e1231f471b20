"""Session descriptions, edited line by line (RFC 8866, RFC 3264).

A description is a session section followed by one section for each `m=` line. Every line is kept
as it came, its line end included; an edit writes the lines it is about and no other. Lines that
are not understood stay. Only what an edge works with is parsed: `m=`, `c=` and some attributes.
"""

import re
from collections.abc import Callable
from typing import Final, NamedTuple, Self

from federation.model.address import Endpoint
from federation.model.errors import UsageError
from node.sip.ice_candidate import Candidate, SdpError, candidate_ips, readable_candidates
from node.sip.sdp_section import Connection, Section, read_connection

__all__ = [
    "Candidate", "Connection", "MediaSection", "Rtcp", "Sdp", "SdpError", "Section",
    "candidate_ips",
]  # fmt: skip

MAX_LINES: Final = 1_000
"Lines of one description; more is refused."
MAX_MEDIA: Final = 32
"`m=` lines of one description; more is refused."

_MEDIA: Final = re.compile(
    r"m=([^ \t\r\n]++)([ \t]++)([0-9]{1,10})(?>(/[0-9]++)?)([ \t]++)([^ \t\r\n]++)([^\r\n]*+)"
    r"(?>(\r?\n)?)"
)
_RTCP: Final = re.compile(r"([0-9]{1,5})(?>(?: +IN +(IP4|IP6) +([^ ]++))?) *+")
_DIRECTIONS: Final = ("sendrecv", "sendonly", "recvonly", "inactive")
_UDP_PROTOCOLS: Final = ("RTP", "UDP", "UDPTL", "DTLS")


class Rtcp(NamedTuple):
    """What an `a=rtcp` line says (RFC 3605)."""

    port: int
    address: str | None
    "`None` where RTCP goes to the address of `c=`."


class MediaSection(Section):
    """One `m=` line and what belongs to it."""

    __slots__ = ("_session", "formats", "kind", "port", "proto")

    kind: str
    "audio, video, image, message, …, as written."
    port: int
    "0 where the line is refused or bundled only; changed by `set_port`."
    proto: str
    "RTP/AVP, UDP/TLS/RTP/SAVPF, udptl, TCP/MSRP, …, as written."
    formats: tuple[str, ...]
    "Payload types or other formats, in order."

    def __init__(self, lines: list[str], newline: str, session: Section) -> None:
        super().__init__(lines, newline)
        self._session = session
        match = _MEDIA.fullmatch(lines[0])
        if match is None or int(match[3]) > 65535:
            raise SdpError("an m= line that cannot be read")
        self.kind, self.port, self.proto = match[1], int(match[3]), match[6]
        self.formats = tuple(match[7].split())

    def set_port(self, port: int) -> None:
        """Write the port of the `m=` line, and nothing else of it; a count of ports goes.

        Raises:
            UsageError: not 0-65535.
        """
        if not 0 <= port <= 65535:
            raise UsageError(f"{port} is no port")
        match = _MEDIA.fullmatch(self._lines[0])
        assert match is not None
        line = self._lines[0]
        end = match.end(3) if match[4] is None else match.end(4)
        self._lines[0] = f"{line[: match.start(3)]}{port}{line[end:]}"
        self.port = port

    # Where the media goes

    @property
    def connection(self) -> Connection | None:
        """The `c=` that holds for this line: its own, else the session's."""
        return self.own_connection or self._session.own_connection

    def pin_connection(self) -> None:
        """Give this line a `c=` of its own that says what the session's says.

        To be called before the session's is changed, on a line that is to keep its address.
        """
        if self.own_connection is not None:
            return
        for line in self._session._lines:
            if line.startswith("c="):
                self._put_connection(line.rstrip("\r\n"))
                return

    def set_address(self, host: str, port: int) -> None:
        """Send the media of this line elsewhere: its port and the `c=` that holds for it.

        A `c=` of its own is rewritten; without one, one is added unless the session's says `host`.
        So change the session's first where it is to change.
        """
        self.set_port(port)
        holding = self._session.own_connection
        if self.own_connection is not None or holding is None or holding.address != host:
            self.set_connection(host)

    @property
    def rtp_endpoint(self) -> Endpoint | None:
        """Where RTP is wanted; `None` for port 0, a null address or a host name."""
        return self._endpoint(self.connection, self.port)

    @property
    def rtcp(self) -> Rtcp | None:
        """What `a=rtcp` says, `None` without one or where it cannot be read."""
        match = _RTCP.fullmatch(self.get("rtcp") or "")
        return Rtcp(int(match[1]), match[3]) if match and int(match[1]) <= 65535 else None

    def set_rtcp(self, endpoint: Endpoint | None) -> None:
        """Write `a=rtcp` in full, or take it out."""
        if endpoint is None:
            self.remove("rtcp")
        else:
            family = "IP6" if endpoint.is_ipv6 else "IP4"
            self.set("rtcp", f"{endpoint.port} IN {family} {endpoint.host}")

    @property
    def rtcp_endpoint(self) -> Endpoint | None:
        """Where RTCP is wanted if it does not share the RTP port: `a=rtcp`, else the port above."""
        told = self.rtcp
        if told is None:
            above = self.port + 1 if 0 < self.port < 65535 else 0
            return self._endpoint(self.connection, above)
        if told.address is None:
            return self._endpoint(self.connection, told.port)
        return self._endpoint(Connection("", told.address), told.port)

    @property
    def has_rtcp_mux(self) -> bool:
        """Whether RTP and RTCP may share (RFC 5761) or must share (RFC 8858) one port."""
        return "rtcp-mux" in self or "rtcp-mux-only" in self

    @staticmethod
    def _endpoint(connection: Connection | None, port: int) -> Endpoint | None:
        if connection is None or connection.is_null or connection.ip is None or port == 0:
            return None
        return Endpoint(connection.ip, port)

    # What kind of media

    @property
    def is_udp(self) -> bool:
        """Whether the media is datagrams: RTP, UDPTL, DTLS or plain UDP."""
        return self.proto.upper().split("/", 1)[0] in _UDP_PROTOCOLS

    @property
    def is_tcp(self) -> bool:
        """Whether the media is a TCP connection between the ends (MSRP, BFCP)."""
        return self.proto.upper().split("/", 1)[0] == "TCP"

    @property
    def is_udptl(self) -> bool:
        """Whether this is T.38 fax over UDPTL (RFC 7345 5)."""
        return self.proto.upper().rsplit("/", 1)[-1] == "UDPTL"

    @property
    def is_live(self) -> bool:
        """Whether the line is in use: a port, or `a=bundle-only` in its place (RFC 9143 7)."""
        return self.port != 0 or "bundle-only" in self

    @property
    def mid(self) -> str | None:
        """The identification tag (RFC 5888)."""
        return self.get("mid")

    @property
    def direction(self) -> str:
        """sendrecv, sendonly, recvonly or inactive; the session's where the line has none."""
        for section in (self, self._session):
            for line in section._lines:
                name = line[2:].rstrip("\r\n")
                if name in _DIRECTIONS and line.startswith("a="):
                    return name
        return "sendrecv"

    def set_direction(self, direction: str) -> None:
        """Write the direction of this line.

        Raises:
            UsageError: not one of the four.
        """
        if direction not in _DIRECTIONS:
            raise UsageError(f"{direction!r} is no direction")
        places = sorted(place for name in _DIRECTIONS for place in self._places(name))
        if not places:
            self.append(direction)
            return
        self._lines[places[0]] = self._written(f"a={direction}", places[0])
        self._drop(places[1:])

    @property
    def is_held(self) -> bool:
        """Whether the sender puts this line on hold: sendonly or inactive, or the null address.

        With ICE the null address means only that no candidate is known yet (RFC 8840 4.1.3).
        """
        if self.direction in ("sendonly", "inactive"):
            return True
        connection = self.connection
        return connection is not None and connection.is_null and not self.has_ice

    # ICE

    @property
    def ice_ufrag(self) -> str | None:
        """The ICE user name fragment, of this line or of the session."""
        own = self.get("ice-ufrag")
        return own if own is not None else self._session.get("ice-ufrag")

    @property
    def has_ice(self) -> bool:
        """Whether the sender takes part in ICE on this line."""
        return self.ice_ufrag is not None

    @property
    def candidates(self) -> list[Candidate]:
        """The candidates that can be read."""
        return readable_candidates(self.get_all("candidate"))

    @property
    def candidate_ips(self) -> frozenset[str]:
        """The IP addresses of the UDP candidates."""
        return frozenset(c.ip for c in self.candidates if c.is_udp and c.ip is not None)

    def add_candidate(self, candidate: Candidate) -> None:
        """Add a candidate below the others."""
        self.append("candidate", str(candidate))

    def remove_candidates(self, where: Callable[[Candidate], bool] | None = None) -> int:
        """Take out candidates: all, or those that can be read and of which `where` holds."""
        if where is None:
            return self.remove("candidate")
        chosen = {value for value in self.get_all("candidate") if _holds(where, value)}
        return self.remove("candidate", chosen.__contains__)


class Sdp:
    """A session description: the session section and the media sections in their order."""

    __slots__ = ("media", "session")

    session: Section
    media: list[MediaSection]

    def __init__(self, session: Section, media: list[MediaSection]) -> None:
        self.session = session
        self.media = media

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a description; `encode` gives the same bytes back.

        Raises:
            SdpError: it does not begin with `v=0`, an `m=` or `c=` line cannot be read, or there
                are more lines than `MAX_LINES` or more media than `MAX_MEDIA`.
        """
        text = data.decode("utf-8", "surrogateescape")
        if not text.startswith("v=0"):
            raise SdpError("a session description begins with v=0")
        if text.count("\n") > MAX_LINES:
            raise SdpError("too many lines")
        lines = [line + "\n" for line in text.split("\n")]
        lines[-1] = lines[-1][:-1]
        if not lines[-1]:
            del lines[-1]
        starts = [index for index, line in enumerate(lines) if line.startswith("m=")]
        if len(starts) > MAX_MEDIA:
            raise SdpError("too many media lines")
        newline = "\n" if lines[0].endswith("\n") and not lines[0].endswith("\r\n") else "\r\n"
        ends = [*starts[1:], len(lines)]
        session = Section(lines[: starts[0]] if starts else lines, newline)
        media = [
            MediaSection(lines[start:end], newline, session)
            for start, end in zip(starts, ends, strict=False)
        ]
        for line in lines:
            if line.startswith("c="):
                read_connection(line)
        return cls(session, media)

    def encode(self) -> bytes:
        """The description as bytes; lines that were not edited are as they came."""
        lines = [*self.session._lines]
        for section in self.media:
            lines += section._lines
        return "".join(lines).encode("utf-8", "surrogateescape")

    def copy(self) -> "Sdp":
        """An independent description that says the same."""
        return Sdp.parse(self.encode())

    @property
    def origin(self) -> str | None:
        """The text of the `o=` line; `session.align_origin` may change its address."""
        for line in self.session._lines:
            if line.startswith("o="):
                return line[2:].rstrip("\r\n")
        return None

    @property
    def connection(self) -> Connection | None:
        """What the session's `c=` line says."""
        return self.session.own_connection

    def groups(self, semantics: str) -> list[tuple[str, ...]]:
        """The identification tags of each `a=group` with these semantics (RFC 5888)."""
        words = [value.split() for value in self.session.get_all("group")]
        return [tuple(group[1:]) for group in words if group and group[0] == semantics]

    def bundles(self) -> list[list[int]]:
        """The indexes of the media that share one transport (RFC 9143), a list for each bundle.

        The first is the tagged line, whose address counts. Unknown tags are left out, and a line
        belongs to its first bundle only.
        """
        places: dict[str, int] = {}
        for index, section in enumerate(self.media):
            if section.mid is not None:
                places.setdefault(section.mid, index)
        bundles, taken = [], set[int]()
        for tags in self.groups("BUNDLE"):
            members = [places[tag] for tag in dict.fromkeys(tags) if tag in places]
            members = [index for index in members if index not in taken]
            taken.update(members)
            if members:
                bundles.append(members)
        return bundles


def _holds(where: Callable[[Candidate], bool], value: str) -> bool:
    return any(where(candidate) for candidate in readable_candidates([value]))
