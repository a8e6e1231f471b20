"""What the relay tells the rest of the program: counters of a session, usage, events."""

from dataclasses import dataclass, replace

from federation.model.address import Endpoint
from federation.model.clocks import Monotonic
from media_relay.control import Counters
from media_relay.counters import Drop


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointReport:
    """How one anchor or leg fared; at most a second old, restarts of workers included."""

    id: int
    "Of the anchor, or the leg's receive id."
    packets_in: int = 0
    "Accepted from the phone or the other node, keepalives not counted."
    packets_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    drops: tuple[int, ...] = (0,) * len(Drop)
    "Datagrams that went nowhere, by `Drop`."
    lost: int = 0
    "RTP packets that never arrived, by their sequence numbers."
    jitter: float | None = None
    "Seconds, RFC 3550; `None` while no clock rate was known."
    longest_gap: float = 0.0
    "Seconds between two RTP packets without the sender having meant it."
    told_lost: int | None = None
    "Packets that the other side of this endpoint says it never got; `None` without clear RTCP."
    round_trip: float | None = None
    "Seconds from here to that side and back, by its newest RTCP report."
    last_heard: Monotonic | None = None
    "When anything authentic arrived, keepalives included."
    latched: Endpoint | None = None
    "Anchors: the RTP peer packets came from. Legs: where authentic datagrams come from."
    latched_rtcp: Endpoint | None = None
    "Anchors: the RTCP peer."

    @property
    def dropped(self) -> int:
        """All datagrams that went nowhere."""
        return sum(self.drops)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionReport:
    """The endpoints of one session, freed ones included, in the order they were made."""

    label: str
    anchors: tuple[EndpointReport, ...]
    legs: tuple[EndpointReport, ...]

    @property
    def last_heard(self) -> Monotonic | None:
        """When anything authentic arrived at any endpoint."""
        heard = [e.last_heard for e in (*self.anchors, *self.legs) if e.last_heard is not None]
        return max(heard, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerUsage:
    """One worker and what it carries."""

    index: int
    pid: int | None
    "`None` while it is being replaced."
    sessions: int
    endpoints: int
    packets: int
    "Sent since the pool began."
    bytes: int
    restarts: int
    strays: int
    "Datagrams on leg ports that were for no leg."


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolUsage:
    """The whole relay; ports count in pairs."""

    workers: tuple[WorkerUsage, ...]
    ports_in_use: int
    ports_free: int


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """A worker died or was killed for hanging; its sessions wait for the next one."""

    worker: int
    reason: str
    sessions: int


@dataclass(frozen=True, slots=True)
class WorkerRestarted:
    """A replacement has taken over all sessions of the worker, on the same ports."""

    worker: int
    pid: int
    sessions: int
    seconds: float
    "From noticing the loss until everything was installed again."


RelayEvent = WorkerLost | WorkerRestarted


class Ledger:
    """The counters of one endpoint, added up over the workers it lived in."""

    __slots__ = ("_before", "_latest", "has_entries")

    def __init__(self, endpoint_id: int) -> None:
        self._before = self._latest = EndpointReport(id=endpoint_id)
        self.has_entries = False
        "Whether a worker ever reported the endpoint."

    def enter(self, counters: Counters, *, clock_offset: float) -> None:
        """Take over what the present worker counted; its clock plus the offset is ours."""
        self.has_entries = True
        before = self._before
        heard = counters.last_heard
        self._latest = EndpointReport(
            id=before.id,
            packets_in=before.packets_in + counters.packets_in,
            packets_out=before.packets_out + counters.packets_out,
            bytes_in=before.bytes_in + counters.bytes_in,
            bytes_out=before.bytes_out + counters.bytes_out,
            drops=tuple(map(int.__add__, before.drops, counters.drops)),
            lost=before.lost + counters.lost,
            jitter=before.jitter if counters.jitter is None else counters.jitter,
            longest_gap=max(before.longest_gap, counters.longest_gap),
            # The other side counts on whichever worker hears it.
            told_lost=max(
                (told for told in (before.told_lost, counters.told_lost) if told is not None),
                default=None,
            ),
            round_trip=before.round_trip if counters.round_trip is None else counters.round_trip,
            last_heard=before.last_heard if heard is None else Monotonic(heard + clock_offset),
        )

    def begin_anew(self) -> None:
        """A new worker counts from zero."""
        self._before = self._latest

    def addressed(self, latched: Endpoint | None, latched_rtcp: Endpoint | None) -> EndpointReport:
        """The sums, and where packets come from now."""
        return replace(self._latest, latched=latched, latched_rtcp=latched_rtcp)
