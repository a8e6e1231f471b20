"""Leases that are kept in force: the first to use, the others as warm spares.

A lease is renewed at its relay before it ends, and one whose relay refuses or is gone is replaced
by one of another relay. So whoever uses the first finds the next one ready when it fails.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

import structlog

from federation.model.clocks import Clock
from federation.model.identity import NodeId
from federation.relay_token import RelayReceipt
from node.control import RefusedError
from node.relaying.lease import Lease

LOOK_SECONDS = 30.0
"Between two looks at the leases; each asks the relays for a receipt, which shows they are there."
APART_SECONDS = 2.0
"Receipts whose ends are compared lie so far apart; ends are whole seconds."
RENEW_PART = 0.25
"A lease with less than this part of its time left is renewed."

log = structlog.get_logger("relay")


class Asker(Protocol):
    """Asks relays (`node.relaying.room.RelayRoom`)."""

    async def ask(self, lease: Lease) -> Lease | int:
        """Ask the relay of a lease for another one; a refusal is a status."""

    async def borrow_beside(self, used: Sequence[NodeId], count: int) -> list[Lease]:
        """Leases of up to `count` relays that are not among `used`, best first."""

    async def receipt(self, lease: Lease) -> RelayReceipt:
        """What a relay says of a lease; raises `RefusedError` where it says nothing."""


class Standby:
    """Keeps `wanted` leases, each of another relay."""

    def __init__(self, asker: Asker, clock: Clock) -> None:
        self._asker, self._clock = asker, clock
        self._busy = asyncio.Lock()
        self.wanted = 0
        self.leases: list[Lease] = []
        "Best first; spares move up."
        self._ends: dict[bytes, tuple[int, float]] = {}
        "The end that the last receipt of a lease names, and when that came."

    async def run(self) -> None:
        """Look again and again; until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.look()

    async def keep(self, count: int) -> list[Lease]:
        """Keep so many in all, or more where more are kept; what there are then.

        Where there are none, nothing more is wanted than before.
        """
        before = self.wanted
        self.wanted = max(count, before)
        await self.look()
        if not self.leases:
            self.wanted = before
        return self.leases

    async def look(self) -> None:
        """Renew, replace, and fill up."""
        async with self._busy:
            looked_at = list(self.leases)
            kept = await asyncio.gather(*map(self._kept, looked_at))
            self.leases = [
                lease
                for before, lease in zip(looked_at, kept, strict=True)
                if lease is not None and before in self.leases  # else given back meanwhile
            ]
            nonces = {lease.token.nonce for lease in self.leases}
            self._ends = {nonce: end for nonce, end in self._ends.items() if nonce in nonces}
            missing = self.wanted - len(self.leases)
            if missing > 0:
                used = [lease.relay for lease in self.leases]
                self.leases += await self._asker.borrow_beside(used, missing)

    def drop(self, nonce: bytes) -> Lease | None:
        """Keep one lease less: the one with this nonce; `None` if it is not kept."""
        for lease in self.leases:
            if lease.token.nonce == nonce:
                self.leases.remove(lease)
                self.wanted -= 1
                return lease
        return None

    async def _kept(self, lease: Lease) -> Lease | None:
        """The lease as it goes on, renewed or not; `None`: its relay is lost."""
        left = lease.lent.not_after - self._clock.unix()
        if left < RENEW_PART * lease.seconds:
            renewed = await self._asker.ask(lease)
            if isinstance(renewed, Lease):
                return renewed
            log.info("relay_not_renewed", node=lease.relay.text[:12], left=round(left))
            return None
        try:
            receipt = await self._asker.receipt(lease)
        except RefusedError:
            log.info("relay_lost", node=lease.relay.text[:12])
            return None
        if self._has_ended(lease, receipt):
            log.info("relay_ended", node=lease.relay.text[:12])
            return None
        return lease

    def _has_ended(self, lease: Lease, receipt: RelayReceipt) -> bool:
        """Whether the relay has ended a lease, though it still gives receipts.

        Until then each receipt ends when it was written; afterwards the end stands still.
        """
        if receipt.bytes_to_peers + receipt.bytes_to_clients >= lease.token.quota:
            return True
        now, nonce = self._clock.monotonic(), lease.token.nonce
        end, at = self._ends.setdefault(nonce, (receipt.ended, now))
        if now - at < APART_SECONDS:
            return False
        self._ends[nonce] = receipt.ended, now
        return receipt.ended == end
