"""Seeks and gives confirmations that a node is reached, and says whom this node serves.

The rules stand in `reachability`; this is their shell.
"""

from collections.abc import Iterable

import structlog

from dht import canonical
from dht.cookie import TokenBucket
from dht.frame import TXID_BYTES, UNKNOWN_RECIPIENT, Frame, FrameType, padding_for
from dht.messages import CLIENT, Ping
from dht.observed import ObservedAddresses, OuterAddress
from dht.reachability import FamilyReach, Reachability
from dht.scope import is_local
from dht.serving import Send
from federation.model.address import Endpoint
from federation.model.clocks import Clock, Entropy
from federation.model.identity import NodeKey
from federation.model.network import Network

log = structlog.get_logger("dht")

PING_BACK_RATE = 5.0
"Ping-backs a second for everybody together."
PING_BACK_BURST = 50.0


class Confirming:
    """What one node knows and does about reachability.

    `send_apart` sends a datagram from another port than the mesh port's. A directory made without
    it gives no confirmations and asks for none: it serves everybody from the start.
    """

    def __init__(
        self,
        *,
        key: NodeKey,
        nonce: bytes,
        network: Network,
        send_apart: Send | None,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._key, self._nonce, self._network = key, nonce, network
        self._send_apart, self._clock, self._entropy = send_apart, clock, entropy
        self._reach = Reachability(entropy=entropy)
        self._observed = ObservedAddresses()
        self._rate = TokenBucket(PING_BACK_RATE, PING_BACK_BURST, now=clock.monotonic())
        self._served = self.families()

    def serves(self, asker: Endpoint) -> bool:
        """Whether who asks from there is served."""
        if self._send_apart is None:
            return True
        return self._reach.serves(asker, now=self._clock.monotonic())

    def flags(self, to: Endpoint) -> int:
        """What a ping or its answer says of this node to who is there."""
        return 0 if self.serves(to) else CLIENT

    def families(self) -> tuple[FamilyReach, ...]:
        """How IPv4 and IPv6 stand; nothing where confirmations are not sought."""
        if self._send_apart is None:
            return ()
        return self._reach.families(now=self._clock.monotonic())

    def outer(self, hosts: Iterable[str]) -> tuple[OuterAddress, ...]:
        """Where this node, whose machine has the addresses `hosts`, is reached from outside a NAT.

        Only what peers of several networks agree on, and what lets strangers in.
        """
        return self._observed.outer(self.families(), hosts, now=self._clock.monotonic())

    # What the overlay sees

    def seen(self, at: Endpoint, peer: Endpoint) -> None:
        """A peer that answered saw this node at an address."""
        self._observed.note(at, peer, now=self._clock.monotonic())

    def sent(self, to: Endpoint) -> None:
        """A datagram goes out."""
        if self._send_apart is not None:
            self._reach.sent(to)

    def heard(self, source: Endpoint) -> None:
        """A datagram came in."""
        if self._send_apart is not None:
            self._reach.heard(source)

    def proven(self, source: Endpoint) -> None:
        """A request came from an address that its cookie proves."""
        self._reach.proven(source, now=self._clock.monotonic())

    def learned(self, peer: Endpoint) -> None:
        """A peer that serves is new."""
        self._reach.learn(peer)

    def moved(self) -> None:
        """This node's addresses changed."""
        self._reach.moved()

    def pinged_back(self, ping: Ping, source: Endpoint) -> None:
        """A ping-back came, or something that looks like one."""
        if self._reach.pinged_back(ping.token, source, now=self._clock.monotonic()):
            log.debug("confirmed_reachable", source=str(source))

    def ping_back(self, token: bytes, asker: Endpoint) -> None:
        """Ping who asked for it from another port. Its address must have been proven."""
        if self._send_apart is None or is_local(asker):
            return
        if not self._rate.take(now=self._clock.monotonic()):
            return
        body = canonical.pack(Ping(0, 0, token, is_back=True).body())
        frame = Frame(
            type=FrameType.REQUEST,
            txid=self._entropy.token(TXID_BYTES),
            sender=self._key.id,
            nonce=self._nonce,
            to=UNKNOWN_RECIPIENT,
            body=body + bytes(padding_for(len(body), has_cookie=False)),
        )
        self._send_apart(frame.signed(self._key, self._network), asker)

    # What maintenance does

    def due(self, peers: Iterable[Endpoint]) -> list[tuple[Endpoint, bytes]]:
        """Whom to ask for a ping-back now, each with the token for it."""
        if self._send_apart is None:
            return []
        now, peers = self._clock.monotonic(), tuple(peers)
        self._reach.know(peers, now=now)
        chosen = self._reach.to_ask(peers, now=now)
        return [(endpoint, self._reach.question(endpoint, now=now)) for endpoint in chosen]

    def began_to_serve(self) -> bool:
        """Whether strangers of a family are served who were not when this was last asked."""
        before, self._served = self._served, self.families()
        began = False
        for was, is_ in zip(before, self._served, strict=True):
            if was.serves == is_.serves:
                continue
            began = began or is_.serves
            event = "reached_from_outside" if is_.serves else "not_reached_from_outside"
            log.info(event, family=is_.family, confirmed=is_.confirmed, needed=is_.needed)
        return began
