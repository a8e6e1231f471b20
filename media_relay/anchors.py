"""Anchors: a pair of ports that one phone sends its RTP and RTCP to, and is sent from."""

from collections.abc import Mapping

from federation.model.address import Endpoint
from media_relay.counters import (
    MAX_DATAGRAM_BYTES,
    MAX_ECHOES_PER_SECOND,
    MAX_PACKETS_PER_SECOND,
    Drop,
    Hop,
    Outlet,
    Partner,
    Tally,
)
from media_relay.latch import Latch, SocketAddress
from media_relay.rtp import (
    ALL_KINDS,
    FIRST_RTP_BYTE,
    MEDIA_KINDS,
    RTP_HEADER_BYTES,
    STATIC_CLOCK_RATES,
    is_rtp,
    is_stun,
)
from media_relay.sealed import RTCP, RTP


class AnchorPort:
    """One port of an anchor: component 1 (RTP) or 2 (RTCP)."""

    __slots__ = ("anchor", "component", "latch", "outlet")

    def __init__(self, anchor: "AnchorRoute", component: int, outlet: Outlet) -> None:
        self.anchor = anchor
        self.component = component
        self.latch = Latch()
        self.outlet = outlet

    def receive(self, data: bytes, source: SocketAddress, now: float) -> Hop | None:
        """Take one datagram; what is to be sent because of it, if anything."""
        anchor = self.anchor
        size = len(data)
        if not 0 < size <= MAX_DATAGRAM_BYTES or not anchor.passes[data[0]]:
            anchor.drops[Drop.KIND] += 1
            return None
        if source != self.latch.accepted and not self._admits(data[0], source):
            anchor.drops[Drop.SOURCE] += 1
            return None
        if anchor.packets_in >= anchor.allowance:
            anchor.drops[Drop.EXCESS] += 1
            return None
        anchor.packets_in += 1
        anchor.bytes_in += size
        anchor.last_heard = now
        component = self.component
        if data[0] >= FIRST_RTP_BYTE and size >= RTP_HEADER_BYTES and component == RTP:
            anchor.meter.take(data, now)
        elif component == RTCP:
            anchor.meter.take_rtcp(data, now)
        partner = anchor.partner
        if partner is None:
            anchor.drops[Drop.UNJOINED] += 1
            return None
        return partner.send(component, data, size)

    def _admits(self, first_byte: int, source: SocketAddress) -> bool:
        latch = self.latch
        before = latch.peer, latch.accepted
        if not latch.admits(source, locks=self.anchor.udptl or not is_stun(first_byte)):
            return False
        if before != (latch.peer, latch.accepted):
            self.anchor.latched.add(self)
        return True


class AnchorRoute(Tally):
    """An anchor in the forwarding table.

    `partner` is the one endpoint its datagrams go to and the only one whose datagrams leave
    through it; `RouteTable` keeps both sides in step.
    """

    __slots__ = ("_toward", "latched", "partner", "passes", "rtcp", "rtp", "udptl")

    def __init__(self, anchor_id: int, rtp: Outlet, rtcp: Outlet, latched: set[AnchorPort]) -> None:
        super().__init__(anchor_id)
        self.rtp = AnchorPort(self, RTP, rtp)
        self.rtcp = AnchorPort(self, RTCP, rtcp)
        self.partner: Partner | None = None
        self.passes = MEDIA_KINDS
        self.udptl = False
        self.latched = latched
        "Where ports put themselves when their peer or lock changed."
        self._toward = (self.rtp, self.rtp, self.rtcp)

    def expect(
        self,
        rtp: Endpoint | None,
        rtcp: Endpoint | None,
        sources: frozenset[str],
        *,
        mux: bool,
        udptl: bool,
        relatch: bool,
        clock_rates: Mapping[int, int],
    ) -> None:
        """Take over what the phone's SDP says now; with `mux`, RTCP leaves by the RTP port."""
        self.rtp.latch.expect(rtp, sources, relatch=relatch)
        self.rtcp.latch.expect(rtcp, sources, relatch=relatch)
        self.udptl = udptl
        self.passes = ALL_KINDS if udptl else MEDIA_KINDS
        self._toward = (self.rtp, self.rtp, self.rtp if mux else self.rtcp)
        self.meter.clock_rates = {**STATIC_CLOCK_RATES, **clock_rates}

    def send(self, component: int, data: bytes, size: int) -> Hop | None:
        """Send to the phone what came from the partner."""
        port = self._toward[component]
        peer = port.latch.peer
        if peer is None or not self.passes[data[0]]:
            self.drops[Drop.UNSENT] += 1
            return None
        self.packets_out += 1
        self.bytes_out += size
        return port.outlet, data, peer

    @property
    def pace(self) -> int:
        """How many packets a second are taken."""
        return MAX_ECHOES_PER_SECOND if isinstance(self.partner, Echo) else MAX_PACKETS_PER_SECOND


class Echo:
    """The partner of an anchor or leg whose far end hears itself.

    Only RTP returns. Payload, sequence numbers and timestamps come back as they went, so the phone
    plays them like any stream; the SSRC is changed, since a phone that meets its own takes
    that for a collision or a loop (RFC 3550 section 8.2).
    """

    __slots__ = ("_mask", "_source")

    def __init__(self, source: Partner, mask: int) -> None:
        self._source = source
        self._mask = mask

    def send(self, component: int, data: bytes, size: int) -> Hop | None:
        """Turn the caller's datagram around."""
        if component != RTP or not is_rtp(data):
            return None
        ssrc = int.from_bytes(data[8:12], "big") ^ self._mask
        turned = data[:8] + ssrc.to_bytes(4, "big") + data[12:]
        return self._source.send(component, turned, size)
