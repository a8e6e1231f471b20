"""Questions and answers over the mesh socket: frames out, frames in, in the order that is cheap.

An answer is checked against what is pending (microseconds), then by signature (0.1 ms), then by
puzzle (0.5 ms, in a thread, remembered). What others ask is `serving`'s business; records are
nobody's here.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

import structlog

from dht import messages
from dht.acquaintances import Acquaintances, Met
from dht.answers import joined
from dht.confirming import Confirming
from dht.cookie import TokenBucket
from dht.frame import (
    NO_COOKIE,
    TXID_BYTES,
    Frame,
    FrameError,
    FrameType,
)
from dht.messages import CLIENT, RELAYS, Answer, Nodes, Ping, Request
from dht.named_relays import NamedRelays
from dht.outgoing import RequestWriter
from dht.overlay_id import OverlayId, OverlayIdCache, PuzzleError
from dht.pending import Pending, PendingTable, Repeat
from dht.scope import is_preferable
from dht.serving import RequestDesk, Send, Server, Traffic
from dht.table import FIRST_PATIENCE_S, MAX_MISSES, Contact, SecureTable
from dht.tasks import Tasks
from federation.model.address import Endpoint
from federation.model.clocks import Clock, Entropy, Monotonic
from federation.model.identity import NodeId, NodeKey
from federation.model.network import Network

log = structlog.get_logger("dht")

GREET_RATE = 20.0
"Pings a second to nodes that asked us something and are not known yet."
GREET_BURST = 60.0
GREET_AGAIN_S = 600.0
"A node that found no place in the table is pinged again after this."
SENDS = 2
"Transmissions of a request, unless others could answer in its place."

Waiter = asyncio.Future["Reply | None"]


@dataclass(frozen=True, slots=True)
class Reply:
    """Who answered, and what."""

    contact: Contact
    answer: Answer


class Overlay:
    """One node's end of the DHT protocol. Everything happens in the event loop's thread."""

    def __init__(
        self,
        *,
        key: NodeKey,
        nonce: bytes,
        network: Network,
        send: Send,
        table: SecureTable,
        ids: OverlayIdCache,
        server: Server,
        confirming: Confirming,
        on_contact: Callable[[Contact], None],
        on_lost: Callable[[Contact], None],
        clock: Clock,
        entropy: Entropy,
        tasks: Tasks,
    ) -> None:
        self.own_id = OverlayId(table.node.id)
        self.traffic = Traffic()
        self.observed: Endpoint | None = None
        self.named_relays = NamedRelays()
        self._key, self._nonce, self._network = key, nonce, network
        self._send, self._server = send, server
        self._table, self._ids, self._tasks = table, ids, tasks
        self._clock, self._entropy = clock, entropy
        self._confirming = confirming
        self._met = Acquaintances(table, on_contact=on_contact, on_lost=on_lost, clock=clock)
        self._desk = RequestDesk(
            key=key,
            nonce=nonce,
            network=network,
            own_id=self.own_id,
            send=self._out,
            server=server,
            on_proven=self._heard_from,
            ids=ids,
            traffic=self.traffic,
            clock=clock,
            entropy=entropy,
            tasks=tasks,
            gate=confirming,
            on_ping=self._on_ping,
        )
        self._writer = RequestWriter(key=key, nonce=nonce, network=network, entropy=entropy)
        self._greetings = TokenBucket(GREET_RATE, GREET_BURST, now=clock.monotonic())
        self._greeting: set[Endpoint] = set()
        self._pending: PendingTable[Waiter] = PendingTable()
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False

    @property
    def seal_key(self) -> bytes:
        """The X25519 key to which bodies for this node are sealed."""
        return self._desk.seal_key

    @property
    def waiting(self) -> int:
        """Requests that wait for an answer."""
        return len(self._pending)

    def close(self) -> None:
        """Send nothing more; every waiting request ends without an answer."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        for pending in self._pending:
            self._end(pending, None)

    def known(self, id_: bytes) -> Contact | None:
        """The node with this id, if it ever answered and is remembered."""
        return self._met.known(id_)

    def ask(
        self,
        endpoint: Endpoint,
        request: Request,
        *,
        recipient: OverlayId | None = None,
        patience: float | None = None,
        sends: int = SENDS,
    ) -> Awaitable[Reply | None]:
        """Ask a node; the result is its reply, or None when there is none in time.

        The recipient's id may be left out in pings only.
        """
        future: asyncio.Future[Reply | None] = asyncio.get_running_loop().create_future()
        if self._is_closed or self._pending.is_full:
            future.set_result(None)
            return future
        contact = None if recipient is None else self.known(recipient)
        if patience is None:
            patience = FIRST_PATIENCE_S if contact is None else contact.patience
        pending = Pending(
            self._entropy.token(TXID_BYTES), endpoint, request, future, patience, sends, recipient
        )
        cookie = NO_COOKIE
        if contact is not None:
            pending.key = contact.key
            if contact.endpoint == endpoint:
                cookie = contact.cookie(now=self._clock.monotonic())
        self._transmit(pending, cookie)
        return future

    def ping(
        self,
        endpoint: Endpoint,
        *,
        recipient: OverlayId | None = None,
        patience: float | None = None,
        sends: int = SENDS,
    ) -> Awaitable[Reply | None]:
        """Ask whoever is at an address who it is, or a certain node."""
        request = self._ping_to(endpoint)
        return self.ask(endpoint, request, recipient=recipient, patience=patience, sends=sends)

    def check(self, contact: Contact, *, token: bytes = b"") -> Awaitable[Reply | None]:
        """Ask a known node whether it is still there; with a token, to be pinged back too."""
        request = self._ping_to(contact.endpoint, token)
        return self.ask(contact.endpoint, request, recipient=contact.id)

    def _ping_to(self, endpoint: Endpoint, token: bytes = b"") -> Ping:
        pong = self._server.pong()
        return Ping(pong.record_issued, pong.flags | self._confirming.flags(endpoint), token)

    def greet(self, endpoint: Endpoint) -> None:
        """Ping an address soon, if that is not being done; too many at a time are dropped."""
        if endpoint in self._greeting or not self._greetings.take(now=self._clock.monotonic()):
            return
        self._greeting.add(endpoint)
        self._tasks.spawn(self._greet(endpoint))

    async def _greet(self, endpoint: Endpoint) -> None:
        try:
            await self.ping(endpoint)
        finally:
            self._greeting.discard(endpoint)

    def datagram_received(self, data: bytes, source: Endpoint) -> None:
        """Take one datagram from the mesh socket."""
        if self._is_closed:
            return
        self.traffic.datagrams_in += 1
        self.traffic.bytes_in += len(data)
        self._confirming.heard(source)
        try:
            frame = Frame.parse(data)
            if frame.type is FrameType.REQUEST:
                self._desk.receive(frame, source, len(data))
            else:
                self._on_answer(frame, source)
        except FrameError:
            self.traffic.malformed += 1

    # What others answer, and that they asked

    def _heard_from(self, sender: NodeId, nonce: bytes, source: Endpoint) -> None:
        """A node proved its address by a request: that keeps a contact alive, but makes none."""
        self._confirming.proven(source)
        now, contact = self._clock.monotonic(), self._sender(sender, nonce)
        if contact is None:
            self.greet(source)
        elif contact.endpoint != source:
            if contact.misses or is_preferable(source, contact.endpoint):
                self.greet(source)
        elif contact.id in self._table:
            contact.heard(now=now)
        elif now - contact.last_heard > GREET_AGAIN_S:
            self.greet(source)

    def _on_ping(self, sender: NodeId, nonce: bytes, source: Endpoint, ping: Ping) -> None:
        """A client that serves now is asked whether it does; a contact that no more does leaves."""
        contact = self._sender(sender, nonce)
        if contact is None:
            return
        if contact.endpoint == source:
            contact.flags = contact.flags & ~RELAYS | ping.flags & RELAYS
        if not ping.flags & CLIENT and contact.flags & CLIENT:
            self.greet(source)
        elif ping.flags & CLIENT and not contact.flags & CLIENT and contact.endpoint == source:
            self._replace(self._met.retire(contact))

    def _sender(self, sender: NodeId, nonce: bytes) -> Contact | None:
        """The acquaintance that asks, if it is one."""
        try:
            id_ = self._ids.known(sender, nonce)
        except PuzzleError:
            return None
        return None if id_ is None else self.known(id_)

    def _on_answer(self, frame: Frame, source: Endpoint) -> None:
        pending = self._pending.match(frame.txid, source, frame.sender)
        if pending is None:
            self.traffic.unmatched += 1
            return
        if frame.to != self._key.id:
            raise FrameError("an answer to somebody else")
        if frame.type is FrameType.CHALLENGE:
            if not pending.was_challenged:
                pending.was_challenged = True
                pending.sends_left += 1
                self._transmit(pending, messages.parse_challenge(frame.body))
            return
        frame.verify(self._network)
        if pending.nonce not in (b"", frame.nonce):
            self.traffic.impostors += 1
            return
        pending.key, pending.nonce = frame.sender, frame.nonce
        now = self._clock.monotonic()
        try:
            id_ = self._ids.known(frame.sender, frame.nonce)
        except PuzzleError:
            self._impostor(pending)
            return
        if id_ is None:
            if pending.checking < messages.MAX_PARTS:
                pending.checking += 1
                self._tasks.spawn(self._check(pending, frame, now))
        else:
            self._accept(pending, frame, id_, now)

    async def _check(self, pending: Pending[Waiter], frame: Frame, now: Monotonic) -> None:
        try:
            id_ = await self._ids.check(frame.sender, frame.nonce)
        except PuzzleError:
            self._impostor(pending)
            return
        finally:
            pending.checking -= 1
        if not self._pending.is_waiting(pending):
            return
        try:
            self._accept(pending, frame, id_, now)
        except FrameError:
            self.traffic.malformed += 1

    def _impostor(self, pending: Pending[Waiter]) -> None:
        self.traffic.impostors += 1
        self._end(pending, None)

    def _accept(
        self,
        pending: Pending[Waiter],
        frame: Frame,
        id_: OverlayId,
        now: Monotonic,
    ) -> None:
        """An answer whose sender is certain."""
        if id_ == self.own_id or pending.recipient not in (None, id_):
            self._impostor(pending)
            return
        if frame.type is FrameType.REFUSAL:
            self._refused(pending, id_, messages.parse_refusal(frame.body))
            return
        if frame.sealed != (pending.seal is not None):
            raise FrameError("an answer is sealed as its request was")
        body = frame.body
        if pending.seal is not None:
            body = pending.seal.open_answer(body, frame.header)
        part = messages.parse_part(body)
        if part.answer.METHOD != pending.request.METHOD:
            raise FrameError("an answer to something else")
        if any(other.parts != part.parts for other in pending.parts.values()):
            raise FrameError("the parts of an answer disagree")
        pending.parts[part.part] = part
        if isinstance(part.answer, Nodes):
            self.named_relays.note(part.answer.contacts)
        contact = self._meet(pending, frame, id_, part, now)
        if len(pending.parts) == part.parts:
            self._end(pending, Reply(contact, joined(pending.parts)))

    def _refused(self, pending: Pending[Waiter], id_: OverlayId, code: int) -> None:
        contact = self.known(id_)
        if code == messages.CANNOT_OPEN and pending.seal is not None and contact is not None:
            contact.seal_key = None
            pending.sends_left += 1
            self._transmit(pending, pending.cookie)
            return
        if code == messages.NOT_SERVING and contact is not None:
            self._replace(self._met.retire(contact))
        self._end(pending, None)

    def _meet(
        self,
        pending: Pending[Waiter],
        frame: Frame,
        id_: OverlayId,
        part: messages.Part,
        now: Monotonic,
    ) -> Contact:
        self.observed = part.observed.endpoint
        self._confirming.seen(self.observed, pending.endpoint)
        is_first_send = not (pending.was_repeated or pending.was_challenged)
        rtt = now - pending.sent_at if is_first_send else None
        met = Met(id_, frame.sender, frame.nonce, pending.endpoint, part, rtt)
        return self._met.meet(met, now=now)

    # Sending

    def _transmit(self, pending: Pending[Waiter], cookie: bytes) -> None:
        """Build a request's datagram and send it, at first or with something changed."""
        contact = None if pending.recipient is None else self.known(pending.recipient)
        pending.cookie = cookie
        pending.datagram = self._writer.write(pending, contact)
        self._pending.sent(pending, now=self._clock.monotonic())
        self._out(pending.datagram, pending.endpoint)
        self._arm()

    def _out(self, data: bytes, endpoint: Endpoint) -> None:
        self.traffic.datagrams_out += 1
        self.traffic.bytes_out += len(data)
        self._confirming.sent(endpoint)
        with suppress(OSError):  # what the network cannot carry is lost like any datagram
            self._send(data, endpoint)

    def _end(self, pending: Pending[Waiter], reply: Reply | None) -> None:
        if self._pending.finish(pending) and not pending.owner.done():
            pending.owner.set_result(reply)

    def _arm(self) -> None:
        deadline = self._pending.next_timer()
        if deadline is None or self._is_closed:
            return
        loop = asyncio.get_running_loop()
        wait = max(0.0, deadline - self._clock.monotonic())
        if self._timer is not None:
            if not self._timer.cancelled() and self._timer.when() <= loop.time() + wait + 1e-6:
                return
            self._timer.cancel()
        self._timer = loop.call_later(wait, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        for effect in self._pending.handle_timer(now=self._clock.monotonic()):
            if isinstance(effect, Repeat):
                self._out(effect.pending.datagram, effect.pending.endpoint)
            else:
                self._silent(effect.pending)
        self._arm()

    def _silent(self, pending: Pending[Waiter]) -> None:
        """Nobody answered, or not all parts came."""
        contact = None if pending.recipient is None else self.known(pending.recipient)
        reply = None
        if contact is not None and pending.parts:
            reply = Reply(contact, joined(pending.parts))
        elif contact is not None and contact.endpoint == pending.endpoint:
            contact.misses += 1
            if contact.misses >= MAX_MISSES:
                self._lose(contact)
        if not pending.owner.done():
            pending.owner.set_result(reply)

    def _lose(self, contact: Contact) -> None:
        log.debug("contact_lost", node=contact.key.text, endpoint=str(contact.endpoint))
        self._replace(self._met.lose(contact))

    def _replace(self, waiting: Contact | None) -> None:
        """A place in the table is free: who waits for it is asked whether it lives."""
        if waiting is not None:
            self.greet(waiting.endpoint)
