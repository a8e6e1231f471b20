"""Links between edges in one process: frames through the real codec, after a delay.

Frames of one transaction keep their order, as on a stream; those of different ones overtake each
other where there is jitter. A node that is cut off is unreachable, a transaction under way on a
link that is cut ends as lost after 32 seconds.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from federation.codec import decode, encode
from federation.messages import Bye, Frame, Legs, Request, Response
from federation.model.address import Endpoint
from federation.model.identity import NodeId
from federation.ports import ClientOwner, Failure, LinkReceiver

LOST_AFTER = 32.0
UNREACHABLE_AFTER = 2.0
F = TypeVar("F", bound=Frame)


class LinkNetwork:
    """All links there are."""

    def __init__(self, seed: int = 1) -> None:
        self.delay = 0.005
        self.jitter = 0.0
        self.cut: set[NodeId] = set()
        self.receivers: dict[NodeId, LinkReceiver] = {}
        self.ips: dict[NodeId, str] = {}
        self.carried: list[Frame] = []
        self._random = random.Random(seed)
        self._latest: dict[object, float] = {}

    def later(self, stream: object, action: Callable[[], None]) -> None:
        """Do what a frame causes at the other end, after those before it on its stream."""
        loop = asyncio.get_running_loop()
        at = loop.time() + self.delay + self._random.random() * self.jitter
        at = max(at, self._latest.get(stream, 0.0) + 1e-6)
        self._latest[stream] = at
        loop.call_at(at, action)

    def across(self, frame: F) -> F:
        """The frame as the other end decodes it."""
        self.carried.append(frame)
        framed = encode(frame)
        read = decode(framed[4:] if len(framed) > 4 else framed)
        assert type(read) is type(frame)
        return read

    def is_open(self, one: NodeId, other: NodeId) -> bool:
        return not {one, other} & self.cut and other in self.receivers


@dataclass
class LinkClient:
    """The asking end of a transaction."""

    network: LinkNetwork
    own: NodeId
    node: NodeId
    request: Request
    owner: ClientOwner
    server: "LinkServer | None" = None
    ended: bool = False
    was_cancelled: bool = False

    def cancel(self, reason: str = "") -> None:
        if self.ended or self.was_cancelled:
            return
        self.was_cancelled = True
        if self.server is None:
            self.end(Failure.CANCELLED)
            return
        self.network.later(("up", self.request.txn), lambda: self._cancel(reason))
        asyncio.get_running_loop().call_later(LOST_AFTER, self.end, Failure.CANCELLED)

    def _cancel(self, reason: str) -> None:
        if self.server is None or not self.network.is_open(self.own, self.node):
            return
        on_cancel, self.server.on_cancel = self.server.on_cancel, None
        if on_cancel is not None and not self.server.ended:
            on_cancel(reason)

    def end(self, reason: Failure) -> None:
        if not self.ended:
            self.ended, self.server = True, None
            self.owner.on_unreachable(self.request.txn, reason)

    def answered(self, response: Response) -> None:
        if self.ended:
            return
        if response.is_final:
            self.ended, self.server = True, None
        self.owner.on_response(self.request.txn, response, self.network.ips[self.node])


@dataclass
class LinkServer:
    """The answering end of a transaction."""

    network: LinkNetwork
    peer: NodeId
    peer_ip: str
    request: Request
    client: LinkClient
    on_cancel: Callable[[str], None] | None = None
    ended: bool = False
    _seq: int = 0

    def respond(self, sip: bytes, legs: Legs = (), *, final: bool) -> None:
        if self.ended:
            return
        self.ended, self._seq = final, self._seq + 1
        frame = Response(txn=self.request.txn, seq=self._seq, sip=sip, legs=legs)
        assert frame.is_final == final
        read = self.network.across(frame)
        self.network.later(("down", self.request.txn), lambda: self._deliver(read))

    def _deliver(self, response: Response) -> None:
        if self.network.is_open(self.client.own, self.client.node):
            self.client.answered(response)


@dataclass
class MemoryLinks:
    """One node's links; implements `node.edge.hub.NodeLinks`."""

    network: LinkNetwork
    own: NodeId
    byes: list[Bye] = field(default_factory=list)
    _seqs: dict[bytes, int] = field(default_factory=dict)

    def request(
        self, node: NodeId, hints: Sequence[Endpoint], request: Request, owner: ClientOwner
    ) -> LinkClient:
        client = LinkClient(self.network, self.own, node, request, owner)
        read = self.network.across(request)
        if not self.network.is_open(self.own, node):
            loop = asyncio.get_running_loop()
            loop.call_later(UNREACHABLE_AFTER, client.end, Failure.UNREACHABLE)
            return client
        client.server = LinkServer(self.network, self.own, self.network.ips[self.own], read, client)
        self.network.later(("up", request.txn), lambda: self._arrive(client))
        return client

    def _arrive(self, client: LinkClient) -> None:
        server = client.server
        loop = asyncio.get_running_loop()
        if server is None or not self.network.is_open(self.own, client.node):
            loop.call_later(LOST_AFTER, client.end, Failure.LOST)
            return
        self.network.receivers[client.node].on_request(server)
        self.network.later(
            ("down", client.request.txn),
            lambda: client.owner.on_accepted(client.request.txn, self.network.ips[client.node]),
        )
        if client.request.method != "INVITE":
            loop.call_later(LOST_AFTER, client.end, Failure.TIMEOUT)

    def send_ack(self, node: NodeId, hints: Sequence[Endpoint], request: Request) -> None:
        read = self.network.across(request)
        if self.network.is_open(self.own, node):
            ip = self.network.ips[self.own]
            receiver = self.network.receivers[node]
            self.network.later(request.txn, lambda: receiver.on_ack(self.own, ip, read))

    async def send_bye(self, node: NodeId, bye: Bye, timeout: float = 2.0) -> bool:
        self.byes.append(bye)
        read = self.network.across(bye)
        if not self.network.is_open(self.own, node):
            await asyncio.sleep(timeout)
            return False
        await asyncio.sleep(self.network.delay)
        known = self.network.receivers[node].on_bye(self.own, read)
        await asyncio.sleep(self.network.delay)
        return known

    def push_2xx(self, peer: NodeId, txn: bytes, sip: bytes, legs: Legs) -> None:
        self._seqs[txn] = self._seqs.get(txn, 100) + 1
        read = self.network.across(Response(txn=txn, seq=self._seqs[txn], sip=sip, legs=legs))
        if self.network.is_open(self.own, peer):
            receiver = self.network.receivers[peer]
            self.network.later(object(), lambda: receiver.on_further_2xx(self.own, read))

    def is_linked(self, node: NodeId) -> bool:
        return self.network.is_open(self.own, node)

    def remote_ip(self, node: NodeId) -> str | None:
        return self.network.ips[node] if self.is_linked(node) else None
