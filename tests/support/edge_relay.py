"""A relay that records what it is told, and knows where a packet would go.

`RecordingRelay` stands in for the pool: its sessions bind nothing, but refuse what real ones
refuse, so that a leak or a use after the end is seen. All relays of a `MediaMap` together answer
which endpoint hears what is sent to an anchor: through joins, legs, and keys that must fit.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from federation.model.address import AddressError, Endpoint, parse_ip
from federation.model.errors import UsageError
from media_relay.errors import NoCapacity
from media_relay.reports import EndpointReport, SessionReport
from media_relay.session import Anchor, RelaySession


@dataclass(frozen=True, slots=True)
class Expected:
    """The last `Anchor.expect`."""

    rtp: Endpoint | None
    rtcp: Endpoint | None
    sources: tuple[str, ...]
    mux: bool
    udptl: bool
    relatch: bool


@dataclass(frozen=True, slots=True)
class Installed:
    """A leg with its keys."""

    peer_leg: int
    peer: Endpoint
    send_key: bytes
    receive_key: bytes
    told: bool


@dataclass
class RecordingSession:
    """One call's anchors, legs and joins."""

    relay: "RecordingRelay"
    label: str
    anchors: dict[int, Anchor] = field(default_factory=dict)
    expected: dict[int, Expected] = field(default_factory=dict)
    legs: dict[int, Installed | None] = field(default_factory=dict)
    partners: dict[tuple[str, int], tuple[str, int]] = field(default_factory=dict)
    echoes: set[tuple[str, int]] = field(default_factory=set)
    packets: dict[int, int] = field(default_factory=dict)
    "Packets that anchors count, as a test sets them."
    closed: bool = False

    def anchor(self, local_ip: str) -> Anchor:
        self._check_open()
        if self.relay.capacity is not None and self.relay.in_use >= self.relay.capacity:
            raise NoCapacity("no port is free")
        number = self.relay.next_id()
        rtp = Endpoint(str(parse_ip(local_ip)), 10_000 + 2 * number)
        self.anchors[number] = Anchor(cast(RelaySession, self), number, rtp)
        return self.anchors[number]

    def expect(
        self,
        anchor: Anchor,
        rtp: Endpoint | None,
        rtcp: Endpoint | None,
        sources: tuple[str, ...],
        *,
        mux: bool,
        udptl: bool,
        relatch: bool,
        clock_rates: Mapping[int, int],
    ) -> None:
        self._known(anchor)
        self.expected[anchor.id] = Expected(rtp, rtcp, sources, mux, udptl, relatch)

    def free_anchor(self, anchor: Anchor) -> None:
        if self.anchors.pop(anchor.id, None) is not None:
            self.expected.pop(anchor.id, None)
            self.echoes.discard(("anchor", anchor.id))
            self._part(("anchor", anchor.id))

    def leg_port(self, facing: str) -> Endpoint:
        self._check_open()
        return Endpoint(str(parse_ip(facing)), 19_000)

    def leg_block(self, count: int) -> int:
        self._check_open()
        first = self.relay.next_id(count)
        self.legs.update(dict.fromkeys(range(first, first + count)))
        return first

    def install_leg(
        self,
        leg_id: int,
        *,
        peer_leg: int,
        peer: Endpoint,
        send_key: bytes,
        receive_key: bytes,
        told: bool,
    ) -> None:
        if leg_id not in self.legs:
            raise UsageError(f"no leg {leg_id}")
        if not 0 < peer.port <= 65535:
            raise AddressError("no port")
        parse_ip(peer.host)
        self.legs[leg_id] = Installed(peer_leg, peer, send_key, receive_key, told)

    def free_leg(self, leg_id: int) -> None:
        if leg_id in self.legs:
            del self.legs[leg_id]
            self._part(("leg", leg_id))

    def join(self, one: Anchor | int, other: Anchor | int) -> None:
        here, there = self._end(one), self._end(other)
        self._part(here)
        self._part(there)
        self.partners[here], self.partners[there] = there, here
        self.echoes -= {here, there}

    def _end(self, end: Anchor | int) -> tuple[str, int]:
        if isinstance(end, int):
            if self.legs.get(end) is None:
                raise UsageError("a leg without keys is joined")
            return ("leg", end)
        self._known(end)
        return ("anchor", end.id)

    def unjoin(self, anchor: Anchor) -> None:
        self._known(anchor)
        self._part(("anchor", anchor.id))

    def echo(self, end: Anchor | int) -> None:
        here = self._end(end)
        self._part(here)
        self.echoes.add(here)

    def report(self) -> SessionReport:
        return SessionReport(
            label=self.label,
            anchors=tuple(
                EndpointReport(id=key, packets_in=self.packets.get(key, 0)) for key in self.anchors
            ),
            legs=tuple(EndpointReport(id=key) for key, leg in self.legs.items() if leg),
        )

    def close(self) -> None:
        self.closed = True
        self.anchors.clear()
        self.legs.clear()
        self.partners.clear()
        self.echoes.clear()

    def _part(self, end: tuple[str, int]) -> None:
        partner = self.partners.pop(end, None)
        if partner is not None:
            self.partners.pop(partner, None)

    def _known(self, anchor: Anchor) -> None:
        if self.anchors.get(anchor.id) is not anchor:
            raise UsageError(f"{anchor} is not an anchor of session {self.label}")

    def _check_open(self) -> None:
        if self.closed:
            raise UsageError(f"session {self.label} is closed")


class RecordingRelay:
    """Stands in for `RelayPool`; ids are unique among all relays of one map."""

    def __init__(self, media: "MediaMap") -> None:
        self.sessions: list[RecordingSession] = []
        self.capacity: int | None = None
        "Anchors that there are ports for."
        self._media = media
        media.relays.append(self)

    def session(self, label: str) -> RelaySession:
        self.sessions.append(RecordingSession(self, label))
        return cast(RelaySession, self.sessions[-1])

    def next_id(self, count: int = 1) -> int:
        return self._media.next_id(count)

    @property
    def open(self) -> list[RecordingSession]:
        return [session for session in self.sessions if not session.closed]

    @property
    def in_use(self) -> int:
        """Anchors that exist now."""
        return sum(len(session.anchors) for session in self.open)


class MediaMap:
    """Every relay of a test, and the ways between them."""

    def __init__(self) -> None:
        self.relays: list[RecordingRelay] = []
        self._next = 1

    def next_id(self, count: int) -> int:
        self._next += count
        return self._next - count

    def leads(self, port: Endpoint) -> Endpoint | None:
        """Where a packet that a phone sends to an anchor's RTP port comes out."""
        for session in self._open():
            for anchor in session.anchors.values():
                if anchor.rtp == port:
                    if ("anchor", anchor.id) in session.echoes:
                        return session.expected[anchor.id].rtp
                    return self._beyond(session, session.partners.get(("anchor", anchor.id)))
        return None

    def facing(self, port: Endpoint) -> Expected:
        """What the anchor with this RTP port knows of its phone."""
        return next(
            session.expected[anchor.id]
            for session in self._open()
            for anchor in session.anchors.values()
            if anchor.rtp == port
        )

    def _beyond(self, session: RecordingSession, end: tuple[str, int] | None) -> Endpoint | None:
        if end is None:
            return None
        kind, number = end
        if kind == "anchor":
            expected = session.expected.get(number)
            return None if expected is None else expected.rtp
        leg = session.legs[number]
        assert leg is not None
        for other in self._open():
            there = other.legs.get(leg.peer_leg)
            if there is None or other is session:
                continue
            if there.peer_leg != number or there.receive_key != leg.send_key:
                return None
            if ("leg", leg.peer_leg) in other.echoes:
                return self._beyond(session, session.partners.get(("leg", number)))
            return self._beyond(other, other.partners.get(("leg", leg.peer_leg)))
        return None

    def _open(self) -> list[RecordingSession]:
        return [session for relay in self.relays for session in relay.open]


def as_relay(relay: RecordingRelay) -> Any:
    """For parts that ask for a pool."""
    return relay
