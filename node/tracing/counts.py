"""How much SIP passed, in all and for each peer, and how sound arrived from there.

A peer is another node, a trunk, or everybody else together: phones and other SIP networks. Messages
are counted in batches from the tap, so that a message costs no more than its share of one pass; a
message's peer is told by its place, once for each place of a batch.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import NamedTuple

from federation.model.histogram import Histogram
from federation.model.identity import NodeId
from media_relay.counters import NO_DROPS
from node.control import JsonObject
from node.sip.flow import Flow
from node.storage.call_records import CallRecord, StreamQuality
from node.tracing.tap import FRAME, NO_ANSWER, RECEIVED, SENT, Noted, Place

MAX_PEERS = 4_096
"Counted apart; beyond, the one that was silent for longest is forgotten."
METHODS = frozenset(
    {
        *("INVITE", "ACK", "BYE", "CANCEL", "REGISTER", "OPTIONS", "MESSAGE", "SUBSCRIBE"),
        *("NOTIFY", "PUBLISH", "INFO", "UPDATE", "PRACK", "REFER"),
    }
)
"Counted by name; all others together are `other`, since strangers may invent any."
CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx", "6xx")
DIRECTIONS = ("in", "out")
_HEAD = 11
"Bytes that tell the status of a response (`SIP/2.0 200`)."


class Peer(NamedTuple):
    """Who is at the other end."""

    kind: str
    "`node`, `trunk` or `sip`."
    name: str
    "The node's id, the trunk's name; empty for everybody else."


OTHERS = Peer("sip", "")
KINDS = ("sip", "trunk", "node")
JITTER_BOUNDS = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2)
"Seconds."
LOSS_BOUNDS = (0.0, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)


@dataclass(slots=True)
class PeerCounts:
    """What passed between this node and one peer."""

    requests: list[int] = field(default_factory=lambda: [0, 0])
    "Received and sent."
    responses: list[list[int]] = field(default_factory=lambda: [[0] * 6, [0] * 6])
    "The same, by class."
    repeats: list[int] = field(default_factory=lambda: [0, 0])
    "Requests and responses among them that were there before, as UDP needs where it loses."
    timeouts: int = 0
    "Requests of ours without a final answer in time."
    streams: int = 0
    "Main media streams of calls that ended."
    packets: int = 0
    "RTP that arrived from there."
    lost: int = 0
    "RTP from there that did not arrive."
    told_lost: int = 0
    "RTP to there that did not arrive, by the reports of the other side (RTCP)."
    jitter: float = 0.0
    "Seconds, added up over `jitters` streams."
    jitters: int = 0

    def as_json(self) -> JsonObject:
        """For people and programs; jitter is the streams' mean, in seconds."""
        return {
            "requests": dict(zip(DIRECTIONS, self.requests, strict=True)),
            "responses": {
                direction: dict(zip(CLASSES, self.responses[way], strict=True))
                for way, direction in enumerate(DIRECTIONS)
            },
            "retransmissions": dict(zip(DIRECTIONS, self.repeats, strict=True)),
            "timeouts": self.timeouts,
            "rtp": {
                "streams": self.streams,
                "packets": self.packets,
                "lost": self.lost,
                "told_lost": self.told_lost,
                "jitter": round(self.jitter / self.jitters, 5) if self.jitters else None,
            },
        }


_PLACE = itemgetter(3)
_Both = tuple[PeerCounts, PeerCounts]
"A peer's own counts, and those of its kind."


class Counts:
    """A reader of the tap. `trunk_at` names the trunk that a flow leads to, if it leads to one."""

    def __init__(self, trunk_at: Callable[[Flow], str | None] = lambda flow: None) -> None:
        self.trunk_at = trunk_at
        self.requests: Counter[tuple[str, str, str]] = Counter()
        "By direction, `sip` or `node`, and method."
        self.responses: Counter[tuple[str, str, str]] = Counter()
        "By direction, `sip` or `node`, and class."
        self.calls: Counter[tuple[str, str, str]] = Counter()
        "Ended ones by direction, path and class of the final answer."
        self.talk_seconds = 0.0
        self.jitter = Histogram(JITTER_BOUNDS)
        self.loss = Histogram(LOSS_BOUNDS)
        self.drops = list(NO_DROPS)
        "Media of calls that ended that went nowhere, by `Drop`."
        self._totals = {kind: PeerCounts() for kind in KINDS}
        self._peers: OrderedDict[Peer, PeerCounts] = OrderedDict({OTHERS: PeerCounts()})

    # What happens

    def take(self, batch: Sequence[Noted]) -> None:
        """Count a batch.

        Most of it is phones', so that is counted without looking whose each message is.
        """
        places = dict(zip(map(id, map(_PLACE, batch)), map(_PLACE, batch), strict=True))
        apart = {
            key: self._both(peer)
            for key, place in places.items()
            if (peer := self._peer_at(place)) is not OTHERS
        }
        if not apart:
            self._count(batch, "sip", self._both(OTHERS))
            return
        theirs: dict[int, list[Noted]] = {key: [] for key in apart}
        rest: list[Noted] = []
        for noted in batch:
            theirs.get(id(noted[3]), rest).append(noted)
        for key, both in apart.items():
            side = "sip" if isinstance(places[key], Flow) else "node"
            self._count(theirs[key], side, both)
        self._count(rest, "sip", self._both(OTHERS))

    def _count(self, batch: Sequence[Noted], side: str, both: _Both) -> None:
        """Count messages of one peer."""
        for way in (RECEIVED, SENT):
            heads = Counter([noted[2][:_HEAD] for noted in batch if noted[1] is way])
            for head, count in heads.items():
                if head.startswith(b"SIP/2.0 "):
                    self._response(way, side, head[8:9], count, both)
                elif not head.startswith(FRAME):
                    self.requests[DIRECTIONS[way], side, _method(head)] += count
                    for counts in both:
                        counts.requests[way] += count
                elif head.startswith(NO_ANSWER):
                    for counts in both:
                        counts.timeouts += count

    def _response(self, way: int, side: str, digit: bytes, count: int, both: _Both) -> None:
        index = digit[0] - 49 if digit else -1
        if 0 <= index < len(CLASSES):
            self.responses[DIRECTIONS[way], side, CLASSES[index]] += count
            for counts in both:
                counts.responses[way][index] += count

    def repeated(self, repeats: Mapping[tuple[bool, Flow], int]) -> None:
        """Messages that passed before: whether they were ours, and over which flow."""
        for (is_own, flow), count in repeats.items():
            for counts in self._both(self._peer_at(flow)):
                counts.repeats[is_own] += count

    def call_ended(
        self,
        record: CallRecord,
        from_caller: Peer | None,
        from_callee: Peer | None,
        drops: Sequence[int] = NO_DROPS,
    ) -> None:
        """A call is over; whom its two streams came from, where they came from anybody."""
        self.drops = [before + more for before, more in zip(self.drops, drops, strict=True)]
        status = f"{record.status // 100}xx"
        self.calls[record.direction or "", record.path or "", status] += 1
        self.talk_seconds += record.duration
        for peer, quality in (
            (from_caller, record.from_caller),
            (from_callee, record.from_callee),
        ):
            if peer is not None and quality is not None:
                self._stream(peer, quality)

    def _stream(self, peer: Peer, quality: StreamQuality) -> None:
        whole = quality.packets + quality.lost
        if whole:
            self.loss.observe(quality.lost / whole)
        if quality.jitter is not None:
            self.jitter.observe(quality.jitter)
        for counts in self._both(peer):
            counts.streams += 1
            counts.packets += quality.packets
            counts.lost += quality.lost
            counts.told_lost += quality.told_lost or 0
            if quality.jitter is not None:
                counts.jitter += quality.jitter
                counts.jitters += 1

    # What is asked

    def of(self, kind: str, name: str = "") -> PeerCounts:
        """What passed between this node and a peer; a fresh, empty value if nothing did."""
        return self._peers.get(Peer(kind, name)) or PeerCounts()

    def peers(self, kind: str) -> dict[str, PeerCounts]:
        """All peers of a kind, by name."""
        return {peer.name: counts for peer, counts in self._peers.items() if peer.kind == kind}

    def totals(self) -> Mapping[str, PeerCounts]:
        """All peers of each kind together, forgotten ones too, so that it never falls."""
        return self._totals

    def _both(self, peer: Peer) -> _Both:
        """A peer's own counts, and those of its kind."""
        return self._counts(peer), self._totals[peer.kind]

    def _counts(self, peer: Peer) -> PeerCounts:
        counts = self._peers.get(peer)
        if counts is None:
            counts = self._peers[peer] = PeerCounts()
            if len(self._peers) > MAX_PEERS:
                oldest = next(each for each in self._peers if each != OTHERS)
                del self._peers[oldest]
        else:
            self._peers.move_to_end(peer)
        return counts

    def _peer_at(self, place: Place) -> Peer:
        if isinstance(place, NodeId):
            return Peer("node", place.text)
        trunk = self.trunk_at(place)
        return OTHERS if trunk is None else Peer("trunk", trunk)


def _method(head: bytes) -> str:
    method = head.partition(b" ")[0].decode("ascii", "replace")
    return method if method in METHODS else "other"
