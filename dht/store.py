"""The records that this node keeps for the network, and the rules of what may stay."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from dht.acceptance import CLOCK_SKEW_S
from dht.messages import FULL, NEWER_HELD, OUTSIDE_REGION, STORED
from dht.record import Kind, Record, positions
from federation.model.clocks import UnixTime

MAX_SLOTS = 8
"Records under one key."
MAX_KEY_BYTES = 4_096
"Bytes of records under one key."
MAX_BYTES = 64 * 1024 * 1024
"Bytes of all records; each also costs `RECORD_OVERHEAD`."
RECORD_OVERHEAD = 1_024
"What keeping a record costs beside its bytes, counted as bytes."
PUBLISHER_BASE = 1_000
"Records that any publisher may keep here."
PUBLISHER_SHARE = 0.2
"Of the free record places, what one publisher may take beyond its base."
PUBLISHER_MOST = 50_000
REGION_CAP = 160
"A record is kept if fewer nodes than this are estimated to be nearer to it."

RankOf = Callable[[bytes], int]
"Estimates how many nodes are nearer to a position than this one."
_Slot = tuple[bytes, bytes]
"A record's place here: its key, and its owner with its publisher."


@dataclass(slots=True)
class _Shelf:
    """Everything under one key."""

    positions: tuple[bytes, ...]
    slots: dict[bytes, Record] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return sum(len(record.envelope) for record in self.slots.values())


class RecordStore:
    """One record for each (key, owner, publisher): the greatest by (issued, tombstone, hash).

    Records come in after `RecordValidator` accepted them. In whatever order and however often a
    set of records is put, the same ones remain, as long as no quota is met.
    """

    def __init__(self, rank_of: RankOf, *, max_bytes: int = MAX_BYTES) -> None:
        self._rank_of = rank_of
        self._max_bytes = max_bytes
        self._shelves: dict[bytes, _Shelf] = {}
        self._key_at: dict[bytes, bytes] = {}
        self._of_publisher: dict[bytes, int] = {}
        self._rank_at: dict[_Slot, int] = {}
        "The rank of each record when it was last put: every few hours its publisher does."
        self._of_rank: list[dict[_Slot, None]] = [{} for _ in range(REGION_CAP + 1)]
        self._bytes = 0

    def __len__(self) -> int:
        return sum(len(shelf.slots) for shelf in self._shelves.values())

    def __iter__(self) -> Iterator[Record]:
        for shelf in self._shelves.values():
            yield from shelf.slots.values()

    @property
    def used(self) -> int:
        """What is kept, as the quota counts it, in bytes."""
        return self._bytes

    def rank(self, record: Record) -> int:
        """The estimated rank of this node for a record, in the nearer of its regions."""
        return min(map(self._rank_of, positions(record.key)))

    def would_keep(self, record: Record) -> int:
        """The code that `put` would answer, found without keeping anything."""
        shelf = self._shelves.get(record.key)
        held = None if shelf is None else shelf.slots.get(record.slot[1])
        if held is not None:
            return STORED if record.rank >= held.rank else NEWER_HELD
        if shelf is not None and self._is_revoked(record, shelf):
            return NEWER_HELD
        if self.rank(record) >= REGION_CAP:
            return OUTSIDE_REGION
        if shelf is not None and (
            len(shelf.slots) >= MAX_SLOTS or shelf.size + len(record.envelope) > MAX_KEY_BYTES
        ):
            return FULL
        return FULL if self._of_publisher.get(record.publisher, 0) >= self._quota() else STORED

    def put(self, record: Record) -> int:
        """Keep a record if it may stay; answer with a code of `messages`."""
        code = self.would_keep(record)
        if code != STORED:
            return code
        shelf = self._shelves.get(record.key)
        if shelf is None:
            shelf = self._shelves[record.key] = _Shelf(positions(record.key))
            for position in shelf.positions:
                self._key_at[position] = record.key
        if record.slot[1] in shelf.slots:
            self._drop(record, keep_shelf=True)
        shelf.slots[record.slot[1]] = record
        held = self._of_publisher.get(record.publisher, 0)
        self._of_publisher[record.publisher] = held + 1
        self._bytes += _cost(record)
        self._note_rank(record)
        self._revoke(record, shelf)
        if self._bytes > self._max_bytes:
            self._evict()
        return STORED if record.slot[1] in shelf.slots and record.key in self._shelves else FULL

    def at_position(self, position: bytes, *, now: UnixTime) -> tuple[Record, ...]:
        """The records kept for a place in the overlay, oldest first; expired ones are left out."""
        key = self._key_at.get(position)
        return () if key is None else self.at_key(key, now=now)

    def at_key(self, key: bytes, *, now: UnixTime) -> tuple[Record, ...]:
        """The records under a key, oldest first; expired ones are left out."""
        shelf = self._shelves.get(key)
        if shelf is None:
            return ()
        current = [r for r in shelf.slots.values() if now <= r.expires + CLOCK_SKEW_S]
        return tuple(sorted(current, key=lambda record: record.rank))

    def expire(self, *, now: UnixTime) -> int:
        """Drop what has expired; return how many records went."""
        gone = [r for r in self if now > r.expires + CLOCK_SKEW_S]
        for record in gone:
            self._drop(record)
        return len(gone)

    def _quota(self) -> int:
        places = (self._max_bytes - self._bytes) // (RECORD_OVERHEAD + 256)
        return min(PUBLISHER_MOST, PUBLISHER_BASE + int(PUBLISHER_SHARE * max(0, places)))

    def _is_revoked(self, record: Record, shelf: _Shelf) -> bool:
        """An owner's own word outranks what was published for it before."""
        own = shelf.slots.get(2 * bytes(record.owner))
        return own is not None and revokes(own, record)

    def _revoke(self, own: Record, shelf: _Shelf) -> None:
        for other in [other for other in shelf.slots.values() if revokes(own, other)]:
            self._drop(other)

    def _note_rank(self, record: Record) -> None:
        """Remember how far a record is, so that a full store finds the farthest at once."""
        rank = min(self.rank(record), REGION_CAP)
        before = self._rank_at.get(record.slot)
        if before != rank:
            if before is not None:
                del self._of_rank[before][record.slot]
            self._rank_at[record.slot] = rank
            self._of_rank[rank][record.slot] = None

    def _evict(self) -> None:
        """Make room: the farthest goes first, of equally far ones the last that came."""
        rank = REGION_CAP
        while self._bytes > self._max_bytes:
            while not self._of_rank[rank]:
                rank -= 1
            key, publisher = next(reversed(self._of_rank[rank]))
            self._drop(self._shelves[key].slots[publisher])

    def _drop(self, like: Record, *, keep_shelf: bool = False) -> None:
        """Drop what is held in the slot of `like`; `keep_shelf`: a newer record takes it."""
        shelf = self._shelves[like.key]
        record = shelf.slots.pop(like.slot[1])
        if not keep_shelf:
            del self._of_rank[self._rank_at.pop(like.slot)][like.slot]
        self._bytes -= _cost(record)
        self._of_publisher[record.publisher] -= 1
        if not self._of_publisher[record.publisher]:
            del self._of_publisher[record.publisher]
        if not shelf.slots and not keep_shelf:
            del self._shelves[record.key]
            for position in shelf.positions:
                self._key_at.pop(position, None)


def _cost(record: Record) -> int:
    return RECORD_OVERHEAD + len(record.envelope)


def revokes(own: Record, other: Record) -> bool:
    """Whether `own`, signed by an account key itself, ends the delegated record `other`.

    Usually `own` is a tombstone. Any newer record in its slot keeps the same force, or else what
    remains would depend on the order in which records came.
    """
    return (
        own.kind is Kind.NUMBER
        and own.publisher == own.owner
        and other.owner == own.owner
        and other.publisher != other.owner
        and other.issued <= own.issued
    )


def merge(*groups: tuple[Record, ...]) -> tuple[Record, ...]:
    """What remains of several answers about one key: the newest in each slot, revoked ones gone.

    The result does not depend on the order of the answers, nor on repetitions.
    """
    newest: dict[tuple[bytes, bytes], Record] = {}
    for group in groups:
        for record in group:
            held = newest.get(record.slot)
            if held is None or record.rank > held.rank:
                newest[record.slot] = record
    kept = []
    for record in newest.values():
        own = newest.get((record.key, 2 * bytes(record.owner)))
        if own is None or not revokes(own, record):
            kept.append(record)
    return tuple(sorted(kept, key=lambda record: record.rank))
