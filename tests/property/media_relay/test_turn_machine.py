"""A TURN server under any sequence of requests, ports and time, beside a simple model of it."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from federation.model.address import Endpoint
from federation.model.clocks import Monotonic
from media_relay.stun.attributes import Attribute, Method
from media_relay.turn.config import TurnConfig
from media_relay.turn.effects import DataToClient, SendToPeer
from media_relay.turn.quotas import QuotaLimits
from tests.support.turn_core import UDP, Shell, TurnClient, code_of

LIMITS = QuotaLimits(account=4, source=5, total=6)
PERMISSION, CHANNEL = 300, 600
clients = st.integers(0, 5)
peers = st.sampled_from(
    [Endpoint(host, port) for host in ("192.0.2.7", "192.0.2.8", "2001:db8::7") for port in (1, 2)]
)
channels = st.sampled_from([0x4000, 0x4001, 0x4FFF])
families = st.sampled_from(
    [
        (),
        ((int(Attribute.REQUESTED_ADDRESS_FAMILY), bytes((2, 0, 0, 0))),),
        ((int(Attribute.ADDITIONAL_ADDRESS_FAMILY), bytes((2, 0, 0, 0))),),
    ]
)


class TurnMachine(RuleBasedStateMachine):
    """The model keeps when each permission was last granted; the shell counts ports and routes."""

    def __init__(self) -> None:
        super().__init__()
        self.shell = Shell(TurnConfig(limits=LIMITS))
        self.clients = [
            TurnClient(
                self.shell,
                "alice" if number % 2 else "bob",
                port=4000 + number,
                host="203.0.113.5" if number < 4 else "203.0.113.6",
                connection=number if number > 3 else 0,
            )
            for number in range(6)
        ]
        self.granted: dict[tuple[int, str], float] = {}

    def may(self, number: int, host: str) -> bool:
        since = self.granted.get((number, host))
        return since is not None and self.shell.now < since + PERMISSION

    @rule(number=clients, more=families)
    def allocate(self, number: int, more: tuple[tuple[int, bytes], ...]) -> None:
        client = self.clients[number]
        client.nonce = b""
        client.ask(Method.ALLOCATE, [(Attribute.REQUESTED_TRANSPORT, UDP), *more])

    @rule()
    def port_opened(self) -> None:
        if self.shell.pending:
            self.shell.open_next()

    @rule()
    def port_refused(self) -> None:
        if self.shell.pending:
            self.shell.refuse_next()

    @rule(number=clients, lifetime=st.sampled_from([0, 600, 1800]))
    def refresh(self, number: int, lifetime: int) -> None:
        client = self.clients[number]
        client.nonce = b""
        if code_of(client.refresh(lifetime)) == 0 and not lifetime:
            self.forget(number)

    @rule(number=clients, peer=peers)
    def permit(self, number: int, peer: Endpoint) -> None:
        self.clients[number].nonce = b""
        if code_of(self.clients[number].permit(peer)) == 0:
            self.granted[number, peer.host] = self.shell.now

    @rule(number=clients, peer=peers, channel=channels)
    def bind(self, number: int, peer: Endpoint, channel: int) -> None:
        self.clients[number].nonce = b""
        if code_of(self.clients[number].bind(channel, peer)) == 0:
            self.granted[number, peer.host] = self.shell.now

    @rule(number=clients, peer=peers)
    def send(self, number: int, peer: Endpoint) -> None:
        effects = self.clients[number].send(b"data", peer)
        if any(isinstance(effect, SendToPeer) for effect in effects):
            assert self.may(number, peer.host)

    @rule(number=clients, channel=channels)
    def channel_data(self, number: int, channel: int) -> None:
        for effect in self.clients[number].channel_data(channel, b"data"):
            assert isinstance(effect, SendToPeer)
            assert self.may(number, effect.peer.host)

    @rule(peer=peers)
    def from_peer(self, peer: Endpoint) -> None:
        shell = self.shell
        for relay, wanted in shell.open.items():
            number = wanted.client.address[1] - 4000
            for effect in shell.server.receive_from_peer(
                relay, b"data", peer, now=Monotonic(shell.now)
            ):
                assert isinstance(effect, DataToClient)
                assert effect.client == wanted.client
                assert self.may(number, peer.host)

    @rule(number=st.integers(4, 5))
    def stream_closes(self, number: int) -> None:
        self.shell.carry_out(self.shell.server.client_gone(self.clients[number].client))
        self.forget(number)

    @rule(seconds=st.sampled_from([1, 50, 299, 301, 601]))
    def time_passes(self, seconds: float) -> None:
        self.shell.pass_time(seconds)

    def forget(self, number: int) -> None:
        for client, host in list(self.granted):
            if client == number:
                del self.granted[client, host]

    @invariant()
    def quotas_hold(self) -> None:
        held = [*self.shell.open.values(), *self.shell.pending]
        assert len(held) == self.shell.server.quotas.total <= LIMITS.total
        for login in ("alice", "bob"):
            count = sum(one.login == login for one in held)
            assert count == self.shell.server.quotas.of_account(login) <= LIMITS.account
        assert sum(one.client.host == "203.0.113.5" for one in held) <= LIMITS.source

    @invariant()
    def routes_stand_on_permissions(self) -> None:
        for relay, client, _, peer in self.shell.routes:
            assert self.shell.open[relay].client == client
            assert self.may(client.address[1] - 4000, peer.host)

    @invariant()
    def no_port_is_closed_twice(self) -> None:
        assert len(self.shell.closed) == len(set(self.shell.closed))

    def teardown(self) -> None:
        """Left alone, everything ends, each port once."""
        while self.shell.pending:
            self.shell.open_next()
        self.shell.pass_time(4000)
        assert self.shell.open == {}
        assert self.shell.routes == set()
        assert len(self.shell.server) == self.shell.server.quotas.total == 0
        assert self.shell.server.next_timer() is None


TurnMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestTurnMachine = TurnMachine.TestCase
