"""Whole federation nodes for tests: real links, recorded callbacks, any datagram port."""

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from federation.mesh import MeshSocket
from federation.messages import Bye, Hello, Legs, Request, Response
from federation.model.address import Endpoint
from federation.model.clocks import Clock, SystemClock, SystemEntropy
from federation.model.identity import NodeId, NodeKey
from federation.model.network import Network
from federation.peers import Links, MeshPort
from federation.ports import Failure, ServerTransaction

NETWORK = Network.named("test")


def key(number: int) -> NodeKey:
    """A fixed node key."""
    return NodeKey(number.to_bytes(32, "big"))


def sorted_keys(count: int, first: int = 1) -> list[NodeKey]:
    """Fixed keys, lowest id first."""
    return sorted((key(first + n) for n in range(count)), key=lambda k: bytes(k.id))


_txns = itertools.count(1)


def new_txn() -> bytes:
    """A txn nobody else uses."""
    return next(_txns).to_bytes(16, "big")


def invite(txn: bytes | None = None, method: str = "INVITE", size: int = 0) -> Request:
    """A request, padded to about `size` bytes."""
    sip = f"{method} sip:bob@example.org SIP/2.0\r\n\r\n".encode() + b"x" * size
    return Request(txn=txn or new_txn(), sip=sip)


def status(code: int, size: int = 0) -> bytes:
    """The bytes of a response."""
    return f"SIP/2.0 {code} Text\r\n\r\n".encode() + b"y" * size


@dataclass
class Owner:
    """Records how a request went."""

    accepted: int = 0
    responses: list[int] = field(default_factory=list)
    frames: list[Response] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    ended_at: float | None = None

    def __post_init__(self) -> None:
        self._changed = asyncio.Event()

    def on_accepted(self, txn: bytes, peer_ip: str) -> None:
        self.accepted += 1
        self._changed.set()

    def on_response(self, txn: bytes, response: Response, peer_ip: str) -> None:
        self.responses.append(response.status)
        self.frames.append(response)
        if response.is_final:
            self.ended_at = time.monotonic()
        self._changed.set()

    def on_unreachable(self, txn: bytes, reason: Failure) -> None:
        self.failures.append(reason)
        self.ended_at = time.monotonic()
        self._changed.set()

    @property
    def ends(self) -> int:
        """How often it ended; must be one."""
        return len(self.failures) + sum(code >= 200 for code in self.responses)

    async def until(self, condition: Callable[["Owner"], bool], limit: float = 8.0) -> None:
        async with asyncio.timeout(limit):
            while not condition(self):
                self._changed.clear()
                await self._changed.wait()

    async def until_end(self, limit: float = 8.0) -> None:
        await self.until(lambda owner: owner.ends > 0, limit)


@dataclass
class Receiver:
    """Records what other nodes send; `answer` may react to requests."""

    answer: Callable[[ServerTransaction], None] | None = None
    requests: list[ServerTransaction] = field(default_factory=list)
    cancels: list[str] = field(default_factory=list)
    acks: list[Request] = field(default_factory=list)
    further: list[Response] = field(default_factory=list)
    byes: list[Bye] = field(default_factory=list)
    knows_dialog: bool = True
    up: list[NodeId] = field(default_factory=list)
    down: list[NodeId] = field(default_factory=list)

    def on_request(self, txn: ServerTransaction) -> None:
        self.requests.append(txn)
        txn.on_cancel = self.cancels.append
        if self.answer is not None:
            self.answer(txn)

    def on_ack(self, peer: NodeId, peer_ip: str, request: Request) -> None:
        self.acks.append(request)

    def on_further_2xx(self, peer: NodeId, response: Response) -> None:
        self.further.append(response)

    def on_bye(self, peer: NodeId, bye: Bye) -> bool:
        self.byes.append(bye)
        return self.knows_dialog

    def on_link_up(self, peer: NodeId, hello: Hello) -> None:
        self.up.append(peer)

    def on_link_down(self, peer: NodeId) -> None:
        self.down.append(peer)


def answering(*codes: int, legs: Legs = ()) -> Callable[[ServerTransaction], None]:
    """Answers each request with these statuses at once."""

    def answer(txn: ServerTransaction) -> None:
        for code in codes:
            txn.respond(status(code), legs, final=code >= 200)

    return answer


class Node:
    """Links over a port, with everything recorded. `book` is what address lookups find."""

    def __init__(
        self,
        node_key: NodeKey,
        port: MeshPort,
        *,
        network: Network = NETWORK,
        clock: Clock | None = None,
        domains: Sequence[str] = (),
    ) -> None:
        self.key = node_key
        self.id = node_key.id
        self.port = port
        self.receiver = Receiver()
        self.book: dict[NodeId, list[Endpoint]] = {}
        self.lookups: list[NodeId] = []
        self.links = Links(
            key=node_key,
            network=network,
            mesh=port,
            addresses=self._addresses,
            receiver=self.receiver,
            clock=clock or SystemClock(),
            entropy=SystemEntropy(),
            domains=lambda: domains,
            software="test/1",
        )

    async def _addresses(self, node: NodeId) -> Sequence[Endpoint]:
        self.lookups.append(node)
        return self.book.get(node, [])

    def call(self, other: "Node | NodeId", *hints: Endpoint, method: str = "INVITE") -> Owner:
        """Send a request and return who hears of it."""
        owner = Owner()
        node = other if isinstance(other, NodeId) else other.id
        self.links.request(node, hints, invite(method=method), owner)
        return owner


class SocketNode(Node):
    """A node on a loopback UDP socket. Use as `async with`."""

    def __init__(
        self,
        node_key: NodeKey,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        network: Network = NETWORK,
        domains: Sequence[str] = (),
    ) -> None:
        self.mesh = MeshSocket([host], port)
        super().__init__(node_key, self.mesh, network=network, domains=domains)

    @property
    def endpoint(self) -> Endpoint:
        return self.mesh.local_endpoints[0]

    async def __aenter__(self) -> "SocketNode":
        await self.mesh.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.links.close()
        self.mesh.close()
