"""The hostile zoo over real sockets: peers with proper keys and ids that answer as they please.

Each speaks the protocol by itself, with frames of its own making, so it can send what no directory
would. `Peer` answers as an honest node might; the classes below it each do one thing otherwise.
"""

import asyncio
import heapq
from dataclasses import dataclass, field

from dht import canonical, messages
from dht.frame import (
    NO_COOKIE,
    UNKNOWN_RECIPIENT,
    Frame,
    FrameType,
    padding_for,
)
from dht.messages import (
    Answer,
    ContactEntry,
    FindNode,
    Get,
    Nodes,
    Observed,
    Part,
    Ping,
    Pong,
    Records,
    Store,
    Stored,
)
from dht.overlay_id import OverlayId, overlay_id
from dht.record import Record, positions
from dht.sealing import SealingKey, SealKeys, seal_answer
from federation.model.address import Endpoint
from federation.model.clocks import SystemClock, SystemEntropy
from federation.model.identity import NodeKey
from tests.support.dht_zoo import NONCE, ZOO, Door, Town, ZooNode, zoo_key

ENTROPY = SystemEntropy()
CLOCK = SystemClock()


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that a peer was sent."""

    frame: Frame
    source: Endpoint
    request: messages.Request
    keys: SealKeys | None

    @property
    def target(self) -> bytes:
        match self.request:
            case FindNode(target=target):
                return target
            case Get(position=position):
                return position
            case _:
                return bytes(32)


@dataclass(slots=True)
class Friends:
    """What hostile peers know of each other and of the others."""

    peers: "list[Peer]" = field(default_factory=list)
    honest: list[ZooNode] = field(default_factory=list)
    first: dict[bytes, bytes] = field(default_factory=dict)
    "The first version of each record that any of them was given, by position."

    def nearest(self, target: bytes, count: int = messages.MAX_CONTACTS) -> list["Peer"]:
        number = int.from_bytes(target, "big")
        return heapq.nsmallest(count, self.peers, key=lambda peer: peer.id.number ^ number)


class Peer(Door):
    """Answers everything: with all honest nodes it knows, and no records."""

    def __init__(
        self,
        town: Town,
        friends: Friends,
        number: int,
        host: str,
        *,
        nonce: bytes = NONCE,
        key: NodeKey | None = None,
    ) -> None:
        super().__init__(town, host)
        self.friends, self.key, self.nonce = friends, key or zoo_key(number), nonce
        self.id = overlay_id(self.key.id, nonce, ZOO)
        self.sealing = SealingKey(entropy=ENTROPY)
        self._cookies: dict[bytes, asyncio.Future[bytes]] = {}
        self.asked = 0

    async def open(self) -> None:
        await super().open()
        self.town.doors.append(self)
        self.friends.peers.append(self)

    # What it hears

    def take(self, data: bytes, source: Endpoint) -> None:
        frame = Frame.parse(data)
        if frame.type is not FrameType.REQUEST:
            self._answered(frame)
            return
        body, keys = frame.body, None
        if frame.sealed:
            body, keys = self.sealing.open(body, frame.header)
        request = messages.parse_request(body, padded_to_minimum=True)
        self.asked += 1
        self.on_request(Asked(frame, source, request, keys))

    def _answered(self, frame: Frame) -> None:
        waiting = self._cookies.get(frame.txid)
        if waiting is not None and not waiting.done():
            if frame.type is FrameType.CHALLENGE:
                waiting.set_result(messages.parse_challenge(frame.body))
            elif frame.type is FrameType.REPLY:
                waiting.set_result(messages.parse_part(frame.body).observed.cookie)

    # What it says

    def on_request(self, asked: Asked) -> None:
        """Answer; most classes do something else here."""
        self.reply(asked, self.answer(asked))

    def answer(self, asked: Asked) -> Answer:
        match asked.request:
            case Ping():
                return Pong(0, self.sealing.public, 0, int(CLOCK.unix() * 1000))
            case FindNode():
                return Nodes(self.named(asked))
            case Get():
                return Records(self.held(asked.target), self.named(asked))
            case Store(envelope):
                record = Record.decode(envelope, ZOO)
                for position in positions(record.key):
                    self.friends.first.setdefault(position, envelope)
                return Stored(messages.STORED, 0)

    def named(self, asked: Asked) -> tuple[ContactEntry, ...]:
        nodes = self.friends.honest[: messages.MAX_CONTACTS]
        return tuple(ContactEntry(node.directory.own_id, node.endpoint) for node in nodes)

    def held(self, position: bytes) -> tuple[bytes, ...]:
        return ()

    def reply(self, asked: Asked, answer: Answer, *, part: int = 0, parts: int = 1) -> None:
        seen = Observed(asked.source, ENTROPY.token(16))
        self.reply_body(asked, messages.encode_part(Part(part, parts, seen, answer)))

    def reply_body(self, asked: Asked, body: bytes) -> None:
        """Answer with any body, properly signed and sealed."""
        self.send(self.signed_reply(asked, body), asked.source)

    def signed_reply(self, asked: Asked, body: bytes) -> bytes:
        frame = self.frame_for(asked, body)
        if asked.keys is not None:
            sealed = seal_answer(asked.keys, body, frame.header, entropy=ENTROPY)
            frame = self.frame_for(asked, sealed)
        return frame.signed(self.key, ZOO)

    def frame_for(self, asked: Asked, body: bytes, kind: FrameType = FrameType.REPLY) -> Frame:
        return Frame(
            type=kind,
            txid=asked.frame.txid,
            sender=self.key.id,
            nonce=self.nonce,
            to=bytes(asked.frame.sender),
            body=body,
            sealed=asked.keys is not None,
        )

    def request(
        self, request: messages.Request, *, to: bytes = UNKNOWN_RECIPIENT, cookie: bytes = NO_COOKIE
    ) -> bytes:
        """The datagram of a request of its own."""
        body = canonical.pack(request.body())
        body += bytes(padding_for(len(body), has_cookie=cookie != NO_COOKIE))
        return Frame(
            type=FrameType.REQUEST,
            txid=ENTROPY.token(8),
            sender=self.key.id,
            nonce=self.nonce,
            to=to,
            cookie=cookie,
            body=body,
        ).signed(self.key, ZOO)

    async def cookie_of(self, node: ZooNode) -> bytes:
        """Ask a node for the cookie that proves this peer's address."""
        data = self.request(Ping(0))
        waiting = self._cookies[data[2:10]] = asyncio.get_running_loop().create_future()
        async with asyncio.timeout(5):
            while not waiting.done():
                self.send(data, node.endpoint)
                await asyncio.wait([waiting], timeout=0.5)
        return waiting.result()

    async def introduce(self, node: ZooNode) -> None:
        """Make itself known: the node will ping it, and take it in when it answers."""
        cookie = await self.cookie_of(node)
        self.send(self.request(Ping(0), cookie=cookie), node.endpoint)


class Silent(Peer):
    """Lives, but answers nothing that matters."""

    def on_request(self, asked: Asked) -> None:
        if isinstance(asked.request, Ping):
            super().on_request(asked)


class Liar(Peer):
    """Names its friends only, holds nothing, and says that it stored."""

    def named(self, asked: Asked) -> tuple[ContactEntry, ...]:
        return tuple(ContactEntry(p.id, p.endpoint) for p in self.friends.nearest(asked.target))


class Flooder(Peer):
    """Names twenty new inventions beside every target, at addresses where nobody is."""

    def named(self, asked: Asked) -> tuple[ContactEntry, ...]:
        near = int.from_bytes(asked.target, "big")
        return tuple(
            ContactEntry(
                OverlayId((near ^ int.from_bytes(ENTROPY.token(28), "big")).to_bytes(32, "big")),
                self.town.shown(Endpoint(f"127.251.{n}.{ENTROPY.token(1)[0]}", 9)),
            )
            for n in range(messages.MAX_CONTACTS)
        )


BODIES = (
    b"",
    b"\xc0",
    b"\x91" * 900,
    b"\xdc\xff\xff" + b"\xc0" * 900,
    b"\xdd\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\x9f" + b"\xcb\x7f\xf8\0\0\0\0\0\0" * 15,
    b"\x81\xa5bogus\x01",
    b"\xc7\x00\x05" * 100,
    b"\xd6\xff\0\0\0\0",
    b"\xa9\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8\xf7",
    b"\x96\x03\x00\x01" + b"\xc4\x06" + bytes(6) + b"\xc4\x10" + bytes(16) + b"\x90",
)
"Bodies that are no answers: empty, deep, huge by their word, floats, maps, extensions, bad text."


class Malformed(Peer):
    """Signs nonsense: a different kind each time."""

    def on_request(self, asked: Asked) -> None:
        if isinstance(asked.request, Ping):
            super().on_request(asked)
        else:
            self.reply_body(asked, BODIES[self.asked % len(BODIES)])


class SlowDrip(Peer):
    """Sends the first of three parts at once, the second late, the third never."""

    def on_request(self, asked: Asked) -> None:
        if not isinstance(asked.request, Get):
            asyncio.get_running_loop().call_later(0.3, super().on_request, asked)
            return
        self.reply(asked, Records((), ()), part=0, parts=3)
        asyncio.get_running_loop().call_later(
            0.3, lambda: self.reply(asked, Records((), ()), part=1, parts=3)
        )


class Stale(Peer):
    """Holds the first version of everything for ever."""

    def held(self, position: bytes) -> tuple[bytes, ...]:
        first = self.friends.first.get(position)
        return () if first is None else (first,)


class AddressSpoofer(Peer):
    """Names true nodes at the address of somebody who has nothing to do with it."""

    bystander = Endpoint("127.252.0.1", 9)

    def named(self, asked: Asked) -> tuple[ContactEntry, ...]:
        return tuple(
            ContactEntry(entry.id, self.town.shown(self.bystander))
            for entry in super().named(asked)
        )


class Oversized(Peer):
    """Three parts full of contacts and envelopes, parts repeated, and datagrams over the limit."""

    def on_request(self, asked: Asked) -> None:
        if not isinstance(asked.request, Get):
            super().on_request(asked)
            return
        invented = Flooder.named(self, asked)  # type: ignore[arg-type]
        junk = tuple(ENTROPY.token(60) for _ in range(messages.MAX_RECORDS))
        for _ in range(3):
            for part in (0, 1):
                self.reply(asked, Records((), invented), part=part, parts=3)
        self.send(b"\x08\x02" + asked.frame.txid + bytes(1_390), asked.source)
        self.send(b"\x08\x02" + asked.frame.txid + bytes(60_000), asked.source)
        self.reply(asked, Records(junk, ()), part=2, parts=3)


class Impostor(Peer):
    """Answers from another address, another key, for another request, to another node; never right.

    And challenges again and again, which nobody signs.
    """

    async def open(self) -> None:
        await super().open()
        self.mask = Door(self.town, self._host)
        await self.mask.open()
        self.town.doors.append(self.mask)

    def on_request(self, asked: Asked) -> None:
        if isinstance(asked.request, Ping):
            super().on_request(asked)
            return
        seen = Observed(asked.source, bytes(16))
        body = messages.encode_part(Part(0, 1, seen, self.answer(asked)))
        right = self.signed_reply(asked, body)
        self.mask.send(right, asked.source)
        other = NodeKey(ENTROPY.token(32))
        frame = self.frame_for(asked, body)
        self.send(frame.signed(other, ZOO), asked.source)
        for wrong in (
            right[:2] + ENTROPY.token(8) + right[10:],
            right[:50] + ENTROPY.token(32) + right[82:],
            right[:10] + bytes(other.id) + right[42:],
            right[:42] + ENTROPY.token(8) + right[50:],
            right[:-1],
        ):
            self.send(wrong, asked.source)
        challenge = self.frame_for(
            asked, messages.challenge_body(ENTROPY.token(16)), FrameType.CHALLENGE
        )
        for _ in range(10):
            self.send(challenge.encode(), asked.source)


class Namer(Peer):
    """Names what must not be tried: multicast, loopback, the asker, one node many times."""

    def named(self, asked: Asked) -> tuple[ContactEntry, ...]:
        own = ContactEntry(OverlayId(ENTROPY.token(32)), asked.source)
        hosts = ("224.0.0.1", "255.255.255.255", "127.253.0.1", "10.0.0.1", "192.168.1.1", "::1")
        forbidden = [
            ContactEntry(OverlayId(ENTROPY.token(32)), Endpoint(host, 9)) for host in hosts
        ]
        entry = super().named(asked)[:1]
        return (own, *forbidden, *entry * 13)[: messages.MAX_CONTACTS]

    def on_request(self, asked: Asked) -> None:
        if self.asked % 2 and isinstance(asked.request, Get):
            contacts = self.named(asked)
            fields = [[bytes(c.id), messages.pack_endpoint(c.endpoint), 0] for c in contacts[:18]]
            body = canonical.pack(
                [3, 0, 1, messages.pack_endpoint(asked.source), bytes(16), [], fields + fields[:3]]
            )
            self.reply_body(asked, body)
        else:
            super().on_request(asked)


ZOO_CLASSES: tuple[type[Peer], ...] = (
    Silent,
    Liar,
    Flooder,
    Malformed,
    SlowDrip,
    Stale,
    AddressSpoofer,
    Oversized,
    Impostor,
    Namer,
)
