"""What this node answers to requests, from its table and its store."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from dht import messages
from dht.acceptance import RecordValidator
from dht.messages import (
    INVALID,
    MAX_CONTACTS,
    MAX_IPV6_CONTACTS,
    MAX_RANK,
    MAX_RECORDS,
    QUEUED,
    WANTS_IPV4,
    WANTS_IPV6,
    Answer,
    ContactEntry,
    FindNode,
    Get,
    Nodes,
    Observed,
    Part,
    Records,
    Store,
    Stored,
)
from dht.record import Kind, Record, RecordError
from dht.scope import may_name
from dht.store import RecordStore
from dht.table import Contact, SecureTable
from federation.model.address import Endpoint
from federation.model.clocks import Entropy, UnixTime
from federation.model.identity import AccountId
from federation.model.number import Number

Verdict = Callable[[Number, AccountId], bool | None]


@dataclass(frozen=True, slots=True)
class Unverified:
    """A number claim whose derivation has to be checked before it is kept."""

    record: Record


class Answerer:
    """Answers find_node, get and store."""

    def __init__(
        self,
        *,
        table: SecureTable,
        store: RecordStore,
        validator: RecordValidator,
        verdict: Verdict,
        entropy: Entropy,
    ) -> None:
        self._table = table
        self._store = store
        self._validator = validator
        self._verdict = verdict
        self._entropy = entropy

    def nodes(self, request: FindNode, asker: Endpoint) -> Nodes:
        """The contacts nearest to the target, or a sample of those within the radius."""
        target = int.from_bytes(request.target, "big")
        if request.radius is None:
            chosen = self._table.nearest(request.target, 2 * MAX_CONTACTS)
        else:
            radius = int.from_bytes(request.radius, "big")
            seed = self._entropy.token(8)
            within = [c for c in self._table if c.long_id ^ target <= radius]
            chosen = sorted(within, key=lambda c: sha256(seed + c.id).digest())
        return Nodes(_named(chosen, asker, request.want))

    def records(self, request: Get, asker: Endpoint, *, now: UnixTime) -> Records:
        """The records held at a position, and the contacts nearest to it."""
        held = self._store.at_position(request.position, now=now)
        newer = [record for record in held if record.issued > request.newer_than]
        near = self._table.nearest(request.position, 2 * MAX_CONTACTS)
        return Records(
            tuple(record.envelope for record in newer[: request.most]),
            _named(near, asker, request.want),
        )

    def stored(self, request: Store, *, now: UnixTime) -> Stored | Unverified:
        """Keep a record, or say why not. Only for askers whose address and id are proven."""
        try:
            record = self._validator.check(request.envelope, None, now=now)
        except RecordError:
            return Stored(INVALID, 0)
        code, rank = self._store.would_keep(record), min(self._store.rank(record), MAX_RANK)
        if code == messages.STORED and record.kind is Kind.NUMBER:
            verdict = self._verdict(Number(record.label), AccountId(record.owner))
            if verdict is None:
                return Unverified(record)
            if not verdict:
                return Stored(INVALID, rank)
        return Stored(self._store.put(record) if code == messages.STORED else code, rank)

    def queued(self, record: Record) -> Stored:
        """The answer while a claim waits to be verified."""
        return Stored(QUEUED, min(self._store.rank(record), MAX_RANK))


def _named(contacts: Sequence[Contact], asker: Endpoint, want: int) -> tuple[ContactEntry, ...]:
    """The entries that may be named to `asker`, in the families it wants, within the limits."""
    entries: list[ContactEntry] = []
    ipv6 = 0
    for contact in contacts:
        endpoint = contact.endpoint
        if not want & (WANTS_IPV6 if endpoint.is_ipv6 else WANTS_IPV4):
            continue
        if endpoint == asker or contact.misses or not may_name(endpoint, asker):
            continue
        if endpoint.is_ipv6:
            if ipv6 == MAX_IPV6_CONTACTS:
                continue
            ipv6 += 1
        entries.append(ContactEntry(contact.id, endpoint, contact.flags))
        if len(entries) == MAX_CONTACTS:
            break
    return tuple(entries)


def in_parts(answer: Answer, observed: Observed, *, room: int, most: int) -> list[bytes]:
    """The bodies of an answer: at most `most`, each of at most `room` bytes.

    What does not fit is left out: contacts first, farthest first, then the newest records.
    """
    if isinstance(answer, Nodes):
        contacts, key = list(answer.contacts), answer.seal_key
        while True:
            body = messages.encode_part(Part(0, 1, observed, Nodes(tuple(contacts), key)))
            if len(body) <= room:
                return [body]
            if contacts:
                contacts.pop()
            else:
                key = None
    if not isinstance(answer, Records):
        return [messages.encode_part(Part(0, 1, observed, answer))]
    empty = len(messages.encode_part(Part(0, 1, observed, Records((), ()))))
    piles: list[list[bytes]] = [[]]
    left = room - empty
    for envelope in answer.envelopes:
        size = len(envelope) + 3
        if size > left and len(piles) < most and piles[-1]:
            piles.append([])
            left = room - empty
        if size <= left:
            piles[-1].append(envelope)
            left -= size
    entry = _ENTRY_IPV6 if any(c.endpoint.is_ipv6 for c in answer.contacts) else _ENTRY_IPV4
    if len(piles) < most and left < min(4, len(answer.contacts)) * entry:
        piles.append([])
        left = room - empty
    fitting = answer.contacts[: max(0, left - 2) // entry]
    return [
        messages.encode_part(
            Part(i, len(piles), observed, Records(tuple(pile), fitting if i == last else ()))
        )
        for last in (len(piles) - 1,)
        for i, pile in enumerate(piles)
    ]


_ENTRY_IPV4 = 1 + 2 + 32 + 2 + 6 + 2
"Bytes of a contact in an answer, at most."
_ENTRY_IPV6 = _ENTRY_IPV4 + 12


def joined(parts: dict[int, Part]) -> Answer:
    """Put the parts of an answer, or those that came, together again.

    All parts together hold no more than one could: the rest is nothing that was asked for.
    """
    first, *rest = (parts[number].answer for number in sorted(parts))
    if not rest or not isinstance(first, Records):
        return first
    records = [first, *(other for other in rest if isinstance(other, Records))]
    return Records(
        tuple(envelope for r in records for envelope in r.envelopes)[:MAX_RECORDS],
        tuple(contact for r in records for contact in r.contacts)[:MAX_CONTACTS],
    )
