"""Cookies over turns of their epoch, however long nobody asks in between."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, rule

from dht.cookie import COOKIE_EPOCH_S, CookieJar
from dht.frame import COOKIE_BYTES, NO_COOKIE
from federation.model.address import Endpoint
from federation.model.clocks import Monotonic
from federation.model.identity import NodeId, NodeKey
from tests.support.dht_network import SeededEntropy

sources = st.sampled_from(
    [Endpoint(host, port) for host in ("192.0.2.1", "192.0.2.2", "2001:db8::1") for port in (1, 2)]
)
peers = st.sampled_from([NodeKey(bytes([n]) * 32).id for n in (1, 2, 3)])


class Jar(RuleBasedStateMachine):
    """Good in the epoch it was made in and the next; for one address and one key."""

    made = Bundle("made")

    def __init__(self) -> None:
        super().__init__()
        self.jar = CookieJar(entropy=SeededEntropy(1))
        self.now = Monotonic(0.0)
        self.of: dict[bytes, tuple[Endpoint, NodeId, int]] = {}

    @property
    def epoch(self) -> int:
        return int(self.now // COOKIE_EPOCH_S)

    @rule(seconds=st.floats(0, 3 * COOKIE_EPOCH_S, width=32))
    def time_passes(self, seconds: float) -> None:
        self.now = Monotonic(self.now + seconds)

    @rule(turns=st.integers(1, 3))
    def the_epoch_turns(self, turns: int) -> None:
        """To the very beginning of a later one."""
        self.now = Monotonic((self.epoch + turns) * COOKIE_EPOCH_S)

    @rule(target=made, source=sources, peer=peers)
    def make(self, source: Endpoint, peer: NodeId) -> bytes:
        cookie = self.jar.cookie(source, peer, now=self.now)
        assert len(cookie) == COOKIE_BYTES
        assert cookie != NO_COOKIE
        meant_for = (source, peer, self.epoch)
        assert self.of.setdefault(cookie, meant_for) == meant_for, "two uses share a cookie"
        return cookie

    @rule(cookie=made, source=sources, peer=peers)
    def offer(self, cookie: bytes, source: Endpoint, peer: NodeId) -> None:
        meant_for, key, epoch = self.of[cookie]
        expected = (meant_for, key) == (source, peer) and self.epoch - epoch <= 1
        assert self.jar.accepts(cookie, source, peer, now=self.now) == expected

    @rule(cookie=made)
    def come_back(self, cookie: bytes) -> None:
        source, peer, epoch = self.of[cookie]
        assert self.jar.accepts(cookie, source, peer, now=self.now) == (self.epoch - epoch <= 1)

    @rule(cookie=made, at=st.integers(0, COOKIE_BYTES - 1), bit=st.integers(0, 7))
    def forge(self, cookie: bytes, at: int, bit: int) -> None:
        forged = bytearray(cookie)
        forged[at] ^= 1 << bit
        source, peer, _ = self.of[cookie]
        assert not self.jar.accepts(bytes(forged), source, peer, now=self.now)
        assert not self.jar.accepts(NO_COOKIE, source, peer, now=self.now)


TestJar = Jar.TestCase
TestJar.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
