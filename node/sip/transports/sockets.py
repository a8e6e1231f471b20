"""Every socket of the SIP edge behind one door: start, send, local address, close."""

import asyncio
import errno
from collections.abc import Callable, Sequence
from typing import TypeVar

import structlog

from federation.model.address import Endpoint
from federation.model.clocks import Clock
from node.sip.flow import Flow, TransportName
from node.sip.transports.connection import TcpLimits
from node.sip.transports.local_address import WILDCARDS, RouteProbe
from node.sip.transports.noise import NoiseLog
from node.sip.transports.tcp import SipTcp
from node.sip.transports.udp import SipUdp

EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - a phone may come from anywhere
"Listen on all addresses of both families."
_PORT_TRIES = 20
"How often the system is asked for a port that is free on all sockets, where 0 was asked for."
_NO_SUCH_FAMILY = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT})

S = TypeVar("S", SipUdp, SipTcp)


class ListenError(OSError):
    """A socket could not be bound; `errno` as the system gave it."""

    def __init__(self, transport: TransportName, listen: Endpoint, error: OSError) -> None:
        super().__init__(error.errno, f"{transport} {listen}: {error.strerror}")
        self.transport = transport
        self.listen = listen
        "What was to be bound."

    @property
    def is_in_use(self) -> bool:
        """Whether another program has that port."""
        return self.errno == errno.EADDRINUSE


class SipTransports:
    """UDP and TCP on one port, on each address listened on.

    `on_data(data, flow)` gets each datagram or framed message that may be SIP. `on_closed(flow)`
    hears, outside of `send`, of each connection that ended, each that could not be made, and each
    datagram that the system refused to send; give it to `TransactionLayer.flow_failed`.
    """

    def __init__(
        self,
        *,
        on_data: Callable[[bytes, Flow], None],
        on_closed: Callable[[Flow], None],
        clock: Clock,
        limits: TcpLimits | None = None,
    ) -> None:
        self._on_data = on_data
        self._on_closed = on_closed
        self._clock = clock
        self._limits = limits
        self._log = structlog.get_logger("sip")
        self._probe = RouteProbe(clock)
        self._noise = NoiseLog(clock)
        self._udp: list[SipUdp] = []
        self._tcp: list[SipTcp] = []

    async def start(self, hosts: Sequence[str] = EVERYWHERE, port: int = 5060) -> None:
        """Listen on these addresses, all with one port; 0 lets the system choose one.

        A wildcard of a family this machine lacks is left out as long as another address remains.

        Raises:
            ListenError: a socket could not be bound; none is left open.
        """
        for attempt in range(_PORT_TRIES):
            try:
                self._bind(hosts, port)
                break
            except ListenError as error:
                if port != 0 or not error.is_in_use or attempt == _PORT_TRIES - 1:
                    raise
        for udp in self._udp:
            udp.start()
        for tcp in self._tcp:
            await tcp.start()

    async def close(self) -> None:
        """Close every socket and connection; idempotent."""
        for udp in self._udp:
            udp.close()
        for tcp in self._tcp:
            await tcp.close()
        self._udp, self._tcp = [], []

    @property
    def listening(self) -> tuple[tuple[TransportName, Endpoint], ...]:
        """What is bound, wildcards as such."""
        udp: list[tuple[TransportName, Endpoint]] = [("UDP", u.local) for u in self._udp]
        return (*udp, *(("TCP", t.local) for t in self._tcp))

    @property
    def port(self) -> int:
        """The one port of all sockets; 0 before `start`."""
        return self._udp[0].local.port if self._udp else 0

    @property
    def connections(self) -> int:
        """Open TCP connections, both directions."""
        return sum(tcp.connections for tcp in self._tcp)

    def complain(self, flow: Flow, reason: str) -> None:
        """Log something unusable that came on this flow, a line a second and source at most."""
        self._noise.complain(flow.remote.host, reason)

    def local_ip_facing(self, remote_host: str) -> str:
        """The address of ours that this peer can reach: for Via, Contact, Record-Route and SDP."""
        udp = _facing(self._udp, remote_host)
        return udp.local_ip_facing(remote_host) if udp else self._probe.local_ip_facing(remote_host)

    def flow_to(self, transport: TransportName, remote: Endpoint) -> Flow:
        """The flow on which a request of ours goes to `remote`, over UDP or TCP.

        Nothing is connected yet. Where no socket fits, sending on it is reported to `on_closed`.
        """
        found: SipUdp | SipTcp | None = None
        if transport == "UDP":
            found = _facing(self._udp, remote.host)
        elif transport == "TCP":
            found = _facing(self._tcp, remote.host)
        if found is not None:
            return found.flow_to(remote)
        return Flow(transport, Endpoint(self.local_ip_facing(remote.host), self.port), remote)

    def send(self, data: bytes, flow: Flow) -> None:
        """Send one message on a flow. Never raises, never calls back before it returns."""
        if flow.transport == "UDP":
            found: SipUdp | SipTcp | None = _facing(self._udp, flow.remote.host, flow.local.host)
        elif flow.transport == "TCP":
            found = _facing(self._tcp, flow.remote.host, flow.local.host)
        else:
            found = None
        if found is not None:
            found.send(data, flow)
        elif self._udp:
            asyncio.get_running_loop().call_soon(self._on_closed, flow)

    def _bind(self, hosts: Sequence[str], port: int) -> None:
        """Bind everything or nothing."""
        try:
            for host in hosts:
                self._bind_one(host, port or self.port, optional=len(hosts) > 1)
            if not self._udp:
                listen = Endpoint(hosts[0] if hosts else "", port)
                raise ListenError("UDP", listen, OSError(errno.EADDRNOTAVAIL, "no such address"))
        except ListenError:
            for udp in self._udp:
                udp.close()
            for tcp in self._tcp:
                tcp.discard()
            self._udp, self._tcp = [], []
            raise

    def _bind_one(self, host: str, port: int, *, optional: bool) -> None:
        listen = Endpoint(host, port)
        try:
            udp = SipUdp(
                listen,
                on_data=self._on_data,
                on_failed=self._on_closed,
                probe=self._probe,
                noise=self._noise,
            )
        except OSError as error:
            if optional and host in WILDCARDS and error.errno in _NO_SUCH_FAMILY:
                self._log.info("sip_family_absent", address=host)
                return
            raise ListenError("UDP", listen, error) from error
        self._udp.append(udp)
        try:
            tcp = SipTcp(
                udp.local,
                on_data=self._on_data,
                on_closed=self._on_closed,
                probe=self._probe,
                noise=self._noise,
                clock=self._clock,
                limits=self._limits,
            )
        except OSError as error:
            raise ListenError("TCP", udp.local, error) from error
        self._tcp.append(tcp)


def _facing(sockets: Sequence[S], remote_host: str, local_host: str | None = None) -> S | None:
    """The socket for a peer: of its family, and bound to `local_host` if several are."""
    is_ipv6 = ":" in remote_host
    found: S | None = None
    for sock in sockets:
        if sock.local.is_ipv6 == is_ipv6:
            if local_host is None or sock.local.host == local_host:
                return sock
            found = found or sock
    return found
