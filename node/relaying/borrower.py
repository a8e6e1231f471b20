"""Being relayed for: willing nodes found and ranked, one asked, a spare kept, receipts checked."""

import asyncio
from collections.abc import Collection, Sequence

import structlog

from dht.directory import Directory
from dht.finder import Found
from dht.record import RelayOffer
from dht.scope import may_try
from dht.status import ContactInfo
from federation.messages import NO_TXN, TXN_BYTES, Request, Response
from federation.model.address import Endpoint
from federation.model.clocks import Clock, Entropy
from federation.model.identity import NodeId, NodeKey
from federation.model.network import Network
from federation.peers import Links
from federation.ports import Failure
from federation.relay_token import (
    MAX_TOKEN_SECONDS,
    NONCE_BYTES,
    RelayReceipt,
    RelayToken,
    RelayTokenError,
)
from node.control import RefusedError
from node.relaying import words
from node.relaying.choice import RelayCandidate, in_order
from node.relaying.lease import Lease
from node.storage.storage import Storage

MAX_CANDIDATES = 16
"Nearest willing nodes whose address records are looked up."
ANSWER_SECONDS = 8.0
DEFAULT_SECONDS = 1800
DEFAULT_QUOTA = 500_000_000
"Bytes: a dozen hours of a G.711 call."
_ASKED = frozenset({words.OK, words.FULL, words.UNWILLING, words.MALFORMED})

log = structlog.get_logger("relay")


class _Exchange:
    """One request on a link; a `federation.ports.ClientOwner`."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[tuple[int, bytes]] = asyncio.Future()

    def on_accepted(self, txn: bytes, peer_ip: str) -> None:
        """It has the request."""

    def on_response(self, txn: bytes, response: Response, peer_ip: str) -> None:
        """The answer."""
        if response.is_final and not self.answer.done():
            self.answer.set_result((response.status, words.body_of(response.sip)))

    def on_unreachable(self, txn: bytes, reason: Failure) -> None:
        """There will be none."""
        if not self.answer.done():
            self.answer.set_result((0, b""))


class RelayBorrower:
    """Asks willing nodes for a relay, on behalf of this node's users."""

    def __init__(
        self,
        key: NodeKey,
        network: Network,
        links: Links,
        directory: Directory,
        storage: Storage,
        *,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._key, self._network = key, network
        self._links, self._directory, self._storage = links, directory, storage
        self._clock, self._entropy = clock, entropy

    async def candidates(self, own: Sequence[Endpoint]) -> list[RelayCandidate]:
        """Willing nodes that answer, nearest first; what they have free is looked up."""
        willing = await self._directory.relays.find(lambda endpoint: may_try(endpoint, own))
        willing.sort(key=lambda contact: float("inf") if contact.rtt is None else contact.rtt)
        nearest = willing[:MAX_CANDIDATES]
        offers = await asyncio.gather(*map(self._offer_of, nearest))
        return [
            RelayCandidate(contact.node, contact.endpoint, contact.rtt, offer)
            for contact, offer in zip(nearest, offers, strict=True)
        ]

    async def borrow(
        self,
        own: Sequence[Endpoint],
        *,
        count: int = 1,
        beside: Collection[NodeId] = (),
        seconds: int = DEFAULT_SECONDS,
        quota: int = DEFAULT_QUOTA,
    ) -> list[Lease]:
        """Leases of up to `count` relays, best first, other ones than `beside`.

        Those that refuse are passed over. Empty where nobody relays for us.
        """
        leases: list[Lease] = []
        for candidate in in_order(await self.candidates(own)):
            if candidate.node in beside:
                continue
            lease = await self.ask(candidate.node, candidate.endpoint, seconds=seconds, quota=quota)
            if isinstance(lease, Lease):
                leases.append(lease)
            if len(leases) == count:
                break
        return leases

    async def ask(
        self,
        node: NodeId,
        endpoint: Endpoint,
        *,
        seconds: int = DEFAULT_SECONDS,
        quota: int = DEFAULT_QUOTA,
    ) -> Lease | int:
        """Ask one node; its refusal is a status of `words`, 0 for no answer that can be used."""
        seconds = min(seconds, MAX_TOKEN_SECONDS)
        token = RelayToken(
            asker=self._key.id,
            relay=node,
            nonce=self._entropy.token(NONCE_BYTES),
            not_after=int(self._clock.unix()) + seconds,
            quota=quota,
        )
        data = token.sign(self._key, self._network)
        status, body = await self._say(node, endpoint, words.ASK, data)
        if status != words.OK:
            log.info("relay_not_lent", node=node.text[:12], status=status)
            return status if status in _ASKED else 0
        try:
            lent = words.Lent.decode(body)
        except words.WordsError as error:
            log.warning("relay_answer_unusable", node=node.text[:12], reason=str(error))
            return 0
        return Lease(node, endpoint, token, lent, seconds)

    async def receipt(self, lease: Lease, *, ends: bool = False) -> RelayReceipt:
        """What the relay says it relayed so far, checked and kept; with `ends` it is the last.

        Raises:
            RefusedError: it does not say, or what it says is not signed by it for this lease.
        """
        what = words.END if ends else words.RECEIPT
        status, body = await self._say(lease.relay, lease.endpoint, what, lease.token.nonce)
        if status != words.OK:
            raise RefusedError("the relay gives no receipt", 503)
        try:
            receipt = RelayReceipt.verify(
                body,
                relay=lease.relay,
                asker=self._key.id,
                nonce=lease.token.nonce,
                network=self._network,
            )
        except RelayTokenError as error:
            raise RefusedError(f"the relay's receipt does not hold: {error}", 503) from error
        row = {
            "nonce": receipt.nonce,
            "relay": bytes(receipt.relay),
            "received_at": self._clock.unix(),
            "receipt": body,
        }
        self._storage.put("relay_receipts", (receipt.nonce,), row)
        return receipt

    async def _say(
        self, node: NodeId, endpoint: Endpoint, what: str, data: bytes
    ) -> tuple[int, bytes]:
        exchange, txn = _Exchange(), NO_TXN
        while txn == NO_TXN:
            txn = self._entropy.token(TXN_BYTES)
        sip = words.request(what, data, node.key_name)
        self._links.request(node, [endpoint], Request(txn=txn, sip=sip), exchange)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await exchange.answer
        except TimeoutError:
            return 0, b""

    async def _offer_of(self, contact: ContactInfo) -> RelayOffer | None:
        found = await self._directory.find_address(contact.node)
        payload = found.records[0].address if isinstance(found, Found) else None
        return None if payload is None else payload.relay
