"""What watches a running node, made and joined: traces, counts, health, metrics."""

from dataclasses import dataclass

from federation.model.clocks import Clock
from node.answers import Answers
from node.config import Config
from node.edge.edge import Edge
from node.metrics.health import Health
from node.metrics.monitor import Monitor
from node.metrics.sources import NetworkSource, ProgramSource, RelaySource, SipSource
from node.storage.bans import BanBook
from node.storage.storage import Storage
from node.trace_desk import TraceDesk
from node.tracing.tap import Tap
from node.tracing.traces import CallTraces
from node.trunk_room import TrunkRoom


@dataclass(slots=True)
class Observing:
    """Made with the tap that the edge is given; `attach` has the edge's messages remembered."""

    tap: Tap
    config: Config
    trunks: TrunkRoom
    traces: CallTraces | None = None

    def attach(self, edge: Edge, storage: Storage, clock: Clock) -> TraceDesk:
        """What is remembered of the messages that pass the edge."""
        if self.config.trace.calls:
            self.traces = CallTraces(lambda: {group.call_id for group in edge.dialogs})
            self.tap.read_by(self.traces.take)
        return TraceDesk(edge, self.tap, self.traces, storage, clock)

    def monitor(self, node: Answers, edge: Edge, bans: BanBook) -> Monitor:
        """What machines ask; the parts of `node` are there."""
        health = Health(
            relay=node.relay,
            storage=node.storage,
            directory=node.directory,
            node=node.node_id,
            takes_calls=lambda: node.ready,
            clock=node.clock,
        )
        sources = (
            SipSource(
                edge=edge,
                counts=node.counts,
                accounts=node.accounts,
                registrar=node.registrar,
                bans=bans,
                trunks=self.trunks.book,
                trunk_states=self.trunks,
                traces=self.traces,
            ),
            NetworkSource(links=node.links, mesh=node.mesh, directory=node.directory),
            RelaySource(relay=node.relay, relaying=node.relaying),
            ProgramSource(
                clock=node.clock,
                started_at=node.started_at,
                storage=node.storage,
                health=health,
            ),
        )
        return Monitor(health, sources, self.tap.look)
