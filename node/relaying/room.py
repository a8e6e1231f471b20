"""Everything about relaying for others and by others, made and joined for one node."""

import asyncio
from collections.abc import Callable, Sequence

from dht.directory import Directory
from federation.model.address import Endpoint
from federation.model.clocks import Clock, Entropy
from federation.model.identity import NodeId, NodeKey
from federation.peers import Links
from federation.ports import ServerTransaction
from federation.relay_token import RelayReceipt
from media_relay.pool import RelayPool
from node.config import Config
from node.control import JsonObject, RefusedError
from node.loaded import Loaded
from node.relaying import words
from node.relaying.borrower import RelayBorrower
from node.relaying.choice import RelayCandidate, in_order
from node.relaying.consent import ConsentChange
from node.relaying.lease import Lease
from node.relaying.lender import RelayLender
from node.relaying.owner import RelayOwner
from node.relaying.standby import Standby
from node.sheet import ServedAt
from node.storage.storage import Storage

MAX_LEASES = 64
"Of other nodes' relays, held at one time."


class RelayRoom:
    """Owner, lender and borrower of a node; `run` keeps them going."""

    def __init__(
        self,
        key: NodeKey,
        config: Config,
        loaded: Loaded,
        pool: RelayPool,
        storage: Storage,
        *,
        served: Callable[[], ServedAt],
        outer: Callable[[], tuple[str, ...]],
        own: Callable[[], tuple[Endpoint, ...]],
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._key, self._network = key, config.net
        self._storage, self._clock, self._entropy = storage, clock, entropy
        self._own = own
        self._leases: dict[bytes, Lease] = {}
        self._borrower: RelayBorrower | None = None
        self._standby = Standby(self, clock)
        families = {":" in end.host for end in own()}
        self.owner = RelayOwner(
            config.relay.consent if loaded.relay_consent is None else loaded.relay_consent,
            loaded.relay_usage,
            pool=pool,
            storage=storage,
            families=(False in families) | (True in families) << 1,
            clock=clock,
        )
        self.lender = RelayLender(
            key,
            config.net,
            pool,
            uris=lambda: served().by_address(outer()).turn("")["uris"],
            refusal=self.owner.refusal,
            clock=clock,
            entropy=entropy,
        )
        self.owner.on_off = self.lender.end_all
        self.owner.on_tick = self.lender.tick

    def join(self, links: Links, directory: Directory) -> None:
        """The network is there: offer what is offered, and be able to ask others."""
        self.owner.publish = directory.offer_relay
        self._borrower = RelayBorrower(
            self._key,
            self._network,
            links,
            directory,
            self._storage,
            clock=self._clock,
            entropy=self._entropy,
        )
        self.owner.tick()

    async def run(self) -> None:
        """Keep limits true; until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.owner.run())
                group.create_task(self._standby.run())
        finally:
            self.lender.close()

    # What the standby asks

    async def ask(self, lease: Lease) -> Lease | int:
        """Ask the relay of a lease for another one."""
        return await self._asking().ask(lease.relay, lease.endpoint)

    async def borrow_beside(self, used: Sequence[NodeId], count: int) -> list[Lease]:
        """Leases of other relays."""
        return await self._asking().borrow(self._own(), count=count, beside=used)

    async def receipt(self, lease: Lease) -> RelayReceipt:
        """What a relay says of a lease."""
        return await self._asking().receipt(lease)

    def hears(self, txn: ServerTransaction) -> bool:
        """Take a request of another node if it is about relaying."""
        if txn.request.method != words.METHOD:
            return False
        self.lender.on_request(txn)
        return True

    # What people ask

    async def on(self, change: ConsentChange) -> JsonObject:
        """Relay for strangers."""
        return await self.owner.on(change)

    async def off(self) -> JsonObject:
        """Relay for strangers no more, at once."""
        return await self.owner.off()

    def usage(self) -> JsonObject:
        """Limits and what is used of them."""
        return self.owner.usage() | {"tokens": len(self.lender)}

    async def candidates(self) -> list[JsonObject]:
        """Willing nodes in the order in which they would be asked, full ones last."""
        found = await self._asking().candidates(self._own())
        ordered = in_order(found)
        return [_shown(one) for one in [*ordered, *(one for one in found if one.is_full)]]

    async def borrow(self, count: int, *, keep: bool = False) -> list[JsonObject]:
        """Have relays lent: TURN credentials, best first.

        With `keep` so many are in force until they are given back; it is the number in all.
        """
        asking = self._asking()
        if len(self._leases) + count > MAX_LEASES:
            raise RefusedError(f"{MAX_LEASES} relays are borrowed already; give some back")
        if keep:
            leases = await self._standby.keep(count)
        else:
            leases = await asking.borrow(self._own(), count=count)
            self._leases.update((lease.token.nonce, lease) for lease in leases)
        if not leases:
            raise RefusedError(
                "no node that is known relays for this one; `ringmesh relay candidates` "
                "shows who would",
                503,
            )
        return [_lent(lease, kept=keep) for lease in leases]

    def leases(self) -> list[JsonObject]:
        """What is lent now, the kept ones first."""
        self._forget_expired()
        kept = [_lent(lease, kept=True) for lease in self._standby.leases]
        return kept + [_lent(lease, kept=False) for lease in self._leases.values()]

    async def give_back(self, lease: str) -> JsonObject:
        """End a lease; the answer is the relay's receipt, which is kept."""
        try:
            nonce = bytes.fromhex(lease)
        except ValueError:
            nonce = b""
        held = self._leases.get(nonce) or self._standby.drop(nonce)
        if held is None:
            raise RefusedError("no such lease is held", 404)
        receipt = await self._asking().receipt(held, ends=True)
        self._leases.pop(nonce, None)
        return {
            "node_id": receipt.relay.text,
            "begun": receipt.begun,
            "ended": receipt.ended,
            "bytes_to_peers": receipt.bytes_to_peers,
            "bytes_to_clients": receipt.bytes_to_clients,
        }

    def _forget_expired(self) -> None:
        now = self._clock.unix()
        for nonce, lease in list(self._leases.items()):
            if lease.lent.not_after < now:
                del self._leases[nonce]

    def _asking(self) -> RelayBorrower:
        self._forget_expired()
        if self._borrower is None:
            raise RefusedError("the node is only starting; try again in a moment", 503)
        return self._borrower


def _lent(lease: Lease, *, kept: bool) -> JsonObject:
    return {
        "lease": lease.token.nonce.hex(),
        "node_id": lease.relay.text,
        "uris": list(lease.lent.uris),
        "username": lease.lent.username,
        "password": lease.lent.password,
        "expires": lease.lent.not_after,
        "kept": kept,
    }


def _shown(candidate: RelayCandidate) -> JsonObject:
    offer = candidate.offer
    return {
        "node_id": candidate.node.text,
        "address": str(candidate.endpoint),
        "rtt": candidate.rtt,
        "kbit_free": None if offer is None else offer.kbits_free,
        "sessions_free": None if offer is None else offer.sessions_free,
        "full": candidate.is_full,
    }
