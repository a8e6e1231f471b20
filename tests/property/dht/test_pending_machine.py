"""Waiting requests: whatever happens to them, each ends exactly once, and in time."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dht.messages import Ping
from dht.pending import LAST_WAIT_FACTOR, Pending, PendingTable, Repeat, Silent
from federation.model.address import Endpoint
from federation.model.clocks import Monotonic
from federation.model.identity import NodeKey

PEERS = tuple(NodeKey(bytes([n]) * 32).id for n in (1, 2))
HOSTS = tuple(Endpoint(f"192.0.2.{n}", 7060) for n in (1, 2))
picks = st.integers(0, 10_000)


class Requests(RuleBasedStateMachine):
    """`sent` counts the transmissions of each request, `ended` how often each ended."""

    def __init__(self) -> None:
        super().__init__()
        self.table: PendingTable[int] = PendingTable()
        self.now = Monotonic(100.0)
        self.all: list[Pending[int]] = []
        self.may_send: list[int] = []
        self.sent: list[int] = []
        self.ended: list[int] = []
        self.latest: list[float] = []

    @property
    def waiting(self) -> list[Pending[int]]:
        return [pending for pending in self.all if not self.ended[pending.owner]]

    def transmit(self, pending: Pending[int]) -> None:
        self.table.sent(pending, now=self.now)
        n = pending.owner
        self.sent[n] += 1
        wait = pending.patience * (pending.sends_left + LAST_WAIT_FACTOR)
        self.latest[n] = max(self.latest[n], self.now + wait)

    @rule(
        patience=st.sampled_from([0.05, 0.4, 1.5]),
        sends=st.integers(1, 3),
        host=st.sampled_from(HOSTS),
        key=st.sampled_from([None, *PEERS]),
    )
    def ask(self, patience: float, sends: int, host: Endpoint, key: object) -> None:
        n = len(self.all)
        pending = Pending(n.to_bytes(8, "big"), host, Ping(0), n, patience, sends)
        pending.key = key  # type: ignore[assignment]
        self.all.append(pending)
        self.may_send.append(sends)
        self.sent.append(0)
        self.ended.append(0)
        self.latest.append(0.0)
        self.transmit(pending)

    @precondition(lambda self: self.waiting)
    @rule(pick=picks)
    def a_challenge_comes(self, pick: int) -> None:
        """It is sent once more, at once, with the cookie of the challenge."""
        pending = self.waiting[pick % len(self.waiting)]
        if not pending.was_challenged:
            pending.was_challenged = True
            pending.sends_left += 1
            self.may_send[pending.owner] += 1
            self.transmit(pending)

    @precondition(lambda self: self.all)
    @rule(pick=picks, host=st.sampled_from(HOSTS), peer=st.sampled_from(PEERS))
    def an_answer_comes(self, pick: int, host: Endpoint, peer: object) -> None:
        """Also from elsewhere, from somebody else, or to what has ended."""
        pending = self.all[pick % len(self.all)]
        is_its = host == pending.endpoint and pending.key in (None, peer)
        matched = self.table.match(pending.txid, host, peer)  # type: ignore[arg-type]
        if self.ended[pending.owner] or not is_its:
            assert matched is None
            return
        assert matched is pending
        assert self.table.finish(pending)
        self.ended[pending.owner] += 1

    @precondition(lambda self: self.all)
    @rule(pick=picks)
    def it_is_dropped(self, pick: int) -> None:
        pending = self.all[pick % len(self.all)]
        assert self.table.finish(pending) == (not self.ended[pending.owner])
        self.ended[pending.owner] = 1

    @rule(seconds=st.floats(0, 4, width=32))
    def time_passes(self, seconds: float) -> None:
        self.now = Monotonic(self.now + seconds)
        self.attend()

    @rule()
    def the_next_timer_is_kept(self) -> None:
        timer = self.table.next_timer()
        if timer is not None:
            self.now = max(self.now, timer)
            self.attend()

    def attend(self) -> None:
        for effect in self.table.handle_timer(now=self.now):
            n = effect.pending.owner
            assert not self.ended[n]
            if isinstance(effect, Repeat):
                self.sent[n] += 1
                wait = effect.pending.patience * (effect.pending.sends_left + LAST_WAIT_FACTOR)
                self.latest[n] = max(self.latest[n], self.now + wait)
            else:
                assert isinstance(effect, Silent)
                assert self.sent[n] == self.may_send[n], "given up before its last transmission"
                self.ended[n] += 1
        timer = self.table.next_timer()
        assert timer is None or timer > self.now

    @invariant()
    def each_ends_once_and_in_time(self) -> None:
        assert set(self.table) == set(self.waiting)
        assert len(self.table) == len(self.waiting)
        assert (self.table.next_timer() is None) == (not self.waiting)
        assert all(sent <= may for sent, may in zip(self.sent, self.may_send, strict=True))
        assert all(count <= 1 for count in self.ended)
        assert all(self.now <= self.latest[p.owner] for p in self.waiting if self.is_attended)

    @property
    def is_attended(self) -> bool:
        timer = self.table.next_timer()
        return timer is None or timer > self.now

    def teardown(self) -> None:
        """Left alone, all of them end."""
        for _ in range(5 * len(self.all)):
            self.the_next_timer_is_kept()
        assert self.ended == [1] * len(self.all)
        assert len(self.table) == 0


TestRequests = Requests.TestCase
TestRequests.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
