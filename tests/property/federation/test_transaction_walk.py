"""Both transaction cores, back to back, over links that die and come back.

Whatever happens on the way: every request ends exactly once, is executed at most once, and its
responses arrive each once and in order, without gaps.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from federation import client, server
from federation.client import ClientEffect, ClientTransactions
from federation.messages import Cancel, Frame, Request, Response, StreamError
from federation.model.clocks import Monotonic
from federation.ports import Failure
from federation.server import ServerEffect, ServerTransactions, StreamKey


class Draws:
    def token(self, size: int) -> bytes:
        return b"\x80" * size


class Walk(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = Monotonic(0.0)
        self.client = ClientTransactions(entropy=Draws())
        self.server = ServerTransactions()
        self.link = 0
        "Serial of the link; its frames are lost when it dies."
        self.is_up = False
        self.wants_dial = False
        self.next_stream = 0
        self.streams: dict[bytes, StreamKey] = {}
        self.txn_of: dict[StreamKey, bytes] = {}
        self.to_server: list[tuple[StreamKey, Frame]] = []
        self.to_client: list[tuple[StreamKey, Response | StreamError]] = []
        self.started: list[bytes] = []
        self.executed: list[bytes] = []
        self.ended: dict[bytes, int] = {}
        self.seen: dict[bytes, list[int]] = {}
        self.sent: dict[bytes, list[int]] = {}
        self.failures: dict[bytes, Failure] = {}

    # -- carrying out ---------------------------------------------------------------------

    def run_client(self, effects: list[ClientEffect]) -> None:
        for effect in effects:
            match effect:
                case client.Dial():
                    self.wants_dial = True
                case client.OpenStream(txn, frames):
                    assert self.is_up
                    self.next_stream += 4
                    key = StreamKey(self.link, self.next_stream)
                    self.streams[txn], self.txn_of[key] = key, txn
                    self.to_server += [(key, frame) for frame in frames]
                case client.SendOnStream(txn, frame):
                    self.to_server.append((self.streams[txn], frame))
                case client.EndStream(txn):
                    del self.txn_of[self.streams.pop(txn)]
                case client.AbandonStream(txn):
                    del self.txn_of[self.streams.pop(txn)]
                case client.Accepted():
                    pass
                case client.Answered(txn, response):
                    self.seen[txn].append(response.seq)
                    if response.is_final:
                        self.ended[txn] = self.ended.get(txn, 0) + 1
                case client.Failed(txn, reason):
                    self.ended[txn] = self.ended.get(txn, 0) + 1
                    self.failures[txn] = reason

    def run_server(self, effects: list[ServerEffect]) -> None:
        for effect in effects:
            match effect:
                case server.Deliver(request):
                    self.executed.append(request.txn)
                    self.run_server(self.server.taken(request.txn))
                case server.SendResponse(key, response, _):
                    self.send_to_client(key, response)
                case server.RefuseStream(key, error):
                    self.send_to_client(key, error)
                case server.DeliverCancel() | server.Dropped():
                    pass

    def send_to_client(self, key: StreamKey, what: Response | StreamError) -> None:
        if key.link == self.link and self.is_up:
            self.to_client.append((key, what))

    # -- what may happen ------------------------------------------------------------------

    @rule(method=st.sampled_from(["INVITE", "INVITE", "MESSAGE"]))
    def start(self, method: str) -> None:
        txn = len(self.started).to_bytes(16, "big")
        self.started.append(txn)
        self.seen[txn] = []
        request = Request(txn=txn, sip=f"{method} sip:b SIP/2.0".encode())
        self.run_client(self.client.start(request, now=self.now))

    @precondition(lambda self: self.to_server)
    @rule(number=st.integers(1, 3))
    def deliver_to_server(self, number: int) -> None:
        for key, frame in self.to_server[:number]:
            if isinstance(frame, Request):
                self.run_server(self.server.request(key, frame, now=self.now))
            elif isinstance(frame, Cancel):
                self.run_server(self.server.cancel(frame.txn, frame.reason, now=self.now))
        del self.to_server[:number]

    @precondition(lambda self: self.to_client)
    @rule(number=st.integers(1, 4))
    def deliver_to_client(self, number: int) -> None:
        pieces, self.to_client = self.to_client[:number], self.to_client[number:]
        for key, what in pieces:
            txn = self.txn_of.get(key)
            if txn is None:
                continue
            if isinstance(what, Response):
                self.run_client(self.client.received(what, now=self.now))
            else:
                self.run_client(self.client.stream_ended(txn, what, now=self.now))

    @precondition(lambda self: self.executed)
    @rule(which=st.integers(0, 5), status=st.sampled_from([180, 183, 200, 486]))
    def answer(self, which: int, status: int) -> None:
        txn = self.executed[-1 - which % len(self.executed)]
        sip = f"SIP/2.0 {status} X".encode()
        self.run_server(self.server.respond(txn, sip, now=self.now))

    @precondition(lambda self: self.started)
    @rule(which=st.integers(0, 5))
    def cancel(self, which: int) -> None:
        txn = self.started[-1 - which % len(self.started)]
        self.run_client(self.client.cancel(txn, now=self.now))

    def lose_link(self) -> None:
        old, self.is_up = self.link, False
        self.to_server.clear()
        self.to_client.clear()
        self.streams.clear()
        self.txn_of.clear()
        self.server.link_gone(old, now=self.now)

    @precondition(lambda self: self.is_up)
    @rule()
    def link_dies(self) -> None:
        self.lose_link()
        self.run_client(self.client.link_down(now=self.now))

    @rule(works=st.booleans())
    def dial(self, works: bool) -> None:
        if not self.wants_dial:
            return
        self.wants_dial = False
        if not works:
            self.run_client(self.client.dial_failed(now=self.now))
            return
        if self.is_up:
            self.lose_link()
        self.link += 1
        self.is_up = True
        self.run_client(self.client.link_up(now=self.now))

    @rule(seconds=st.sampled_from([0.1, 1.0, 2.0, 6.0, 31.0, 40.0]))
    def time_passes(self, seconds: float) -> None:
        until = Monotonic(self.now + seconds)
        for _ in range(10_000):
            timers = [self.client.next_timer(), self.server.next_timer()]
            at = min((timer for timer in timers if timer is not None), default=until)
            if at > until:
                break
            self.now = max(self.now, at)
            self.run_client(self.client.handle_timer(now=self.now))
            self.run_server(self.server.handle_timer(now=self.now))
            if at == until and timers == [self.client.next_timer(), self.server.next_timer()]:
                break
        else:
            raise AssertionError("timers that never come to rest")
        self.now = until

    # -- what must hold -------------------------------------------------------------------

    @invariant()
    def nothing_is_executed_twice(self) -> None:
        assert len(self.executed) == len(set(self.executed))

    @invariant()
    def nothing_ends_twice(self) -> None:
        assert all(count == 1 for count in self.ended.values())
        assert set(self.ended) == {txn for txn in self.started if self.client.state(txn) is None}

    @invariant()
    def responses_come_in_order_and_once(self) -> None:
        for seqs in self.seen.values():
            assert seqs == sorted(set(seqs))
            assert not seqs or seqs[0] <= 2
            assert seqs == list(range(seqs[0], seqs[0] + len(seqs))) if seqs else True

    def teardown(self) -> None:
        """With time alone, everything but a ringing call on a live link comes to its end."""
        for _ in range(3):
            self.time_passes(40.0)
            if self.wants_dial:
                self.dial(works=False)
        for txn in self.started:
            state = self.client.state(txn)
            assert state in (None, client.ClientState.ACCEPTED)
        self.run_client(self.client.shut_down())
        assert all(self.ended[txn] == 1 for txn in self.started)
        assert self.server.open_count <= len(self.executed)


Walk.TestCase.settings = settings(deadline=None, max_examples=60, stateful_step_count=40)
TestWalk = Walk.TestCase
