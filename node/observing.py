"""What watches a running node, made and joined: traces, counts, health, metrics."""

import asyncio
from dataclasses import dataclass

from federation.model.address import Endpoint
from federation.model.clocks import Clock
from federation.model.identity import NodeId
from node.answers import Answers
from node.config import Config
from node.edge.edge import Edge
from node.metrics.health import Health
from node.metrics.monitor import Monitor
from node.metrics.sources import NetworkSource, ProgramSource, RelaySource, SipSource
from node.storage.bans import BanBook
from node.storage.storage import Storage
from node.trace_desk import TraceDesk
from node.tracing.hep import Agent
from node.tracing.hep_export import HepExport
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
    hep: HepExport | None = None
    health: Health | None = None

    async def run(self) -> None:
        """Look after health, and send to the capture server, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            if self.health is not None:
                tasks.create_task(self.health.run())
            if self.hep is not None:
                tasks.create_task(self.hep.run())

    def attach(self, edge: Edge, storage: Storage, clock: Clock, node: Answers) -> TraceDesk:
        """Have the messages that pass the edge remembered, and sent to a capture server."""
        if self.config.trace.calls:
            self.traces = CallTraces(lambda: {group.call_id for group in edge.dialogs})
            self.tap.read_by(self.traces.take)
        server = self.config.hep.endpoint
        if server is not None:
            agent = Agent(self.config.hep.id, self.config.hep.password)
            self.hep = HepExport(server, agent, places=lambda id_: _ends_of(node, id_), clock=clock)
            self.tap.read_by(self.hep.take)
        return TraceDesk(edge, self.tap, self.traces, storage, clock)

    def monitor(self, node: Answers, edge: Edge, bans: BanBook) -> Monitor:
        """What machines ask; the parts of `node` are there."""
        health = self.health = Health(
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
                hep=self.hep,
            ),
        )
        return Monitor(health, sources, self.tap.look)


def _ends_of(node: Answers, other: NodeId) -> tuple[Endpoint, Endpoint] | None:
    """Our end of the link to another node, and its end."""
    remote = node.links.last_endpoint(other)
    if remote is None:
        return None
    family = [end for end in node.own_endpoints if end.is_ipv6 is remote.is_ipv6]
    return (family[0], remote) if family else None
