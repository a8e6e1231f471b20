"""What each part of the node says of itself, as figures of the metrics page."""

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Protocol

from dht.directory import Directory
from federation.mesh import MeshSocket
from federation.model.clocks import Clock, Monotonic
from federation.peers import Links
from media_relay.counters import Drop
from media_relay.pool import RelayPool
from node.accounts.book import AccountBook
from node.control import JsonObject
from node.edge.call_list import states_of
from node.edge.edge import Edge
from node.metrics.health import Health
from node.sip.registrar import Registrar
from node.software import VERSION
from node.storage.bans import BanBook
from node.storage.storage import Storage
from node.tracing.counts import CLASSES, DIRECTIONS, Counts
from node.tracing.hep_export import HepExport
from node.tracing.traces import CallTraces
from node.trunks.book import TrunkBook
from node.trunks.desk import TrunkStates

if TYPE_CHECKING:
    from node.metrics.page import Figures

_KBIT = 125.0
"Bytes of a kbit."
_WORKING = frozenset({"registered", "reachable"})
"States of a trunk over which calls can go."


@dataclass(frozen=True, slots=True, kw_only=True)
class SipSource:
    """Messages, calls, registrations, trunks."""

    edge: Edge
    counts: Counts
    accounts: AccountBook
    registrar: Registrar
    bans: BanBook
    trunks: TrunkBook
    trunk_states: TrunkStates
    traces: CallTraces | None

    def __call__(self, figures: "Figures") -> None:
        """Put them in."""
        self._messages(figures)
        self._calls(figures)
        self._trunks(figures)
        self._held(figures)

    def _messages(self, figures: "Figures") -> None:
        counts = self.counts
        for (direction, side, method), count in sorted(counts.requests.items()):
            figures.put("sip_requests_total", count, direction, side, method)
        for (direction, side, status), count in sorted(counts.responses.items()):
            figures.put("sip_responses_total", count, direction, side, status)
        repeats = [0, 0]
        for kind, totals in counts.totals().items():
            figures.put("sip_timeouts_total", totals.timeouts, kind)
            figures.put("rtp_packets_total", totals.packets, kind)
            figures.put("rtp_lost_total", totals.lost, kind)
            figures.put("rtp_told_lost_total", totals.told_lost, kind)
            repeats = [before + more for before, more in zip(repeats, totals.repeats, strict=True)]
        for direction, count in zip(DIRECTIONS, repeats, strict=True):
            figures.put("sip_repeats_total", count, direction)
        overload = self.edge.shedding.figures
        figures.put("sip_shed_total", float(str(overload["refused"])))
        figures.put("overloaded", bool(overload["now"]))

    def _calls(self, figures: "Figures") -> None:
        counts = self.counts
        for (direction, path, status), count in sorted(counts.calls.items()):
            figures.put("calls_total", count, direction, path, status)
        figures.put("call_talk_seconds_total", counts.talk_seconds)
        figures.spread("rtp_jitter_seconds", counts.jitter)
        figures.spread("rtp_loss_ratio", counts.loss)
        for drop, count in zip(Drop, counts.drops, strict=True):
            figures.put("relay_drops_total", count, drop.name.lower())
        states = states_of(self.edge.dialogs)
        for state in ("ringing", "up"):
            figures.put("calls_under_way", states.count(state), state)

    def _trunks(self, figures: "Figures") -> None:
        for trunk in sorted(self.trunks, key=lambda each: each.name):
            name, counts = trunk.name, self.counts.of("trunk", trunk.name)
            state, _ = self.trunk_states.state_of(trunk)
            figures.put("trunk_up", state in _WORKING, name)
            figures.put("trunk_calls", self.trunk_states.calls_of(trunk)[0], name)
            for way, direction in enumerate(DIRECTIONS):
                figures.put("trunk_requests_total", counts.requests[way], name, direction)
                for status, count in zip(CLASSES, counts.responses[way], strict=True):
                    figures.put("trunk_responses_total", count, name, direction, status)
            figures.put("trunk_timeouts_total", counts.timeouts, name)
            figures.put("trunk_rtp_packets_total", counts.packets, name)
            figures.put("trunk_rtp_lost_total", counts.lost, name)

    def _held(self, figures: "Figures") -> None:
        usage = self.edge.transactions
        for state in ("unanswered", "requests", "lingering"):
            figures.put("sip_transactions", getattr(usage, state), state)
        figures.put("sip_dialogs", len(self.edge.dialogs))
        figures.put("banned_sources", len(self.bans))
        kinds = [account.kind.value for account in self.accounts]
        for kind in ("user", "trunk", "group"):
            figures.put("accounts", kinds.count(kind), kind)
        devices = sum(map(len, self.registrar.accounts().values()))
        figures.put("registrations", devices)
        figures.put("messages_waiting", self.edge.mail.count)
        if self.traces is not None:
            usage_of = self.traces.usage
            figures.put("trace_messages", usage_of["recent_messages"], "recent")
            figures.put("trace_messages", usage_of["call_messages"], "calls")
            figures.put("trace_bytes", usage_of["recent_bytes"], "recent")
            figures.put("trace_bytes", usage_of["call_bytes"], "calls")
            figures.put("trace_dropped_total", usage_of["dropped"])


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSource:
    """Links to other nodes, and the DHT."""

    links: Links
    mesh: MeshSocket
    directory: Directory

    def __call__(self, figures: "Figures") -> None:
        """Put them in."""
        links = self.links.peers()
        figures.put("links", len(links))
        figures.put("link_transactions", sum(link.open for link in links))
        _put_median(figures, "link_round_trip_seconds", [link.rtt for link in links])
        figures.put("mesh_bytes_total", self.mesh.bytes_received, "in")
        figures.put("mesh_bytes_total", self.mesh.bytes_sent, "out")
        stats = self.directory.stats()
        for name in ("contacts", "records", "record_bytes", "published"):
            figures.put(f"dht_{name}", getattr(stats, name))
        if stats.network_size is not None:
            figures.put("dht_network_size", stats.network_size)
        if stats.clock_skew is not None:
            figures.put("dht_clock_skew_seconds", stats.clock_skew)
        round_trips = [contact.rtt for contact in self.directory.contacts()]
        _put_median(figures, "dht_round_trip_seconds", round_trips)
        for outcome, word in (
            ("Found", "found"),
            ("NotFound", "not_found"),
            ("Inconclusive", "inconclusive"),
        ):
            figures.put("dht_lookups_total", stats.lookups.get(outcome, 0), word)
        figures.spread("dht_lookup_seconds", stats.lookup_durations)
        traffic = stats.traffic
        for way in DIRECTIONS:
            figures.put("dht_datagrams_total", getattr(traffic, f"datagrams_{way}"), way)
            figures.put("dht_bytes_total", getattr(traffic, f"bytes_{way}"), way)
        for reason in ("malformed", "limited", "challenged", "unmatched", "impostors"):
            figures.put("dht_refused_total", getattr(traffic, reason), reason)


class Usage(Protocol):
    """Says what is used of the limits for guests (`node.relaying.room.RelayRoom`)."""

    def usage(self) -> JsonObject:
        """Limits, and what is used of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelaySource:
    """Workers, ports, TURN, guests."""

    relay: RelayPool
    relaying: Usage

    def __call__(self, figures: "Figures") -> None:
        """Put them in."""
        pool = self.relay.usage()
        for worker in pool.workers:
            name = str(worker.index)
            figures.put("relay_worker_up", worker.pid is not None, name)
            figures.put("relay_sessions", worker.sessions, name)
            figures.put("relay_endpoints", worker.endpoints, name)
            figures.put("relay_packets_total", worker.packets, name)
            figures.put("relay_bytes_total", worker.bytes, name)
            figures.put("relay_strays_total", worker.strays, name)
            figures.put("relay_restarts_total", worker.restarts, name)
        figures.put("relay_ports", pool.ports_in_use, "in_use")
        figures.put("relay_ports", pool.ports_free, "free")
        turn = self.relay.turn_report()
        figures.put("turn_allocations", turn.allocations)
        figures.put("turn_connections", turn.connections)
        figures.put("turn_ports", turn.ports)
        dropped = sum(account.bytes_dropped for account in turn.accounts.values())
        figures.put("turn_dropped_bytes_total", dropped)
        for code, count in turn.refused.items():
            figures.put("turn_refused_total", count, str(code))
        self._guests(figures)

    def _guests(self, figures: "Figures") -> None:
        guests, usage = self.relay.guest_report(), self.relaying.usage()
        limits = usage["limits"]
        figures.put("guests_admitted", usage["state"] == "open")
        figures.put("guests_ports", guests.ports)
        figures.put("guests_ports_limit", limits["sessions"])
        figures.put("guests_bytes_per_second", guests.kbits * _KBIT)
        figures.put("guests_bytes_per_second_limit", limits["kbit"] * _KBIT)
        figures.put("guests_month_bytes", usage["bytes"])
        figures.put("guests_month_bytes_limit", usage["bytes"] + usage["bytes_left"])
        figures.put("guests_bytes_total", guests.passed)
        figures.put("guests_dropped_bytes_total", guests.dropped)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramSource:
    """The program itself: since when it runs, its health, its storage."""

    clock: Clock
    started_at: Monotonic
    storage: Storage
    health: Health
    hep: HepExport | None = None

    def __call__(self, figures: "Figures") -> None:
        """Put them in."""
        figures.put("build_info", 1, VERSION)
        uptime = self.clock.monotonic() - self.started_at
        figures.put("start_time_seconds", round(self.clock.unix() - uptime, 3))
        figures.put("ready", self.health.is_ready)
        figures.put("healthy", self.health.is_healthy)
        figures.put("hep_sent_total", 0 if self.hep is None else self.hep.sent)
        figures.put("hep_dropped_total", 0 if self.hep is None else self.hep.dropped)
        figures.put("storage_healthy", self.storage.is_healthy)
        figures.put("storage_waiting_rows", self.storage.waiting)
        figures.spread("event_loop_lag_seconds", self.health.lag)


def _put_median(figures: "Figures", name: str, values: list[float | None]) -> None:
    known = [value for value in values if value is not None]
    if known:
        figures.put(name, median(known))
