"""How a running node is, and whom it knows: a part of `node.control.NodeControl`."""

from dht.directory import Directory
from federation.mesh import MeshSocket
from federation.model.address import Endpoint
from federation.model.clocks import Clock, Monotonic
from federation.model.identity import NodeId
from federation.peers import Links
from media_relay.pool import RelayPool
from node.accounts.book import AccountBook
from node.config import Config
from node.control import JsonObject
from node.edge.call_list import states_of
from node.edge.edge import Edge
from node.metrics.monitor import Monitor
from node.outer_watch import OuterWatch
from node.relaying.room import RelayRoom
from node.sheet import ServedAt
from node.sip.registrar import Registrar
from node.software import IS_COMPILED, VERSION
from node.tracing.counts import Counts


class StatusAnswers:
    """Reads the parts; `node.app.Node` makes them."""

    config: Config
    clock: Clock
    node_id: NodeId
    served_at: ServedAt
    own_endpoints: tuple[Endpoint, ...]
    started_at: Monotonic
    ready: bool = False
    accounts: AccountBook
    registrar: Registrar
    directory: Directory
    links: Links
    mesh: MeshSocket
    relay: RelayPool
    relaying: RelayRoom
    outer_watch: OuterWatch
    edge: Edge | None = None
    counts: Counts
    monitor: Monitor

    async def status(self) -> JsonObject:
        """How the node is."""
        usage = self.relay.usage()
        media = self.config.media
        return {
            "ready": self.ready,
            "node_id": self.node_id.text,
            "key_name": self.node_id.key_name,
            "network": self.config.network,
            "server": self.served_at.server,
            "version": VERSION,
            "compiled": IS_COMPILED,
            "domains": list(self.config.domains),
            "addresses": [str(endpoint) for endpoint in self.own_endpoints],
            "outer": self.outer_watch.told(),
            "ports": [
                ["sip", "udp", self.config.sip_port, self.config.sip_port],
                ["sip", "tcp", self.config.sip_port, self.config.sip_port],
                ["sip-tls", "tcp", self.config.tls_port, self.config.tls_port],
                ["mesh", "udp", self.config.mesh_port, self.config.mesh_port],
                ["media", "udp", media.first_port, media.last_port],
            ],
            "peers": len(await self.peers()),
            "accounts": len(self.accounts),
            "registrations": sum(map(len, self.registrar.accounts().values())),
            "calls": 0 if self.edge is None else len(states_of(self.edge.dialogs)),
            "health": self.monitor.health.healthy(),
            "traffic": self.counts.of("sip").as_json(),
            "sip": {} if self.edge is None else self.edge.leftovers,
            "overload": None if self.edge is None else self.edge.shedding.figures,
            "relay": {
                "workers": [
                    {
                        "pid": worker.pid,
                        "sessions": worker.sessions,
                        "endpoints": worker.endpoints,
                        "packets": worker.packets,
                        "bytes": worker.bytes,
                        "restarts": worker.restarts,
                    }
                    for worker in usage.workers
                ],
                "ports_in_use": usage.ports_in_use,
                "ports_free": usage.ports_free,
                "strangers": self.relaying.usage(),
            },
            "mesh": {
                "bytes_sent": self.mesh.bytes_sent,
                "bytes_received": self.mesh.bytes_received,
            },
            "directory": self._directory_status(),
            "uptime": round(self.clock.monotonic() - self.started_at, 3),
        }

    def _directory_status(self) -> JsonObject:
        """What the DHT's part of the node says of itself."""
        stats = self.directory.stats()
        return {
            "contacts": stats.contacts,
            "records": stats.records,
            "published": stats.published,
            "network_size": stats.network_size,
            "clock_skew": stats.clock_skew,
            "clock": stats.clock,
            "reached": {
                f"ipv{reach.family}": {
                    "serves": reach.serves,
                    "confirmed": reach.confirmed,
                    "needed": reach.needed,
                }
                for reach in stats.reach
            },
        }

    async def peers(self) -> list[JsonObject]:
        """Nodes this one knows, by link or by the DHT's table."""
        known: dict[NodeId, JsonObject] = {}
        for contact in self.directory.contacts():
            known[contact.node] = {
                "node_id": contact.node.text,
                "address": str(contact.endpoint),
                "linked": False,
                "rtt": contact.rtt,
                "last_heard": round(contact.last_heard, 3),
            }
        for link in self.links.peers():
            entry = known.setdefault(
                link.node, {"node_id": link.node.text, "rtt": None, "last_heard": None}
            )
            entry["linked"] = True
            entry["address"] = None if link.endpoint is None else str(link.endpoint)
            entry["rtt"] = link.rtt if link.rtt is not None else entry["rtt"]
            entry["software"] = link.software
        for node_id, counts in self.counts.peers("node").items():
            if (peer := known.get(NodeId.from_text(node_id))) is not None:
                peer["traffic"] = counts.as_json()
        return list(known.values())
