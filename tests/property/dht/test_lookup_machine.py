"""A lookup whose every answer Hypothesis chooses: when it comes, from whom, and what it says."""

from unittest.mock import patch

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dht.candidates import GROUP_PER_LOOKUP, MAX_ENDPOINTS
from dht.lookup import MAX_ASKS, MAX_SAMPLES, PATH_LIST, Ask, Lookup, Seed
from dht.messages import ContactEntry
from dht.overlay_id import OverlayId
from dht.region import MOST_IN_REGION
from federation.model.address import Endpoint, network_group
from federation.model.clocks import Monotonic
from tests.support.dht_records import NOW, a_record

BUDGET_S = 4.0
MOST_KNOWN = 150
"Candidates, in place of a thousand, so that room runs out."
OWN = OverlayId(bytes([255]) * 32)
RECORDS = (a_record(now=NOW), a_record(now=NOW + 1), a_record(now=NOW + 2, tombstone=True))
RADII = (0, 1 << 200, 1 << 248, (1 << 256) - 1)

bits = st.integers(1, 255)
groups = st.integers(0, 400)


def place(near: int, n: int) -> OverlayId:
    """An id whose distance from the target, which is zero, has about so many bits."""
    return OverlayId(((1 << near) + n).to_bytes(32, "big"))


def home(group: int, n: int) -> Endpoint:
    """Most of them global; some on our own LAN, where limits by network do not apply."""
    if group > 380:
        return Endpoint(f"192.168.{group - 380}.{n % 250 + 1}", 7060)
    return Endpoint(f"20.{group // 250}.{group % 250}.{n % 250 + 1}", 7060)


entries = st.builds(
    lambda near, n, group: ContactEntry(place(near, n), home(group, n)),
    bits, st.integers(0, 300), groups,
)  # fmt: skip
swarms = st.builds(
    lambda near, start, group, spread, count: [
        ContactEntry(place(near, start + n), home((group + spread * n) % 400, n))
        for n in range(count)
    ],
    bits, st.integers(0, 10_000), groups, st.integers(0, 3), st.integers(1, 60),
)  # fmt: skip
named = swarms | st.lists(entries, max_size=25)
tables = st.lists(entries, max_size=40) | st.builds(
    lambda count, near, step: [
        ContactEntry(place((near + step * n) % 256, n), home(7 * n % 380, n)) for n in range(count)
    ],
    st.sampled_from([5, 20, 40]), bits, st.integers(1, 255),
)  # fmt: skip
picks = st.integers(0, 10_000)


class HostilePeers(RuleBasedStateMachine):
    """Nobody makes a lookup ask without end, grow without end, or outlast its time."""

    def __init__(self) -> None:
        super().__init__()
        self.limit = patch("dht.candidates.MAX_CANDIDATES", MOST_KNOWN)
        self.limit.start()

    @initialize(
        seeds=tables,
        suspects=st.sets(st.integers(0, 39)),
        wants_records=st.booleans(),
        radius=st.sampled_from(RADII),
        knows=st.booleans(),
    )
    def begin(
        self,
        seeds: list[ContactEntry],
        suspects: set[int],
        wants_records: bool,
        radius: int,
        knows: bool,
    ) -> None:
        self.now = Monotonic(0.0)
        self.asked: list[Ask] = []
        self.open: list[Ask] = []
        self.best = RECORDS[:1] if knows and wants_records else ()
        self.lookup = Lookup(
            bytes(32),
            own_id=OWN,
            seeds=[Seed(entry, is_suspect=n in suspects) for n, entry in enumerate(seeds)],
            wants_records=wants_records,
            own_records=self.best,
            radius=radius,
            deadline=Monotonic(BUDGET_S),
        )
        self.take(self.lookup.start(now=self.now))

    def take(self, asks: list[Ask]) -> None:
        assert not (asks and self.lookup.outcome is not None), "asks after its end"
        self.asked += asks
        self.open += asks

    def one_of(self, pick: int) -> Ask:
        return self.open.pop(pick % len(self.open))

    @precondition(lambda self: self.open)
    @rule(
        pick=picks,
        contacts=named,
        records=st.just([]) | st.lists(st.sampled_from(RECORDS), max_size=3),
        many=st.integers(1, 20),
    )
    def answers_come(
        self, pick: int, contacts: list[ContactEntry], records: list[object], many: int
    ) -> None:
        """The same from several, as from friends."""
        for _ in range(min(many, len(self.open))):
            ask = self.one_of(pick)
            if ask.radius is not None:
                self.take(self.lookup.sampled(ask.id, contacts=contacts, now=self.now))
                continue
            self.take(
                self.lookup.answered(
                    ask.id,
                    contacts=contacts,
                    records=tuple(records),  # type: ignore[arg-type]
                    endpoint=ask.endpoint,
                    now=self.now,
                )
            )

    @precondition(lambda self: self.open)
    @rule(near=bits, step=st.integers(0, 7), start=picks, group=groups, most=st.integers(1, 60))
    def all_name_neighbours_without_end(
        self, near: int, step: int, start: int, group: int, most: int
    ) -> None:
        """Each of them others, ever nearer ones."""
        for _ in range(most):
            if not self.open:
                break
            ask = self.open.pop(0)
            start += 20
            contacts = [
                ContactEntry(place(max(1, near - step * n), start + n), home((group + n) % 400, n))
                for n in range(20)
            ]
            if ask.radius is not None:
                asks = self.lookup.sampled(ask.id, contacts=contacts, now=self.now)
            else:
                asks = self.lookup.answered(
                    ask.id, contacts=contacts, endpoint=ask.endpoint, now=self.now
                )
            self.take(asks)

    @precondition(lambda self: self.open)
    @rule(pick=picks, many=st.integers(1, 20))
    def some_are_silent(self, pick: int, many: int) -> None:
        for _ in range(min(many, len(self.open))):
            self.take(self.lookup.failed(self.one_of(pick), now=self.now))

    @precondition(lambda self: self.asked)
    @rule(pick=picks, contacts=named)
    def an_answer_comes_again(self, pick: int, contacts: list[ContactEntry]) -> None:
        ask = self.asked[pick % len(self.asked)]
        if ask in self.open:
            return
        for report in (self.lookup.answered, self.lookup.sampled):
            extra = {"endpoint": ask.endpoint} if report == self.lookup.answered else {}
            self.take(report(ask.id, contacts=contacts, now=self.now, **extra))  # type: ignore[operator]

    @rule(entry=entries, contacts=named)
    def somebody_answers_who_was_not_asked(
        self, entry: ContactEntry, contacts: list[ContactEntry]
    ) -> None:
        if entry.id in {ask.id for ask in self.asked}:
            return
        before = len(self.lookup._peers)
        endpoint = entry.endpoint
        assert not self.lookup.answered(
            entry.id, contacts=contacts, endpoint=endpoint, now=self.now
        )
        assert not self.lookup.sampled(entry.id, contacts=contacts, now=self.now)
        assert len(self.lookup._peers) == before

    @rule(seconds=st.floats(0, 0.125, width=32))
    def time_passes(self, seconds: float) -> None:
        self.now = Monotonic(self.now + seconds)
        self.take(self.lookup.handle_timer(now=self.now))

    @rule()
    def the_next_timer_is_kept(self) -> None:
        if self.lookup.outcome is None:
            self.now = max(self.now, self.lookup.next_timer())
            self.take(self.lookup.handle_timer(now=self.now))

    @invariant()
    def messages_are_within_the_budget(self) -> None:
        if not hasattr(self, "lookup"):
            return
        assert len(self.asked) <= MAX_ASKS
        assert sum(ask.radius is not None for ask in self.asked) <= MAX_SAMPLES
        questions = [(ask.id, ask.endpoint, ask.radius) for ask in self.asked]
        assert len(questions) == len(set(questions)), "asked the same twice"
        ways = [ask.id for ask in self.asked if ask.radius is None]
        assert max((ways.count(id_) for id_ in set(ways)), default=0) <= MAX_ENDPOINTS
        assert OWN not in ways

    @invariant()
    def memory_is_within_the_budget(self) -> None:
        if not hasattr(self, "lookup"):
            return
        peers = list(self.lookup._peers)
        assert len(peers) <= MOST_KNOWN
        assert all(len(peer.ways) + len(peer.tried) <= MAX_ENDPOINTS for peer in peers)
        named_by = [way for peer in peers for way in (*peer.ways, peer.way) if way is not None]
        assert all(len(way.namers) <= len(self.asked) for way in named_by)
        assert all(len(path.peers) <= PATH_LIST for path in self.lookup._paths)
        strangers = [
            peer.group
            for peer in peers
            if not network_group(peer.endpoint.ip).startswith(bytes([192, 168]))
        ]
        assert max(map(strangers.count, set(strangers)), default=0) <= GROUP_PER_LOOKUP

    @invariant()
    def time_is_within_the_budget(self) -> None:
        if not hasattr(self, "lookup"):
            return
        outcome = self.lookup.outcome
        if outcome is None:
            assert self.open, "waits for nobody"
            assert self.lookup.next_timer() <= BUDGET_S
            return
        assert outcome.asked == len(self.asked)
        assert len(outcome.region) <= MOST_IN_REGION
        assert list(outcome.distances) == sorted(outcome.distances)
        assert not self.best or outcome.records, "our own record was forgotten"

    def teardown(self) -> None:
        """With nobody answering any more it ends, at its deadline at the latest."""
        try:
            if hasattr(self, "lookup"):
                for _ in range(MAX_ASKS * 2 + 2):
                    self.the_next_timer_is_kept()
                assert self.lookup.outcome is not None
        finally:
            self.limit.stop()


TestHostilePeers = HostilePeers.TestCase
TestHostilePeers.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
