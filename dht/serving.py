"""What others ask of this node: requests checked in the order that is cheap, and their answers.

A request is checked by length and magic (`Frame.parse`), by its network's rate, by its cookie
(microseconds), then by signature (0.1 ms); before a store by puzzle too (0.5 ms, in a thread,
remembered). Nobody is remembered for asking.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from dht import messages
from dht.answers import in_parts
from dht.cookie import UNPROVEN_BURST, UNPROVEN_RATE, CookieJar, RateLimiter, TokenBucket
from dht.frame import (
    AMPLIFICATION,
    MAX_BODY,
    NO_COOKIE,
    OVERHEAD,
    UNKNOWN_RECIPIENT,
    UNPROVEN_REQUEST,
    Frame,
    FrameError,
    FrameType,
)
from dht.messages import (
    Answer,
    FindNode,
    Get,
    Nodes,
    Observed,
    Ping,
    Pong,
    Request,
    Store,
)
from dht.overlay_id import OverlayId, OverlayIdCache, PuzzleError
from dht.sealing import ANSWER_OVERHEAD, SealingKey, SealKeys, seal_answer
from dht.tasks import Tasks
from federation.model.address import Endpoint
from federation.model.clocks import Clock, Entropy, Monotonic
from federation.model.identity import NodeId, NodeKey
from federation.model.network import Network

Send = Callable[[bytes, Endpoint], None]


class Server(Protocol):
    """Answers what others ask."""

    def pong(self) -> Pong:
        """The answer to a ping."""

    def look_up(self, request: FindNode | Get, asker: Endpoint) -> Answer:
        """The answer to find_node or get."""

    def store(self, request: Store) -> Answer:
        """The answer to a store by a node whose address and id are proven."""


class Gate(Protocol):
    """Says whom this node serves; `confirming.Confirming` is the one."""

    def serves(self, asker: Endpoint) -> bool:
        """Whether who asks from there gets more than pongs."""

    def flags(self, to: Endpoint) -> int:
        """What a pong says of this node to who is there."""

    def ping_back(self, token: bytes, asker: Endpoint) -> None:
        """Ping who asked for it from another port."""

    def pinged_back(self, ping: Ping, source: Endpoint) -> None:
        """A ping-back came."""


@dataclass(slots=True)
class Traffic:
    """Counters since the start."""

    datagrams_in: int = 0
    datagrams_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    malformed: int = 0
    "Not a frame, not signed, or a body that breaks its format."
    limited: int = 0
    "Requests dropped because their network sends too many."
    challenged: int = 0
    "Requests answered with a cookie instead of what they asked."
    unmatched: int = 0
    "Answers that nobody waits for."
    impostors: int = 0
    "Answers by another node than was asked, or without a valid id."


@dataclass(frozen=True, slots=True)
class _Asker:
    """Who asked, and how it is to be answered."""

    frame: Frame
    source: Endpoint
    keys: SealKeys | None
    room: int
    "Bytes of body that an answer may have."
    proven: bool
    "Its address is proven by a cookie."


class RequestDesk:
    """Answers requests, statelessly: what it needs to know comes with them, or from its server."""

    def __init__(
        self,
        *,
        key: NodeKey,
        nonce: bytes,
        network: Network,
        own_id: OverlayId,
        send: Send,
        server: Server,
        on_proven: Callable[[NodeId, bytes, Endpoint], None],
        ids: OverlayIdCache,
        traffic: Traffic,
        clock: Clock,
        entropy: Entropy,
        tasks: Tasks,
        gate: Gate | None = None,
        on_ping: Callable[[NodeId, bytes, Endpoint, Ping], None] | None = None,
    ) -> None:
        self._gate, self._on_ping = gate, on_ping
        self._key, self._nonce, self._network, self._own_id = key, nonce, network, own_id
        self._send, self._server, self._on_proven = send, server, on_proven
        self._ids, self._traffic, self._tasks = ids, traffic, tasks
        self._clock, self._entropy = clock, entropy
        self._cookies = CookieJar(entropy=entropy)
        self._rates = RateLimiter()
        self._unproven = TokenBucket(UNPROVEN_RATE, UNPROVEN_BURST, now=clock.monotonic())
        self._sealing = SealingKey(entropy=entropy)

    @property
    def seal_key(self) -> bytes:
        """The X25519 key to which bodies for this node are sealed."""
        return self._sealing.public

    def receive(self, frame: Frame, source: Endpoint, size: int) -> None:
        """Take a request of `size` bytes.

        Raises:
            FrameError: it is not signed by its sender, or breaks the format.
        """
        now = self._clock.monotonic()
        if frame.to not in (self._own_id, UNKNOWN_RECIPIENT) or frame.sender == self._key.id:
            return
        if not self._rates.allows(source, now=now):
            self._traffic.limited += 1
            return
        proven = self._cookies.accepts(frame.cookie, source, frame.sender, now=now)
        if not proven and (frame.cookie != NO_COOKIE or not self._unproven.take(now=now)):
            self._challenge(frame, source, now)
            return
        frame.verify(self._network)
        body, keys = frame.body, None
        if frame.sealed:
            try:
                body, keys = self._sealing.open(frame.body, frame.header)
            except FrameError:
                self._refuse(frame, source, messages.CANNOT_OPEN)
                return
        try:
            padded = not proven and size == UNPROVEN_REQUEST
            request = messages.parse_request(body, padded_to_minimum=padded)
            if frame.to == UNKNOWN_RECIPIENT and not isinstance(request, Ping):
                raise FrameError("only a ping may go to whoever is there")
        except FrameError:
            self._refuse(frame, source, messages.MALFORMED)
            raise
        room = min(size * AMPLIFICATION - OVERHEAD, MAX_BODY)
        self._serve(_Asker(frame, source, keys, MAX_BODY if proven else room, proven), request)

    def _serve(self, asker: "_Asker", request: Request) -> None:
        """Do what is asked. A ping-back is never answered, so it makes no path to its port."""
        frame, source = asker.frame, asker.source
        match request:
            case Ping(is_back=True):
                if self._gate is not None:
                    self._gate.pinged_back(request, source)
                return
            case Ping():
                self._pong(asker, request)
            case _ if self._gate is not None and not self._gate.serves(source):
                self._refuse(frame, source, messages.NOT_SERVING)
            case Store() if asker.proven:
                self._tasks.spawn(self._store(asker, request))
            case Store():
                self._challenge(frame, source, self._clock.monotonic())
            case _:
                answer = self._server.look_up(request, source)
                if isinstance(answer, Nodes):
                    answer = replace(answer, seal_key=self.seal_key)
                self._answer(asker, answer)
        if asker.proven:
            self._on_proven(frame.sender, frame.nonce, source)

    def _pong(self, asker: "_Asker", ping: Ping) -> None:
        pong, source = self._server.pong(), asker.source
        if self._gate is not None:
            pong = replace(pong, flags=pong.flags | self._gate.flags(source))
        self._answer(asker, pong)
        if not asker.proven:
            return
        if ping.token and self._gate is not None:
            self._gate.ping_back(ping.token, source)
        if self._on_ping is not None:
            self._on_ping(asker.frame.sender, asker.frame.nonce, source, ping)

    async def _store(self, asker: "_Asker", request: Store) -> None:
        """Keep a record, once the publisher's messenger is known to have paid for its id."""
        try:
            await self._ids.check(asker.frame.sender, asker.frame.nonce)
        except PuzzleError:
            self._answer(asker, messages.Stored(messages.UNCHECKED, 0))
            return
        self._answer(asker, self._server.store(request))

    def _answer(self, asker: "_Asker", answer: Answer) -> None:
        frame, now = asker.frame, self._clock.monotonic()
        cookie = self._cookies.cookie(asker.source, frame.sender, now=now)
        room = asker.room - (0 if asker.keys is None else ANSWER_OVERHEAD)
        most = messages.MAX_PARTS if asker.proven else 1
        for body in in_parts(answer, Observed(asker.source, cookie), room=room, most=most):
            reply = self._frame(FrameType.REPLY, frame, body, sealed=asker.keys is not None)
            if asker.keys is not None:
                sealed = seal_answer(asker.keys, body, reply.header, entropy=self._entropy)
                reply = replace(reply, body=sealed)
            self._send(reply.signed(self._key, self._network), asker.source)

    def _challenge(self, frame: Frame, source: Endpoint, now: Monotonic) -> None:
        self._traffic.challenged += 1
        body = messages.challenge_body(self._cookies.cookie(source, frame.sender, now=now))
        self._send(self._frame(FrameType.CHALLENGE, frame, body).encode(), source)

    def _refuse(self, frame: Frame, source: Endpoint, code: int) -> None:
        refusal = self._frame(FrameType.REFUSAL, frame, messages.refusal_body(code))
        self._send(refusal.signed(self._key, self._network), source)

    def _frame(
        self, kind: FrameType, request: Frame, body: bytes, *, sealed: bool = False
    ) -> Frame:
        """An answer to `request`."""
        return Frame(
            type=kind,
            txid=request.txid,
            sender=self._key.id,
            nonce=self._nonce,
            to=bytes(request.sender),
            body=body,
            sealed=sealed,
        )
