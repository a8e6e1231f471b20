"""TURN on the control plane's side: listening sockets, accounts, and relay ports for all workers.

A worker that is replaced is given the same listening sockets, so no client's packets go elsewhere
meanwhile; its allocations are gone, and their ports free. Each worker has a UDP socket of its own
on every address, among which the kernel divides clients; a TCP listening socket is watched by all.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Protocol

import structlog

from federation.model.address import Endpoint, parse_ip
from federation.model.clocks import Clock, Entropy
from federation.model.errors import UsageError
from media_relay.account_shares import AccountShares, Orders
from media_relay.control import Order
from media_relay.control_turn import (
    MAX_ACCOUNTS_A_MESSAGE,
    UDP,
    AttachTurn,
    ConfigureTurn,
    EndGuests,
    GuestTraffic,
    LendGuests,
    PutAccounts,
    RelayClosed,
    RelayOpened,
    RelayRefused,
    RemoveAccounts,
    TurnNotice,
    TurnUsage,
    WantRelay,
)
from media_relay.errors import NoCapacity
from media_relay.guest_desk import GuestDesk, GuestLimits, GuestReport
from media_relay.ports import PortPool
from media_relay.stun.attributes import Code, Family
from media_relay.turn.guests import is_guest
from media_relay.turn.quotas import Quotas
from media_relay.turn_config import AccountRelayed, TurnAccount, TurnReport, TurnSettings
from media_relay.turn_listen import Listener, bind_listeners
from media_relay.turn_ports import HeldPort, RelayPorts

NONCE_KEY_BYTES = 32
BYTES_A_KBIT = 125
PLACES = 4
"Of behaviour discovery: two addresses with two ports each."
REMEMBERED_GUESTS = 1024
"Guests that were removed and whose counters can still be asked for."

log = structlog.get_logger("relay")


class TurnWorker(Protocol):
    """A worker, as the desk sees it."""

    index: int

    def post(self, order: Order, sockets: Sequence[socket.socket] = ()) -> None:
        """Queue an order, and sockets that go with it."""


class TurnDesk:
    """Serves all workers of a pool; nothing here waits."""

    def __init__(self, pool: PortPool, *, clock: Clock, entropy: Entropy) -> None:
        self._clock = clock
        self._nonce_key = entropy.token(NONCE_KEY_BYTES)
        self._settings: TurnSettings | None = None
        self._listeners: list[Listener] = []
        self._accounts: dict[str, TurnAccount] = {}
        self._relayed: dict[str, AccountRelayed] = {}
        self._refused: Counter[int] = Counter()
        self._counts: dict[int, tuple[int, int]] = {}
        "Allocations and connections by worker."
        self._held: dict[tuple[int, int], HeldPort] = {}
        "By worker and relay."
        self._pool = pool
        self._entropy = entropy
        self._ports: RelayPorts | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._guests = GuestDesk()
        self._shares = AccountShares()
        self._workers: dict[int, TurnWorker] = {}
        self._gone_guests: dict[str, None] = {}
        "In the order in which they were removed."

    # Orders of the node

    def listen(self, settings: TurnSettings, workers: Sequence[TurnWorker]) -> None:
        """Bind everything and let the workers serve.

        Raises:
            NoCapacity: a port is in use, or an address is not ours; nothing is bound then.
            UsageError: TURN is served already.
        """
        if self._settings is not None:
            raise UsageError("TURN is served already")
        self._listeners = bind_listeners(settings, len(workers))
        self._settings = settings
        self._ports = RelayPorts(self._pool, Quotas(settings.limits), self._entropy)
        self._workers = {worker.index: worker for worker in workers}
        kbits = settings.account_kbits
        self._shares = AccountShares(None if kbits is None else kbits * BYTES_A_KBIT)
        for worker in workers:
            self.equip(worker)

    def reached_at(self, external: tuple[str, ...], workers: Sequence[TurnWorker]) -> None:
        """Clients are told these addresses from now on in place of relay ports' own.

        Raises:
            AddressError: something is no address.
            ConfigError: two of one family.
        """
        if self._settings is not None:
            self._settings = replace(self._settings, external=external)
            self.renew(workers)

    def accounts(
        self, put: Iterable[TurnAccount], remove: Iterable[str], workers: Sequence[TurnWorker]
    ) -> None:
        """Add or change accounts, and forget some."""
        added, removed = list(put), list(remove)
        for account in added:
            self._accounts[account.login] = account
        for login in removed:
            self._accounts.pop(login, None)
            if is_guest(login):
                self._gone_guests[login] = None
        while len(self._gone_guests) > REMEMBERED_GUESTS:
            oldest = next(iter(self._gone_guests))
            del self._gone_guests[oldest]
            self._relayed.pop(oldest, None)
        if self._settings is not None:
            for worker in workers:
                self._put(worker, added)
                for start in range(0, len(removed), MAX_ACCOUNTS_A_MESSAGE):
                    part = tuple(removed[start : start + MAX_ACCOUNTS_A_MESSAGE])
                    worker.post(RemoveAccounts(part))

    def renew(self, workers: Sequence[TurnWorker]) -> None:
        """Send the configuration again; workers read the certificate's files anew."""
        if self._settings is not None:
            for worker in workers:
                worker.post(self._configuration(self._settings))

    # Guests

    def open_guests(self, limits: GuestLimits, workers: Sequence[TurnWorker]) -> None:
        """Let guests in within these limits; they may be told again at any time."""
        opening = self._guests.limits is None or self._guests.is_closing
        self._guests.open(limits, now=self._clock.monotonic())
        if opening and self._settings is not None:
            for worker in workers:
                worker.post(EndGuests(-1))

    def close_guests(self, seconds: int, workers: Sequence[TurnWorker]) -> None:
        """Let no more in; those who are there go within `seconds`, at once for 0."""
        if seconds:
            self._guests.is_closing = True
        else:
            self._guests.close(now=self._clock.monotonic())
        if self._settings is not None:
            for worker in workers:
                worker.post(EndGuests(seconds))

    def guest_report(self) -> GuestReport:
        """What guests use."""
        quotas = None if self._ports is None else self._ports.quotas
        return self._guests.report(quotas, self._clock.monotonic())

    def _guests_reported(self, worker: TurnWorker, traffic: GuestTraffic) -> None:
        now = self._clock.monotonic()
        part = self._guests.reported(
            worker.index, traffic.passed, traffic.dropped, traffic.returned, now=now
        )
        if part:
            worker.post(LendGuests(part, self._guests.budget.kept))

    # Looking

    def report(self) -> TurnReport:
        """What is relayed."""
        return TurnReport(
            allocations=sum(count for count, _ in self._counts.values()),
            connections=sum(count for _, count in self._counts.values()),
            ports=0 if self._ports is None else self._ports.quotas.total,
            accounts=dict(self._relayed),
            refused=dict(self._refused),
        )

    @property
    def endpoints(self) -> list[tuple[str, Endpoint]]:
        """What is listened on: `udp`, `tcp` or `tls`, and the address."""
        return [(listener.name, listener.endpoint) for listener in self._listeners]

    def close(self) -> None:
        """Close every socket; the workers are gone already."""
        if self._timer is not None:
            self._timer.cancel()
        for worker, _ in list(self._held):
            self._release_all(worker)
        if self._ports is not None:
            self._ports.close_reserved(self._clock.monotonic())
        for listener in self._listeners:
            listener.close()
        self._listeners = []
        self._settings = None

    # Workers

    def equip(self, worker: TurnWorker) -> None:
        """Give a worker that knows nothing all it needs; ports of the one before are free."""
        self._release_all(worker.index)
        settings = self._settings
        if settings is None:
            return
        worker.post(self._configuration(settings))
        self._put(worker, list(self._accounts.values()))
        self._guests.budget.forget(worker.index)
        if self._guests.is_closing or self._guests.limits is None:
            worker.post(EndGuests(0))
        for number, listener in enumerate(self._listeners):
            worker.post(AttachTurn(number, listener.transport), [listener.socket_of(worker.index)])

    def take(self, worker: TurnWorker, notice: TurnNotice) -> None:
        """Hear what a worker says."""
        match notice:
            case WantRelay():
                self._open(worker, notice)
            case GuestTraffic():
                self._guests_reported(worker, notice)
            case RelayClosed(relay):
                held = self._held.pop((worker.index, relay), None)
                if held is not None and self._ports is not None:
                    self._ports.close(held, now=self._clock.monotonic())
                    self._limit(self._shares.closed(held.login, worker.index))
            case TurnUsage(allocations, connections, accounts, refused):
                self._refused.update(dict(refused))
                self._counts[worker.index] = allocations, connections
                for usage in accounts:
                    if not is_guest(usage.login) or self._knows(usage.login):
                        before = self._relayed.get(usage.login, AccountRelayed())
                        self._relayed[usage.login] = before.plus(usage)
                        self._limit(self._shares.used(usage.login, worker.index, usage.size))

    def _limit(self, orders: Orders) -> None:
        for index, order in orders:
            self._workers[index].post(order)

    def _knows(self, login: str) -> bool:
        return login in self._accounts or login in self._gone_guests

    def _open(self, worker: TurnWorker, wanted: WantRelay) -> None:
        try:
            opened = self._opened(wanted)
        except NoCapacity as error:
            log.info("relay_port_refused", reason=str(error))
            worker.post(RelayRefused(wanted.relay, Code.INSUFFICIENT_CAPACITY))
            return
        if isinstance(opened, Code):
            worker.post(RelayRefused(wanted.relay, opened))
            return
        held, sock, token = opened
        if is_guest(wanted.login):
            self._guests_reported(worker, GuestTraffic(0, 0, 0))
        self._held[worker.index, wanted.relay] = held
        self._limit(self._shares.opened(wanted.login, worker.index))
        worker.post(RelayOpened(wanted.relay, token), [sock])
        sock.close()
        if token is not None:
            self._watch_reservations()

    def _opened(self, wanted: WantRelay) -> Code | tuple[HeldPort, socket.socket, bytes | None]:
        ports, now = self._ports, self._clock.monotonic()
        if ports is None or wanted.login not in self._accounts:
            return Code.INSUFFICIENT_CAPACITY
        if wanted.token is not None:
            claimed = ports.claim(wanted.token, wanted.login, now=now)
            return Code.INSUFFICIENT_CAPACITY if claimed is None else (*claimed, None)
        if is_guest(wanted.login):
            refusal = self._guests.refusal(ports.quotas, 1 + wanted.reserve, now=now)
            if refusal is not None:
                return refusal
        host = self._relay_host(wanted)
        if host is None:
            return Code.ADDRESS_FAMILY_NOT_SUPPORTED
        opened = ports.open(
            wanted.login,
            wanted.source,
            host,
            even=wanted.even,
            reserve=wanted.reserve,
            now=now,
        )
        return Code.ALLOCATION_QUOTA_REACHED if opened is None else opened

    def _relay_host(self, wanted: WantRelay) -> str | None:
        """The address the client talks to, or the first of the family it asks for."""
        settings = self._settings
        if settings is None or wanted.listener >= len(self._listeners):
            return None
        hosts = (self._listeners[wanted.listener].endpoint.host, *settings.hosts)
        version = 6 if wanted.family == Family.IPV6 else 4
        return next((host for host in hosts if parse_ip(host).version == version), None)

    def _configuration(self, settings: TurnSettings) -> ConfigureTurn:
        families = {Family.IPV6 if ":" in host else Family.IPV4 for host in settings.hosts}
        return ConfigureTurn(
            realm=settings.realm,
            nonce_key=self._nonce_key,
            rest_secret=settings.rest_secret,
            families=tuple(sorted(families)),
            external=tuple(
                (Family.IPV6 if ":" in host else Family.IPV4, host) for host in settings.external
            ),
            discovery=self._places(settings),
            own=settings.own_addresses,
            allow=settings.allow_peers,
            account_quota=settings.limits.account,
            source_quota=settings.limits.source,
            total_quota=settings.limits.total,
            software=settings.software,
            unix_offset=self._clock.unix() - self._clock.monotonic(),
            certificate=settings.certificate,
            private_key=settings.private_key,
        )

    def _places(self, settings: TurnSettings) -> tuple[tuple[int, str, int], ...]:
        """The listeners of behaviour discovery; of a family all four of its places, or none."""
        hosts = settings.discovery_hosts
        found = [
            (number, *listener.endpoint)
            for number, listener in enumerate(self._listeners)
            if listener.transport == UDP and listener.endpoint.host in hosts
        ]
        whole = {is_ipv6 for is_ipv6 in (False, True) if _count(found, is_ipv6) == PLACES}
        return tuple(place for place in found if (":" in place[1]) in whole)

    def _put(self, worker: TurnWorker, accounts: list[TurnAccount]) -> None:
        for start in range(0, len(accounts), MAX_ACCOUNTS_A_MESSAGE):
            part = accounts[start : start + MAX_ACCOUNTS_A_MESSAGE]
            worker.post(PutAccounts(tuple((one.login, one.md5, one.sha256) for one in part)))

    def _release_all(self, index: int) -> None:
        self._counts.pop(index, None)
        self._limit(self._shares.forget(index))
        for end in [end for end in self._held if end[0] == index]:
            held = self._held.pop(end)
            if self._ports is not None:
                self._ports.close(held, now=self._clock.monotonic())

    def _watch_reservations(self) -> None:
        """Wake when the next reservation expires."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = None if self._ports is None else self._ports.next_timer
        if due is not None:
            delay = max(0.0, due - self._clock.monotonic())
            self._timer = asyncio.get_running_loop().call_later(delay, self._expire)

    def _expire(self) -> None:
        self._timer = None
        if self._ports is not None:
            self._ports.expire(self._clock.monotonic())
        self._watch_reservations()


def _count(places: Sequence[tuple[int, str, int]], is_ipv6: bool) -> int:
    return sum((":" in host) is is_ipv6 for _, host, _ in places)
