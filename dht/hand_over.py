"""Others' records, handed on to a new contact that lies nearer to them than we do.

Only who is among the two nearest holders hands a record on, so a newcomer gets each record about
twice and not from everybody. The bytes are the publisher's: nothing is signed anew and no life
becomes longer. It goes, slowly, to contacts that answered us: their address and id are proven.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from itertools import islice

from dht.acceptance import CLOCK_SKEW_S
from dht.messages import ContactEntry
from dht.record import Record, positions
from dht.store import RecordStore
from dht.table import Contact, SecureTable
from federation.model.clocks import Clock
from federation.model.identity import NodeId

NEAREST_HOLDERS = 2
"A record is handed on by so many of the nodes nearest to it."
HANDED_PER_S = 20.0
MAX_HANDED = 1_000
"Records handed to one new contact."
MAX_WAITING = 64
"New contacts that wait for records."
AT_A_TIME = 200
"Records looked at before others get their turn in the event loop."

Give = Callable[[Record, ContactEntry], Awaitable[None]]


def due_to(
    contact: Contact, records: Iterable[Record], table: SecureTable, *, now: float
) -> Iterator[Record | None]:
    """The records that `contact` should get from us; None for each that it should not."""
    own = table.node.long_id
    for record in records:
        is_due = False
        if now <= record.expires + CLOCK_SKEW_S:
            for position in positions(record.key):
                place = int.from_bytes(position, "big")
                if contact.long_id ^ place < own ^ place:
                    is_due = is_due or _is_nearest(place, table, besides=contact)
        yield record if is_due else None


def _is_nearest(place: int, table: SecureTable, *, besides: Contact) -> bool:
    """Whether we are among the nearest holders; most often two contacts are enough to say no."""
    own = table.node.long_id ^ place
    nearer = (c for c in table if c.long_id ^ place < own and c.id != besides.id)
    return sum(1 for _ in islice(nearer, NEAREST_HOLDERS)) < NEAREST_HOLDERS


class HandOver:
    """Gives new contacts what they should hold. What we publish ourselves is `publishing`'s."""

    def __init__(
        self, *, own: NodeId, table: SecureTable, store: RecordStore, give: Give, clock: Clock
    ) -> None:
        self._own = own
        self._table, self._store, self._give, self._clock = table, store, give, clock
        self._waiting: deque[Contact] = deque(maxlen=MAX_WAITING)
        self._wake = asyncio.Event()

    def offer(self, contact: Contact) -> None:
        """A contact is new in the table."""
        if len(self._store):
            self._waiting.append(contact)
            self._wake.set()

    async def run(self) -> None:
        """Hand over until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                await self._serve(self._waiting.popleft())

    async def _serve(self, contact: Contact) -> None:
        entry = ContactEntry(contact.id, contact.endpoint)
        handed = 0
        others = tuple(r for r in self._store if r.publisher not in (self._own, contact.key))
        for looked_at, record in enumerate(
            due_to(contact, others, self._table, now=self._clock.unix())
        ):
            if looked_at % AT_A_TIME == AT_A_TIME - 1:
                await asyncio.sleep(0)
            if record is None:
                continue
            if contact.id not in self._table or handed == MAX_HANDED:
                return
            await self._give(record, entry)
            handed += 1
            await asyncio.sleep(1 / HANDED_PER_S)
