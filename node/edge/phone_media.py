"""The end of a call's media that faces a phone: one anchor for each m= line.

The phone is told our anchor's address (the outer one if a NAT is between); we learn where it wants
its media and from which IPs it may be heard: what its SDP says, its ICE candidates, and where its
SIP comes from, since a phone behind a NAT describes addresses that nobody can reach.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from federation.model.address import Endpoint
from media_relay.session import Anchor, RelaySession
from node.sip.flow import Flow
from node.sip.sdp import MediaSection, Sdp

ICE_RELAY_PRIORITY = 256
"Minus the component: below every candidate a phone would offer itself (RFC 8445 5.1.2)."
_FOUNDATION = "ringmesh"
_RTP, _RTCP = 1, 2
_MAX_DIGITS = 9
_LAST_PAYLOAD_TYPE = 127


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What the phone's description says of one m= line."""

    rtp: Endpoint | None
    rtcp: Endpoint | None
    sources: frozenset[str]
    mux: bool
    udptl: bool
    ufrag: str | None
    own_rtcp: Endpoint | None = None
    "Where the phone wants RTCP if it does not share the way of RTP."
    rates: Mapping[int, int] = field(default_factory=dict)
    "Hertz by payload type."


@dataclass(slots=True)
class _Line:
    anchor: Anchor
    wanted: _Wanted | None = None

    def expect(self, wanted: _Wanted, *, relatch: bool) -> None:
        self.wanted = wanted
        self.anchor.expect(
            rtp=wanted.rtp,
            rtcp=wanted.rtcp,
            sources=wanted.sources,
            mux=wanted.mux,
            udptl=wanted.udptl,
            relatch=relatch,
            clock_rates=wanted.rates,
        )


PhoneMark = dict[int, _Wanted | None]
"What a `PhoneEnd` held at one moment."


class PhoneEnd:
    """The anchors that one phone, or one device of a forked call, sends its media to."""

    def __init__(
        self,
        session: RelaySession,
        flow: Flow,
        told_ip: str,
        *,
        is_plain: bool = False,
    ) -> None:
        """`told_ip` leads to this machine for the phone, as `flow.local` does from here.

        `is_plain`: unasked, it is sent media only where its signalling comes from.
        """
        self._session = session
        self._local_ip = flow.local.host
        self._signalling_ip = flow.remote.host
        self._told_ip = told_ip
        self._is_plain = is_plain
        self._lines: dict[int, _Line] = {}

    def handle(self, line: int, tag: str) -> Anchor | None:
        """The anchor of this m= line; all To-tags of a device share it."""
        known = self._lines.get(line)
        return None if known is None else known.anchor

    def take(self, index: int, line: MediaSection, *, renew: bool) -> None:
        """Learn from the phone's own description of one m= line."""
        state = self._line(index)
        rtp = line.rtp_endpoint
        rtcp = rtp if line.has_rtcp_mux else line.rtcp_endpoint
        sources = {self._signalling_ip, *line.candidate_ips}
        sources.update(told.host for told in (rtp, rtcp) if told is not None)
        if self._is_plain:
            # Whoever proved nothing may not have us send to a third party that it names.
            rtp, rtcp = self._if_its_own(rtp), self._if_its_own(rtcp)
        wanted = _Wanted(
            rtp,
            rtcp,
            frozenset(sources),
            line.has_rtcp_mux,
            line.is_udptl,
            line.ice_ufrag,
            self._if_its_own(line.rtcp_endpoint) if self._is_plain else line.rtcp_endpoint,
            clock_rates(line),
        )
        before = state.wanted
        if line.has_ice:
            relatch = before is not None and before.ufrag != wanted.ufrag
        else:
            relatch = before is not None and (renew or before != wanted)
        if wanted != before or relatch:
            state.expect(wanted, relatch=relatch)

    def _if_its_own(self, told: Endpoint | None) -> Endpoint | None:
        return told if told is not None and told.host == self._signalling_ip else None

    def mark(self) -> PhoneMark:
        """What holds now, for `take_back`."""
        return {index: line.wanted for index, line in self._lines.items()}

    def take_back(self, mark: PhoneMark) -> None:
        """Hold again what `mark` says: an offer was refused, so nothing of it counts."""
        self.keep_only(mark)
        for index, wanted in mark.items():
            line = self._lines.get(index)
            if line is not None and wanted is not None and line.wanted != wanted:
                line.expect(wanted, relatch=True)

    def keep_only(self, lines: Iterable[int]) -> None:
        """Free the anchors of all other m= lines."""
        kept = set(lines)
        for index in [index for index in self._lines if index not in kept]:
            self._session.free_anchor(self._lines.pop(index).anchor)

    def open(self, sdp: Sdp) -> None:
        """Write our address where a description for the phone names one for all lines."""
        for line in sdp.media:
            if line.is_tcp:
                line.pin_connection()
        if sdp.connection is not None and not sdp.connection.is_null:
            sdp.session.set_connection(self._told_ip)
        sdp.session.align_origin(self._told_ip)

    def give(self, index: int, line: MediaSection) -> None:
        """Write our anchor into one m= line of a description for the phone."""
        anchor = self._line(index).anchor
        rtp = Endpoint(self._told_ip, anchor.rtp.port)
        rtcp = Endpoint(self._told_ip, anchor.rtcp.port)
        connection = line.connection
        if connection is not None and connection.is_null and not line.has_ice:
            line.set_port(rtp.port)
        else:
            line.set_address(rtp.host, rtp.port)
        if not line.is_udptl:
            line.set_rtcp(rtp if line.has_rtcp_mux else rtcp)
        line.remove("remote-candidates")
        if line.has_ice:
            line.append("candidate", _candidate(rtp, _RTP))
            if not line.has_rtcp_mux:
                line.append("candidate", _candidate(rtcp, _RTCP))

    def part_rtcp(self, index: int) -> None:
        """The phone's offer to send RTCP with RTP was declined (RFC 5761 5.1.1)."""
        state = self._lines.get(index)
        if state is not None and state.wanted is not None and state.wanted.mux:
            wanted = replace(state.wanted, rtcp=state.wanted.own_rtcp, mux=False)
            state.expect(wanted, relatch=False)

    def close(self) -> None:
        """Free the anchors."""
        self.keep_only(())

    def _line(self, index: int) -> _Line:
        if index not in self._lines:
            self._lines[index] = _Line(self._session.anchor(self._local_ip))
        return self._lines[index]


def clock_rates(line: MediaSection) -> dict[int, int]:
    """Hertz by payload type, as the `rtpmap` attributes say (RFC 8866 section 6.6)."""
    rates: dict[int, int] = {}
    for value in line.get_all("rtpmap"):
        payload_type, _, encoding = value.partition(" ")
        rate = encoding.partition("/")[2].partition("/")[0]
        if not (_is_short_number(payload_type) and _is_short_number(rate)):
            continue
        if int(payload_type) <= _LAST_PAYLOAD_TYPE:
            rates[int(payload_type)] = int(rate)
    return rates


def _is_short_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS


def _candidate(endpoint: Endpoint, component: int) -> str:
    nowhere = "::" if endpoint.is_ipv6 else "0.0.0.0"  # noqa: S104 - written, not bound
    return (
        f"{_FOUNDATION} {component} UDP {ICE_RELAY_PRIORITY - component} "
        f"{endpoint.host} {endpoint.port} typ relay raddr {nowhere} rport 9"
    )
