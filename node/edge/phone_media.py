"""The end of a call's media that faces a phone: one anchor for each m= line.

The phone is told our anchor's address; we learn where it wants its media and from which IPs it
may be heard: what its SDP says, its ICE candidates, and where its SIP comes from, since a phone
behind a NAT describes addresses that nobody can reach.
"""

from dataclasses import dataclass

from federation.model.address import Endpoint
from media_relay.session import Anchor, RelaySession
from node.sip.sdp import MediaSection, Sdp

ICE_RELAY_PRIORITY = 256
"Minus the component: below every candidate a phone would offer itself (RFC 8445 5.1.2)."
_FOUNDATION = "ringmesh"
_RTP, _RTCP = 1, 2


@dataclass(slots=True)
class _Line:
    anchor: Anchor
    expected: tuple[Endpoint | None, Endpoint | None, frozenset[str]] | None = None
    ufrag: str | None = None


class PhoneEnd:
    """The anchors that one phone, or one device of a forked call, sends its media to."""

    def __init__(self, session: RelaySession, local_ip: str, signalling_ip: str) -> None:
        self._session = session
        self._local_ip = local_ip
        self._signalling_ip = signalling_ip
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
        expected = (rtp, rtcp, frozenset(sources))
        if line.has_ice:
            relatch = state.expected is not None and line.ice_ufrag != state.ufrag
        else:
            relatch = state.expected is not None and (renew or expected != state.expected)
        if expected == state.expected and not relatch:
            return
        state.expected, state.ufrag = expected, line.ice_ufrag
        state.anchor.expect(
            rtp=rtp,
            rtcp=rtcp,
            sources=expected[2],
            mux=line.has_rtcp_mux,
            udptl=line.is_udptl,
            relatch=relatch,
        )

    def open(self, sdp: Sdp) -> None:
        """Write our address where a description for the phone names one for all lines."""
        for line in sdp.media:
            if line.is_tcp:
                line.pin_connection()
        if sdp.connection is not None and not sdp.connection.is_null:
            sdp.session.set_connection(self._local_ip)

    def give(self, index: int, line: MediaSection) -> None:
        """Write our anchor into one m= line of a description for the phone."""
        anchor = self._line(index).anchor
        connection = line.connection
        if connection is not None and connection.is_null and not line.has_ice:
            line.set_port(anchor.rtp.port)
        else:
            line.set_address(anchor.rtp.host, anchor.rtp.port)
        if not line.is_udptl:
            line.set_rtcp(anchor.rtp if line.has_rtcp_mux else anchor.rtcp)
        line.remove("remote-candidates")
        if line.has_ice:
            line.append("candidate", _candidate(anchor.rtp, _RTP))
            if not line.has_rtcp_mux:
                line.append("candidate", _candidate(anchor.rtcp, _RTCP))

    def close(self) -> None:
        """Free the anchors."""
        for line in self._lines.values():
            self._session.free_anchor(line.anchor)
        self._lines.clear()

    def _line(self, index: int) -> _Line:
        if index not in self._lines:
            self._lines[index] = _Line(self._session.anchor(self._local_ip))
        return self._lines[index]


def _candidate(endpoint: Endpoint, component: int) -> str:
    nowhere = "::" if endpoint.is_ipv6 else "0.0.0.0"  # noqa: S104 - written, not bound
    return (
        f"{_FOUNDATION} {component} UDP {ICE_RELAY_PRIORITY - component} "
        f"{endpoint.host} {endpoint.port} typ relay raddr {nowhere} rport 9"
    )
