"""Nodes that relay for strangers: those of the table, and those that others name with that flag.

What others name is proven by nothing, so such a node is asked itself before it is told of; its own
answer says whether it is willing, and how far away it is.
"""

import asyncio
from collections.abc import Callable

from dht.messages import RELAYS, ContactEntry, FindNode
from dht.overlay import Overlay
from dht.overlay_id import OVERLAY_ID_BYTES
from dht.status import ContactInfo
from dht.table import Contact, SecureTable
from federation.model.address import Endpoint
from federation.model.clocks import Clock, Entropy

ENOUGH = 8
"Willing nodes in the table, from which on nobody is asked for more."
ASKED_AT_ONCE = 16
"Named nodes that are pinged, or contacts asked to name some, in one search."

MayTry = Callable[[Endpoint], bool]


class WillingRelays:
    """Finds nodes that relay for strangers."""

    def __init__(
        self, overlay: Overlay, table: SecureTable, clock: Clock, entropy: Entropy
    ) -> None:
        self._overlay, self._table = overlay, table
        self._clock, self._entropy = clock, entropy

    async def find(self, may_try: MayTry) -> list[ContactInfo]:
        """Willing nodes that answered, in no order; where few are known, contacts are asked."""
        own = {bytes(contact.id): contact for contact in self._table if contact.flags & RELAYS}
        if len(own) < ENOUGH:
            await self._ask_for_some()
        named = self._overlay.named_relays
        asked = named.newest(lambda one: one.id not in own and may_try(one.endpoint))
        for contact in await asyncio.gather(*map(self._confirm, asked[:ASKED_AT_ONCE])):
            if contact is not None:
                own[bytes(contact.id)] = contact
        now = self._clock.monotonic()
        return [ContactInfo.of(one, now) for one in own.values() if may_try(one.endpoint)]

    async def _confirm(self, entry: ContactEntry) -> Contact | None:
        reply = await self._overlay.ping(entry.endpoint, recipient=entry.id)
        if reply is not None and reply.contact.flags & RELAYS:
            return reply.contact
        self._overlay.named_relays.forget(entry)
        return None

    async def _ask_for_some(self) -> None:
        """Have contacts name nodes near a place drawn by lot; the overlay notes the willing."""
        target = self._entropy.token(OVERLAY_ID_BYTES)
        contacts = sorted(self._table, key=lambda contact: contact.rtt or 0.0)[:ASKED_AT_ONCE]
        await asyncio.gather(
            *(
                self._overlay.ask(contact.endpoint, FindNode(target), recipient=contact.id)
                for contact in contacts
            )
        )
