"""What this node answers others: pings, lookups and stores."""

from collections.abc import Callable

from dht.answers import Answerer, Unverified
from dht.messages import FULL, RELAYS, Answer, FindNode, Get, Pong, Store, Stored
from dht.number_claims import ClaimVerifier
from dht.publisher import Name, Publisher
from dht.record import Kind
from dht.store import RecordStore
from federation.model.address import Endpoint
from federation.model.clocks import Clock
from federation.model.identity import AccountId
from federation.model.number import Number


class Service:
    """Answers proven requests (the overlay's `Server`)."""

    def __init__(
        self,
        *,
        answerer: Answerer,
        publisher: Publisher,
        verifier: ClaimVerifier,
        store: RecordStore,
        seal_key: Callable[[], bytes],
        clock: Clock,
    ) -> None:
        self._answerer = answerer
        self._publisher = publisher
        self._verifier = verifier
        self._store = store
        self._seal_key = seal_key
        self._clock = clock
        self.relays = False
        "Whether this node relays for strangers, which pings and pongs say."

    def pong(self) -> Pong:
        """The answer to a ping."""
        item = self._publisher.get(Name(Kind.ADDRESS, ""))
        issued = 0 if item is None or item.record is None else item.record.issued
        flags = RELAYS if self.relays else 0
        return Pong(issued, self._seal_key(), flags, int(self._clock.unix() * 1000))

    def look_up(self, request: FindNode | Get, asker: Endpoint) -> Answer:
        """The answer to find_node or get."""
        if isinstance(request, FindNode):
            return self._answerer.nodes(request, asker)
        return self._answerer.records(request, asker, now=self._clock.unix())

    def store(self, request: Store) -> Answer:
        """The answer to a store."""
        result = self._answerer.stored(request, now=self._clock.unix())
        if isinstance(result, Stored):
            return result
        return self._queue(result)

    def _queue(self, claim: Unverified) -> Stored:
        record = claim.record

        def judged(holds: bool) -> None:
            if holds:
                self._store.put(record)

        number, account = Number(record.label), AccountId(record.owner)
        is_queued = self._verifier.enqueue(number, account, judged)
        return self._answerer.queued(record) if is_queued else Stored(FULL, 0)
