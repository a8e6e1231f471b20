"""The relay as the control plane uses it: workers, the media ports, and sessions on them."""

import mmap
import os
import socket
from collections.abc import Callable, Iterable

import structlog

from federation.model.address import Endpoint
from federation.model.clocks import Clock, Entropy
from media_relay.config import RelayConfig
from media_relay.descriptors import DESCRIPTORS_A_CALL, PLENTY, raise_descriptor_limit
from media_relay.errors import NoCapacity
from media_relay.guest_desk import GuestLimits, GuestReport
from media_relay.outer import OuterHosts
from media_relay.ports import MARKS, PortPool
from media_relay.reports import PoolUsage, RelayEvent
from media_relay.session import RelaySession
from media_relay.sockets import LEG_BUFFER_BYTES, bind_on_each, enlarge_receive_buffer
from media_relay.supervisor import Supervisor
from media_relay.turn_config import TurnAccount, TurnReport, TurnSettings
from media_relay.turn_desk import TurnDesk

log = structlog.get_logger("relay")


class RelayPool:
    """Relay workers and what they share.

    Use between `start` and `close`, in the thread of the event loop. `on_event` hears of lost and
    restarted workers. `worker_module` is what runs as a worker; tests run broken ones to see that
    their checks notice.
    """

    def __init__(
        self,
        config: RelayConfig,
        *,
        clock: Clock,
        entropy: Entropy,
        on_event: Callable[[RelayEvent], None],
        worker_module: str = "media_relay.worker",
    ) -> None:
        self._config = config
        self._clock = clock
        self._entropy = entropy
        self._on_event = on_event
        self._worker_module = worker_module
        first = int.from_bytes(entropy.token(4), "big")
        self._marks, self._in_media = shared_marks()
        self._ports = PortPool(
            config.lowest_port, config.highest_port, first=first, in_media=self._in_media
        )
        self._outer = OuterHosts(self._ports.is_marked)
        self._turn = TurnDesk(self._ports, clock=clock, entropy=entropy)
        self._leg_sockets: list[tuple[int, list[socket.socket]]] = []
        self._supervisors: list[Supervisor] = []

    async def start(self) -> None:
        """Bind the ports of sealed legs, start every worker, and wait until they serve.

        Raises:
            NoCapacity: no leg port can be bound, or a worker does not come up.
        """
        descriptors = raise_descriptor_limit()
        log.debug("descriptor_limit", allowed=descriptors)
        if descriptors < PLENTY:
            log.warning(
                "few_descriptors",
                allowed=descriptors,
                calls=descriptors // DESCRIPTORS_A_CALL,
                way_out=f"raise the hard limit of open files to {PLENTY} or more",
            )
        try:
            for index in range(self._config.workers):
                self._start_worker(index)
            for supervisor in self._supervisors:
                await supervisor.wait_ready()
        except NoCapacity:
            await self.close()
            raise

    async def close(self) -> None:
        """Close every session, end every worker, free every port."""
        for supervisor in self._supervisors:
            for session in list(supervisor.sessions):
                session.close()
            await supervisor.close()
        self._supervisors.clear()
        self._turn.close()
        for port, sockets in self._leg_sockets:
            for sock in sockets:
                sock.close()
            self._ports.give_back(port, now=self._clock.monotonic())
        self._leg_sockets.clear()
        if self._marks >= 0:
            os.close(self._marks)
            self._in_media.close()
            self._marks = -1

    def session(self, label: str) -> RelaySession:
        """Begin a session in the worker that has the fewest sessions.

        Raises:
            NoCapacity: no worker is running.
        """
        running = [supervisor for supervisor in self._supervisors if supervisor.is_up]
        if not running:
            raise NoCapacity("no relay worker is running")
        chosen = min(running, key=lambda supervisor: supervisor.load)
        session = RelaySession(
            label,
            chosen,
            ports=self._ports,
            outer=self._outer,
            clock=self._clock,
            entropy=self._entropy,
        )
        chosen.sessions.add(session)
        return session

    def reached_at(self, outer: Iterable[str]) -> None:
        """Take over the addresses by which this machine is reached from outside a NAT.

        At most one of each family. TURN clients are told them from now on in place of relay ports'
        own; what has begun goes on. Media that is sent to one of them at a port of this node goes
        there straight.

        Raises:
            AddressError: something is no address.
            ConfigError: two of one family.
        """
        hosts = tuple(outer)
        self._turn.reached_at(hosts, self._supervisors)
        self._outer.replace(hosts)

    # TURN

    def turn_listen(self, settings: TurnSettings) -> None:
        """Serve TURN from now until `close`, on every address and port of `settings`.

        Raises:
            NoCapacity: a port is in use, or an address is not ours; nothing is bound then.
            UsageError: TURN is served already.
        """
        self._turn.listen(settings, self._supervisors)

    def turn_accounts(self, put: Iterable[TurnAccount] = (), *, remove: Iterable[str] = ()) -> None:
        """Let accounts use TURN, or use it with another password, and others no longer.

        What an account that is removed has ends when its time does. May be called at any time.
        """
        self._turn.accounts(put, remove, self._supervisors)

    def turn_renew(self) -> None:
        """Read the certificate's files again, and the system's clock; nothing else changes."""
        self._turn.renew(self._supervisors)

    def turn_endpoints(self) -> list[tuple[str, Endpoint]]:
        """Where TURN is served: `udp`, `tcp` or `tls`, and the address."""
        return self._turn.endpoints

    def guests_open(self, limits: GuestLimits) -> None:
        """Let clients of other nodes in within limits, which may be told again at any time.

        They are accounts of `turn_accounts` whose logins begin with `~`. At first none may come.
        """
        self._turn.open_guests(limits, self._supervisors)

    def guests_close(self, seconds: int = 0) -> None:
        """Let none in any more; those who are there go within `seconds`, at once for 0."""
        self._turn.close_guests(seconds, self._supervisors)

    def guest_report(self) -> GuestReport:
        """What guests use, at most a twentieth of a second old."""
        return self._turn.guest_report()

    def turn_report(self) -> TurnReport:
        """What TURN relays, at most a second old."""
        return self._turn.report()

    def usage(self) -> PoolUsage:
        """What is carried now, and what is left."""
        return PoolUsage(
            workers=tuple(supervisor.usage for supervisor in self._supervisors),
            ports_in_use=self._ports.in_use,
            ports_free=self._ports.free,
        )

    def _start_worker(self, index: int) -> None:
        supervisor = Supervisor(
            index,
            leg_sockets=self._bind_leg_sockets(),
            first_leg_id=int.from_bytes(self._entropy.token(4), "big"),
            marks=self._marks,
            on_turn=self._turn.take,
            on_spawned=self._turn.equip,
            module=self._worker_module,
            clock=self._clock,
            on_event=self._on_event,
        )
        self._supervisors.append(supervisor)
        supervisor.start()

    def _bind_leg_sockets(self) -> list[socket.socket]:
        """One socket of each family, all with one port: a leg's address names a single port."""
        hosts = self._config.leg_hosts
        port, bound = bind_on_each(self._ports, hosts, now=self._clock.monotonic())
        sockets = []
        for host, sock in bound.items():
            if isinstance(sock, str):
                # A machine without IPv6 is ordinary; one without any family is not.
                log.info("leg_port_refused", host=host, reason=sock)
                continue
            granted = enlarge_receive_buffer(sock)
            if granted < LEG_BUFFER_BYTES:
                log.info("receive_buffer_clipped", wanted=LEG_BUFFER_BYTES, granted=granted)
            sockets.append(sock)
        self._leg_sockets.append((port, sockets))
        return sockets


def shared_marks() -> tuple[int, mmap.mmap]:
    """Memory that workers can read: a descriptor to inherit, and the memory itself."""
    descriptor = os.memfd_create("ringmesh-ports", os.MFD_CLOEXEC)
    os.ftruncate(descriptor, MARKS)
    return descriptor, mmap.mmap(descriptor, MARKS)
