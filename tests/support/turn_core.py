"""A TURN client in memory, that talks to a `TurnServer` and plays the shell that opens ports."""

import hashlib
import itertools
from collections.abc import Iterable

from federation.model.address import Endpoint
from federation.model.clocks import Monotonic, UnixTime
from media_relay.stun.attributes import Attribute, Code, Family, MessageClass, Method
from media_relay.stun.message import Key, Message
from media_relay.stun.values import read_error_code, u32, xor_address
from media_relay.turn.authentication import Authenticator
from media_relay.turn.config import TurnConfig
from media_relay.turn.credentials import Credentials, account_of
from media_relay.turn.effects import (
    Client,
    CloseRelay,
    DataToClient,
    Effect,
    InstallRoute,
    OpenRelay,
    RemoveRoute,
    Reply,
    SendToPeer,
)
from media_relay.turn.nonce import Nonces
from media_relay.turn.peers import PeerPolicy
from media_relay.turn.server import TurnServer

REALM = "ringmesh"
UDP = bytes((17, 0, 0, 0))
PEER = Endpoint("192.0.2.7", 5000)
PEER6 = Endpoint("2001:db8::7", 5000)
UNIX = 1_800_000_000.0
RELAY_HOST = {Family.IPV4: "198.51.100.1", Family.IPV6: "2001:db8:1::1"}

Attributes = Iterable[tuple[int, bytes]]


class Shell:
    """Carries out effects on paper: which ports are open, which routes stand, what was sent."""

    def __init__(
        self,
        config: TurnConfig | None = None,
        policy: PeerPolicy | None = None,
        *,
        rest_secret: bytes | None = None,
    ) -> None:
        credentials = Credentials(REALM, rest_secret)
        for login in ("alice", "bob"):
            credentials.put(account_of(login, REALM, f"{login}'s password"))
        self.credentials = credentials
        self.server = TurnServer(
            config or TurnConfig(),
            authenticator=Authenticator(credentials, Nonces(bytes(32))),
            policy=policy or PeerPolicy(),
        )
        self.now = 1000.0
        self.pending: list[OpenRelay] = []
        self.open: dict[int, OpenRelay] = {}
        self.closed: list[int] = []
        self.routes: set[tuple[int, Client, int, Endpoint]] = set()
        self.sent: list[SendToPeer] = []
        self.told: list[DataToClient] = []
        self.replies: list[Reply] = []
        self._ports = itertools.count(10000, 2)

    def take(self, data: bytes, client: Client) -> list[Effect]:
        """Pass bytes of a client to the server, and carry out what follows."""
        unix = UnixTime(UNIX + self.now)
        effects = self.server.receive(data, client, now=Monotonic(self.now), unix=unix)
        self.carry_out(effects)
        return effects

    def carry_out(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Reply():
                    self.replies.append(effect)
                case DataToClient():
                    self.told.append(effect)
                case SendToPeer():
                    assert effect.relay in self.open
                    self.sent.append(effect)
                case OpenRelay():
                    self.pending.append(effect)
                case CloseRelay(relay):
                    assert not any(route[0] == relay for route in self.routes)
                    del self.open[relay]
                    self.closed.append(relay)
                case InstallRoute(relay, client, channel, peer):
                    route = relay, client, channel, peer
                    assert relay in self.open
                    assert route not in self.routes
                    self.routes.add(route)
                case RemoveRoute(relay, client, channel, peer):
                    self.routes.remove((relay, client, channel, peer))

    def open_next(self, token: bytes | None = None) -> None:
        """Bind the port that was asked for first."""
        wanted = self.pending.pop(0)
        self.open[wanted.relay] = wanted
        local = Endpoint(RELAY_HOST[wanted.family], next(self._ports))
        self.carry_out(
            self.server.relay_opened(wanted.relay, local, token, now=Monotonic(self.now))
        )

    def refuse_next(self, code: Code = Code.INSUFFICIENT_CAPACITY) -> None:
        wanted = self.pending.pop(0)
        self.carry_out(self.server.relay_refused(wanted.relay, code, now=Monotonic(self.now)))

    def pass_time(self, seconds: float) -> None:
        """Fire every timer up to then, each at its instant."""
        end = self.now + seconds
        while (due := self.server.next_timer()) is not None and due <= end:
            self.now = max(self.now, due)
            self.carry_out(self.server.handle_timer(now=Monotonic(self.now)))
        self.now = end


class TurnClient:
    """One client: keeps the nonce it was told, signs what it asks."""

    def __init__(
        self,
        shell: Shell,
        login: str = "alice",
        *,
        port: int = 4000,
        host: str = "203.0.113.5",
        connection: int = 0,
        sha256: bool = True,
    ) -> None:
        address = (host, port, 0, 0) if ":" in host else (host, port)
        self.client = Client(0, address, connection)
        self.shell = shell
        self.login = login
        self.sha256 = sha256
        self.password: str | None = None
        "Other than the one that accounts of `Shell` have."
        self.nonce = b""
        self.algorithms: bytes | None = None
        self._serial = itertools.count(port << 32)

    @property
    def key(self) -> Key:
        password = self.password or f"{self.login}'s password"
        text = f"{self.login}:{REALM}:{password}".encode()
        if self.sha256:
            return Key(hashlib.sha256(text).digest(), is_sha256=True)
        return Key(hashlib.md5(text).digest(), is_sha256=False)

    def message(
        self, method: Method, attributes: Attributes = (), *, transaction: int | None = None
    ) -> Message:
        serial = next(self._serial) if transaction is None else transaction
        return Message(method, MessageClass.REQUEST, serial.to_bytes(12, "big"), tuple(attributes))

    def signed(self, message: Message) -> bytes:
        more: list[tuple[int, bytes]] = [
            (Attribute.USERNAME, self.login.encode()),
            (Attribute.REALM, REALM.encode()),
            (Attribute.NONCE, self.nonce),
        ]
        if self.sha256 and self.algorithms is not None:
            more.append((Attribute.PASSWORD_ALGORITHMS, self.algorithms))
            more.append((Attribute.PASSWORD_ALGORITHM, b"\0\2\0\0"))
        attributes = (*message.attributes, *more)
        whole = Message(message.method, message.kind, message.transaction_id, attributes)
        return whole.encode(self.key)

    def ask(
        self, method: Method, attributes: Attributes = (), *, transaction: int | None = None
    ) -> Message | None:
        """Send a signed request, after a challenge if there is no nonce yet; the response."""
        if not self.nonce:
            self.challenged()
        message = self.message(method, attributes, transaction=transaction)
        before = len(self.shell.replies)
        self.shell.take(self.signed(message), self.client)
        replies = self.shell.replies[before:]
        return Message.decode(replies[-1].data) if replies else None

    def challenged(self) -> Message:
        """Ask without credentials and learn the nonce."""
        request = self.message(Method.ALLOCATE, [(Attribute.REQUESTED_TRANSPORT, UDP)])
        self.shell.take(request.encode(), self.client)
        response = Message.decode(self.shell.replies[-1].data)
        nonce = response.get(Attribute.NONCE)
        assert nonce is not None
        self.nonce, self.algorithms = nonce, response.get(Attribute.PASSWORD_ALGORITHMS)
        return response

    def allocate(self, *attributes: tuple[int, bytes], opened: int = 1) -> Message:
        """Allocate, with the ports opened; the response."""
        self.ask(Method.ALLOCATE, [(Attribute.REQUESTED_TRANSPORT, UDP), *attributes])
        for _ in range(opened):
            self.shell.open_next()
        return Message.decode(self.shell.replies[-1].data)

    def ask_to_allocate(self, *attributes: tuple[int, bytes]) -> Message | None:
        """Allocate, and leave the ports unopened; the response, if one came at once."""
        return self.ask(Method.ALLOCATE, [(Attribute.REQUESTED_TRANSPORT, UDP), *attributes])

    def refresh(self, lifetime: int, *attributes: tuple[int, bytes]) -> Message:
        return self._answered(Method.REFRESH, (Attribute.LIFETIME, u32(lifetime)), *attributes)

    def permit(self, *peers: Endpoint) -> Message:
        message = self.message(Method.CREATE_PERMISSION)
        return self._with_peers(message, peers)

    def bind(self, channel: int, peer: Endpoint = PEER) -> Message:
        number = channel.to_bytes(2, "big") + b"\0\0"
        message = self.message(Method.CHANNEL_BIND, [(Attribute.CHANNEL_NUMBER, number)])
        return self._with_peers(message, (peer,))

    def send(self, data: bytes, peer: Endpoint = PEER, *more: tuple[int, bytes]) -> list[Effect]:
        """A Send indication."""
        message = self.message(Method.SEND)
        attributes = [
            (int(Attribute.XOR_PEER_ADDRESS), xor_address(peer, message.transaction_id)),
            (int(Attribute.DATA), data),
            *more,
        ]
        indication = Message(
            Method.SEND, MessageClass.INDICATION, message.transaction_id, tuple(attributes)
        )
        return self.shell.take(indication.encode(), self.client)

    def channel_data(self, channel: int, data: bytes) -> list[Effect]:
        head = channel.to_bytes(2, "big") + len(data).to_bytes(2, "big")
        return self.shell.take(head + data, self.client)

    def _with_peers(self, message: Message, peers: Iterable[Endpoint]) -> Message:
        values = [
            (int(Attribute.XOR_PEER_ADDRESS), xor_address(peer, message.transaction_id))
            for peer in peers
        ]
        transaction = int.from_bytes(message.transaction_id, "big")
        attributes = [*message.attributes, *values]
        response = self.ask(Method(message.method), attributes, transaction=transaction)
        assert response is not None
        return response

    def _answered(self, method: Method, *attributes: tuple[int, bytes]) -> Message:
        response = self.ask(method, attributes)
        assert response is not None
        return response


def code_of(response: Message | None) -> int:
    """The error code of a response, 0 for success."""
    assert response is not None
    if response.kind is MessageClass.SUCCESS:
        return 0
    value = response.get(Attribute.ERROR_CODE)
    assert value is not None
    return read_error_code(value)
