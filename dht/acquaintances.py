"""Nodes that answered us: those in the table, and others that are remembered beside it.

Only an answer to our own request makes an acquaintance, and only one that serves enters the table.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from dht.messages import CLIENT, Nodes, Part, Pong
from dht.overlay_id import OverlayId
from dht.scope import is_local, is_preferable
from dht.table import Contact, SecureTable
from federation.model.address import Endpoint
from federation.model.clocks import Clock, Monotonic
from federation.model.identity import NodeId

MAX_ACQUAINTANCES = 2_048
"Nodes that answered us and whose cookie and speed are remembered, beside the table."


@dataclass(frozen=True, slots=True)
class Met:
    """One datagram of an answer whose sender is certain."""

    id: OverlayId
    key: NodeId
    nonce: bytes
    endpoint: Endpoint
    part: Part
    rtt: float | None
    "Seconds; None where it cannot be told which transmission was answered."


class Acquaintances:
    """Keeps who answered, and decides who enters the table."""

    def __init__(
        self,
        table: SecureTable,
        *,
        on_contact: Callable[[Contact], None],
        on_lost: Callable[[Contact], None],
        clock: Clock,
    ) -> None:
        self._table, self._clock = table, clock
        self._on_contact, self._on_lost = on_contact, on_lost
        self._beside: OrderedDict[bytes, Contact] = OrderedDict()

    def __len__(self) -> int:
        return len(self._beside)

    def known(self, id_: bytes) -> Contact | None:
        """The node with this id, if it ever answered and is remembered."""
        contact = self._table.get(id_)
        return self._beside.get(id_) if contact is None else contact

    def meet(self, met: Met, *, now: Monotonic) -> Contact:
        """Remember who answered; this is the only way into the table."""
        contact = self.known(met.id)
        if contact is None:
            contact = Contact(met.id, met.key, met.nonce, met.endpoint, now=now)
            self._remember(contact)
        elif contact.endpoint != met.endpoint and _is_better(met, contact):
            self._table.moved(contact, met.endpoint)
        if contact.endpoint == met.endpoint:
            contact.heard(now=now, rtt=met.rtt)
            contact.keep_cookie(met.part.observed.cookie, now=now)
        if isinstance(met.part.answer, Pong):
            self._learn(contact, met.part.answer, met)
        elif isinstance(met.part.answer, Nodes) and met.part.answer.seal_key:
            contact.seal_key = met.part.answer.seal_key
        if is_client(contact):
            self.retire(contact)
        elif self._table.add_contact(contact):
            self._beside.pop(met.id, None)
            self._on_contact(contact)
        return contact

    def retire(self, contact: Contact) -> Contact | None:
        """It serves no more: out of the table, not forgotten; return who waits for its place."""
        contact.flags |= CLIENT
        if contact.id not in self._table:
            return None
        waiting = self._table.remove_contact(contact)
        self._remember(contact)
        return waiting

    def lose(self, contact: Contact) -> Contact | None:
        """It does not answer any more; return who waits for its place in the table."""
        self._beside.pop(contact.id, None)
        if contact.id not in self._table:
            return None
        waiting = self._table.remove_contact(contact)
        self._on_lost(contact)
        return waiting

    def _remember(self, contact: Contact) -> None:
        self._beside[contact.id] = contact
        if len(self._beside) > MAX_ACQUAINTANCES:
            self._beside.popitem(last=False)

    def _learn(self, contact: Contact, pong: Pong, met: Met) -> None:
        contact.seal_key = pong.seal_key
        contact.record_issued = pong.record_issued
        if contact.endpoint == met.endpoint:
            contact.flags = pong.flags
            contact.skew = pong.time_ms / 1000 + (met.rtt or 0.0) / 2 - self._clock.unix()


def is_client(contact: Contact) -> bool:
    """Whether a node says that strangers do not reach it where we know it to be."""
    return bool(contact.flags & CLIENT) and not is_local(contact.endpoint)


def _is_better(met: Met, contact: Contact) -> bool:
    """Whether the address that answered takes the place of the one that is known."""
    says_client = isinstance(met.part.answer, Pong) and met.part.answer.flags & CLIENT
    if says_client and not is_local(met.endpoint):
        return contact.misses > 0
    return bool(
        contact.misses or is_client(contact) or is_preferable(met.endpoint, contact.endpoint)
    )
