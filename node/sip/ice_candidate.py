"""ICE candidates as SDP writes them (RFC 8839 5.1)."""

import re
from dataclasses import dataclass
from typing import Final, Self

from federation.model.address import AddressError, Endpoint, parse_ip
from federation.model.errors import PeerError

_CANDIDATE: Final = re.compile(
    r"([A-Za-z0-9+/]{1,32}) ([0-9]{1,3}) ([A-Za-z0-9\-]++) ([0-9]{1,10}) ([^ ]++) ([0-9]{1,5})"
    r" typ ([A-Za-z0-9\-]++)(?: (.*+))?"
)
_LINE: Final = re.compile(r"^a=candidate:(.*+)$", re.MULTILINE)
MAX_CANDIDATES: Final = 128
"Candidates that are looked at in one body or media section."


class SdpError(PeerError):
    """A session description breaks the grammar of RFC 8866, or is larger than is sensible."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A transport address at which an ICE agent may be reached."""

    foundation: str
    component: int
    "1 for RTP, 2 for RTCP."
    transport: str
    "As written; `UDP` in any case, or `TCP`."
    priority: int
    address: str
    "An IP address, or a name (`….local` for mDNS)."
    port: int
    kind: str
    "host, srflx, prflx or relay."
    extensions: str = ""
    "The rest of the line as written: raddr, rport, generation and so on."

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the value of an `a=candidate` line.

        Raises:
            SdpError: bad syntax or an impossible port.
        """
        match = _CANDIDATE.fullmatch(text.strip())
        if match is None or int(match[6]) > 65535:
            raise SdpError("a candidate that cannot be read")
        return cls(
            match[1], int(match[2]), match[3], int(match[4]), match[5], int(match[6]), match[7],
            match[8] or "",
        )  # fmt: skip

    @classmethod
    def anchor(cls, component: int, endpoint: Endpoint) -> Self:
        """A relayed UDP address as the last choice: below every candidate of the ends.

        The related address is left out the way RFC 8839 5.1 says it may be.
        """
        nowhere = "::" if endpoint.is_ipv6 else "0.0.0.0"  # noqa: S104 - a placeholder, not a bind
        return cls(
            "ringmesh", component, "UDP", 256 - component, endpoint.host, endpoint.port, "relay",
            f"raddr {nowhere} rport 9",
        )  # fmt: skip

    def __str__(self) -> str:
        rest = f" {self.extensions}" if self.extensions else ""
        return (
            f"{self.foundation} {self.component} {self.transport} {self.priority} {self.address}"
            f" {self.port} typ {self.kind}{rest}"
        )

    @property
    def is_udp(self) -> bool:
        """Whether the transport is UDP."""
        return self.transport.upper() == "UDP"

    @property
    def ip(self) -> str | None:
        """The address in normal form, `None` where it is a name."""
        try:
            return str(parse_ip(self.address))
        except AddressError:
            return None


def readable_candidates(values: list[str]) -> list[Candidate]:
    """Those of the first `MAX_CANDIDATES` values that can be read."""
    found = []
    for value in values[:MAX_CANDIDATES]:
        try:
            found.append(Candidate.parse(value))
        except SdpError:
            continue
    return found


def candidate_ips(body: bytes) -> frozenset[str]:
    """The IP addresses of all UDP candidates of a session description or a part of one.

    Serves trickled candidates too (`application/trickle-ice-sdpfrag`, RFC 8840). Never raises.
    """
    values = _LINE.findall(body.decode("utf-8", "surrogateescape"))
    return frozenset(
        candidate.ip
        for candidate in readable_candidates(values)
        if candidate.is_udp and candidate.ip is not None
    )
