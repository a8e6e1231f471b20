"""What a worker does for TURN: lends a `TurnServer` its sockets and carries out its effects.

Relay ports are bound by the control plane, which counts them for all workers and keeps reserved
ones; the worker asks with `WantRelay`. A relay with a channel gets a second socket connected to
that peer: the kernel then skips the look-up of a route for each datagram sent, while datagrams of
other peers still come by the first.
"""

import contextlib
import ipaddress
import select
import socket
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Protocol

from federation.model.address import Endpoint, parse_ip
from federation.model.clocks import Monotonic, UnixTime
from media_relay.account_meter import TICK_SECONDS, AccountMeter
from media_relay.budget import REPORT_SECONDS as GUEST_SECONDS
from media_relay.control_turn import (
    TLS,
    UDP,
    AttachTurn,
    ConfigureTurn,
    EndGuests,
    GuestTraffic,
    LendGuests,
    LimitAccount,
    PutAccounts,
    RelayClosed,
    RelayOpened,
    RelayRefused,
    RemoveAccounts,
    TurnNotice,
    TurnUsage,
    WantRelay,
)
from media_relay.counters import Outlet
from media_relay.ports import Marks
from media_relay.stun.attributes import Code, Family
from media_relay.turn.authentication import Authenticator
from media_relay.turn.config import TurnConfig
from media_relay.turn.credentials import Account, Credentials
from media_relay.turn.discovery import Discovery
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
from media_relay.turn.framing import MAX_TURN_BYTES
from media_relay.turn.guests import is_guest
from media_relay.turn.nonce import Nonces
from media_relay.turn.peers import PeerPolicy, read_network
from media_relay.turn.quotas import QuotaLimits
from media_relay.turn.server import TurnServer
from media_relay.turn_accept import Streams
from media_relay.turn_meter import Meter
from media_relay.turn_routes import ChannelRoute, ClientPort, Drain, RelayPort, sockaddr
from media_relay.turn_sockets import (
    RelaySocket,
    connected_twin,
    prepare_relay,
    read_icmp,
    send_unbroken,
)
from media_relay.turn_usage import Usage

REPORT_SECONDS = 1.0


class Host(Protocol):
    """What the worker's loop does for this part of it."""

    def drain(self, sock: socket.socket, drain: Drain) -> None:
        """Call `drain` whenever something waits in a socket."""

    def watch(self, sock: socket.socket, ready: Callable[[int, float], None], mask: int) -> None:
        """Call `ready` with epoll's mask when there is something; again to change `mask`."""

    def forget(self, sock: socket.socket) -> None:
        """Neither, from now on."""

    def notify(self, notice: TurnNotice) -> bool:
        """Tell the control plane; whether it could be."""


class TurnShell:
    """TURN in one worker; made by its first `ConfigureTurn`."""

    def __init__(self, host: Host, order: ConfigureTurn, in_media: Marks) -> None:
        self._host = host
        self._in_media = in_media
        self._credentials = Credentials(order.realm, order.rest_secret)
        authenticator = Authenticator(self._credentials, Nonces(order.nonce_key))
        self._server = TurnServer(TurnConfig(), authenticator=authenticator, policy=PeerPolicy())
        self._ports: dict[int, ClientPort] = {}
        self._relays: dict[int, RelaySocket] = {}
        self._streams = Streams(host, self._from_client, self._client_gone)
        self._wanted: dict[int, OpenRelay] = {}
        self._unix_offset = 0.0
        self._usage = Usage()
        self._meter = Meter(self._guests_wake)
        self._accounts = AccountMeter(self._accounts_wake)
        self._tick_at: float | None = None
        "When accounts' rates are accrued next."
        self._guest_ports = 0
        self._guests_at: float | None = None
        "When guests' traffic is reported next."
        self._report_at: float | None = None
        self._listening: list[socket.socket] = []
        self.ignored = 0
        self.configure(order)

    def close(self) -> None:
        """Close every socket."""
        self._streams.close()
        for relay in self._relays.values():
            for sock in relay.sockets:
                sock.close()
        for sock in self._listening:
            sock.close()

    # Orders

    def configure(self, order: ConfigureTurn) -> None:
        """Take over a configuration.

        Raises:
            AddressError: something that should be an address or a network is not.
        """
        self._credentials.rest_secret = order.rest_secret
        self._unix_offset = order.unix_offset
        self._server.policy = PeerPolicy(
            allow=[read_network(text) for text in order.allow],
            own=[ipaddress.ip_address(str(parse_ip(text))) for text in order.own],
            is_media_port=lambda port: bool(self._in_media[port]),
        )
        self._server.configure(
            TurnConfig(
                families=frozenset(Family(number) for number in order.families),
                external={Family(number): host for number, host in order.external},
                discovery=Discovery(
                    {listener: Endpoint(host, port) for listener, host, port in order.discovery}
                ),
                limits=QuotaLimits(order.account_quota, order.source_quota, order.total_quota),
                software=order.software,
            )
        )
        self._streams.use_certificate(order.certificate, order.private_key)

    def attach(self, order: AttachTurn, sock: socket.socket) -> None:
        """Serve clients on a socket."""
        self._listening.append(sock)
        if order.transport == UDP:
            port = ClientPort(order.listener, sock.sendto, self._from_client)
            self._ports[order.listener] = port
            self._host.drain(sock, port.drain(sock))
        else:
            self._streams.listen(order.listener, sock, is_tls=order.transport == TLS)

    def put_accounts(self, order: PutAccounts) -> None:
        """Add or change accounts."""
        for login, md5, sha256 in order.accounts:
            self._credentials.put(Account(login, md5, sha256))

    def remove_accounts(self, order: RemoveAccounts, now: float) -> None:
        """Forget accounts; what guests have ends with them."""
        for login in order.logins:
            self._credentials.remove(login)
            if is_guest(login):
                self.carry_out(self._server.end_login(login), now)

    def relay_opened(self, order: RelayOpened, sock: socket.socket, now: float) -> None:
        """A port that was asked for is here."""
        wanted = self._wanted.pop(order.relay, None)
        if wanted is None:
            self.ignored += 1
            sock.close()
            return
        prepare_relay(sock)
        relay = RelayPort(
            order.relay,
            wanted.login,
            wanted.client,
            outlet=self._paid(wanted.login, sock.sendto),
            to_client=self._paid(wanted.login, self._outlet(wanted.client)),
            from_peer=self._from_peer,
        )
        self._relays[order.relay] = RelaySocket(relay, sock)
        if self._report_at is None:
            self._report_at = now + REPORT_SECONDS
        self._usage.add(relay)
        if is_guest(wanted.login):
            self._guest_ports += 1
            self._guests_at = self._guests_at or now + GUEST_SECONDS
        self._host.drain(sock, relay.drain(sock))
        self._host.watch(sock, self._complaints(order.relay, sock), select.EPOLLIN)
        local = Endpoint.of(sock.getsockname())
        self.carry_out(
            self._server.relay_opened(order.relay, local, order.token, now=Monotonic(now)), now
        )

    def relay_lost(self, order: RelayOpened, now: float) -> None:
        """A port's socket did not get here: this process has no descriptor left."""
        self._host.notify(RelayClosed(order.relay))
        self.relay_refused(RelayRefused(order.relay, Code.INSUFFICIENT_CAPACITY), now)

    def relay_refused(self, order: RelayRefused, now: float) -> None:
        """A port that was asked for cannot be had."""
        if self._wanted.pop(order.relay, None) is None:
            self.ignored += 1
            return
        try:
            code = Code(order.code)
        except ValueError:
            code = Code.INSUFFICIENT_CAPACITY
        self.carry_out(self._server.relay_refused(order.relay, code, now=Monotonic(now)), now)

    def lend_guests(self, order: LendGuests) -> None:
        """Guests may have so much more relayed."""
        self._meter.lend(order.credit, order.kept)

    def limit_account(self, order: LimitAccount, now: float) -> None:
        """An account may have so much relayed here."""
        if order.rate:
            self._accounts.limit(order.login, order.rate, now)
        else:
            self._usage.dropped(order.login, self._accounts.forget(order.login))

    def end_guests(self, order: EndGuests, now: float) -> None:
        """Guests have to go, or may stay after all."""
        self.carry_out(self._server.end_guests(order.seconds, now=Monotonic(now)), now)

    # Time

    def next_timer(self) -> float | None:
        """When `handle_timer` is next needed."""
        due: float | None = self._server.next_timer()
        for when in (self._streams.due, self._report_at, self._guests_at, self._tick_at):
            if due is None or (when is not None and when < due):
                due = when
        return due

    def handle_timer(self, now: float) -> None:
        """Let what expired end."""
        due = self._server.next_timer()
        if due is not None and due <= now:
            self.carry_out(self._server.handle_timer(now=Monotonic(now)), now)
        self._streams.look(now)
        if self._guests_at is not None and self._guests_at <= now:
            self._report_guests(now)
        if self._tick_at is not None and self._tick_at <= now:
            self._tick_at = now + TICK_SECONDS if self._accounts.tick(now) else None
        if self._report_at is not None and self._report_at <= now:
            self._report(now)

    # Events

    def _from_client(self, data: bytes, client: Client, now: float) -> None:
        unix = UnixTime(now + self._unix_offset)
        effects = self._server.receive(data, client, now=Monotonic(now), unix=unix)
        if effects:
            self.carry_out(effects, now)
        if self._report_at is None and self._server.refused:
            self._report_at = now + REPORT_SECONDS

    def _from_peer(self, relay: int, data: bytes, source: Any, now: float) -> None:
        if len(data) <= MAX_TURN_BYTES:
            peer = Endpoint(source[0], source[1])
            self.carry_out(
                self._server.receive_from_peer(relay, data, peer, now=Monotonic(now)), now
            )

    def _client_gone(self, client: Client, now: float) -> None:
        self.carry_out(self._server.client_gone(client), now)

    def _complaints(self, relay: int, sock: socket.socket) -> Callable[[int, float], None]:
        """What reads the ICMP errors of a relay's socket."""

        def ready(_: int, now: float) -> None:
            for peer, kind, code, info in read_icmp(sock):
                effects = self._server.receive_icmp(
                    relay, peer, kind, code, info, now=Monotonic(now)
                )
                self.carry_out(effects, now)

        return ready

    # Effects

    def carry_out(self, effects: Iterable[Effect], now: float) -> None:
        """Do what the core decided, in order."""
        for effect in effects:
            match effect:
                case Reply(data, client):
                    self._reply(data, client)
                case DataToClient(data, client, relay, size):
                    with contextlib.suppress(OSError):
                        port = self._relays[relay].port
                        port.to_client(data, client.address)
                        port.packets_to_client += 1
                        port.bytes_to_client += size
                case SendToPeer():
                    self._send(effect)
                case OpenRelay():
                    self._open(effect, now)
                case CloseRelay(relay):
                    self._close(relay)
                case InstallRoute():
                    self._install(effect)
                case RemoveRoute():
                    self._remove(effect)

    def _reply(self, data: bytes, client: Client) -> None:
        if client.connection:
            self._streams.reply(data, client)
        else:
            with contextlib.suppress(OSError):
                self._ports[client.listener].outlet(data, client.address)

    def _outlet(self, client: Client) -> Any:
        """What sends data to a client."""
        if client.connection:
            return self._streams.outlet(client)
        return self._ports[client.listener].outlet

    def _send(self, effect: SendToPeer) -> None:
        relay = self._relays[effect.relay]
        peer = sockaddr(effect.peer)
        with contextlib.suppress(OSError):
            if effect.dont_fragment:
                unbroken = partial(send_unbroken, relay.sock)
                self._paid(relay.port.login, unbroken)(effect.data, peer)
            else:
                relay.port.outlet(effect.data, peer)
            relay.port.packets_to_peer += 1
            relay.port.bytes_to_peer += len(effect.data)

    def _open(self, effect: OpenRelay, now: float) -> None:
        self._wanted[effect.relay] = effect
        client = effect.client
        if not self._host.notify(
            WantRelay(
                effect.relay,
                client.listener,
                effect.family,
                effect.even,
                effect.reserve,
                effect.token,
                effect.login,
                client.host,
            )
        ):
            self.relay_refused(RelayRefused(effect.relay, Code.INSUFFICIENT_CAPACITY), now)
        elif client.connection:
            self._streams.keep(client, has_allocation=True)

    def _close(self, relay_id: int) -> None:
        relay = self._relays.pop(relay_id)
        self._usage.remove(relay.port)
        self._guest_ports -= is_guest(relay.port.login)
        for sock in relay.sockets:
            self._host.forget(sock)
            sock.close()
        self._host.notify(RelayClosed(relay_id))
        if relay.port.client.connection:
            self._streams.keep(relay.port.client, has_allocation=False)

    def _install(self, effect: InstallRoute) -> None:
        relay = self._relays[effect.relay]
        route = ChannelRoute(relay.port, effect.channel, effect.peer)
        relay.port.routes[route.peer] = route
        if effect.client.connection:
            self._streams.routes(effect.client)[route.channel] = route
        else:
            routes = self._ports[effect.client.listener].routes
            routes[effect.client.address, route.channel] = route
        if relay.twin is None:
            self._connect(relay, route)

    def _connect(self, relay: RelaySocket, route: ChannelRoute) -> None:
        """Give a relay's first channel a connected socket; without one it works as well."""
        try:
            twin = connected_twin(relay.sock, route.peer)
        except OSError:
            return
        relay.twin, relay.twin_route = twin, route
        route.outlet, route.target = self._paid(relay.port.login, twin.send), 0
        self._host.drain(twin, relay.port.drain_twin(twin, route.channel))
        self._host.watch(twin, self._complaints(relay.port.id, twin), select.EPOLLIN)

    def _remove(self, effect: RemoveRoute) -> None:
        relay = self._relays[effect.relay]
        route = relay.port.routes.pop(sockaddr(effect.peer))
        if effect.client.connection:
            self._streams.routes(effect.client).pop(route.channel, None)
        else:
            del self._ports[effect.client.listener].routes[effect.client.address, route.channel]
        if relay.twin is not None and relay.twin_route is route:
            self._host.forget(relay.twin)
            relay.twin.close()
            relay.twin = relay.twin_route = None

    def _report_guests(self, now: float) -> None:
        """Tell what guests had relayed; lost reports are made up for by the next."""
        counts = self._meter.take()
        told = counts is None or self._host.notify(GuestTraffic(*counts))
        if counts is not None and not told:
            self._meter.untold(counts)
        busy = self._guest_ports or counts is not None
        self._guests_at = now + GUEST_SECONDS if busy else None

    def _paid(self, login: str, outlet: Outlet) -> Outlet:
        """What sends datagrams for a login, within what it may have relayed."""
        return self._accounts.paid(login, self._meter.paid(login, outlet))

    def _accounts_wake(self) -> None:
        """An account that has a rate begins to send: look after it from now on."""
        self._tick_at = self._tick_at or 0.0

    def _guests_wake(self) -> None:
        """Guests' traffic begins again: ask for credit at the next look at the clock."""
        self._guests_at = 0.0

    def _report(self, now: float) -> None:
        """Tell what was relayed; at rest nothing is told, and nothing wakes the worker."""
        for login, size in self._accounts.take_dropped().items():
            self._usage.dropped(login, size)
        for part in self._usage.take() or [()]:
            refused = tuple(self._server.refused.items())
            usage = TurnUsage(len(self._server), len(self._streams), part, refused)
            if self._host.notify(usage):
                self._server.refused.clear()
        self._report_at = now + REPORT_SECONDS if self._relays else None
