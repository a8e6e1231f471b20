"""Every socket of the SIP edge behind one door: start, send, local address, close."""

import asyncio
import errno
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import structlog

from federation.model.address import Endpoint
from federation.model.clocks import Clock
from node.sip.flow import DEFAULT_PORT, DEFAULT_TLS_PORT, Flow, TransportName
from node.sip.overload import Backlog, OverloadControl
from node.sip.transports.connection import TcpLimits
from node.sip.transports.local_address import WILDCARDS, RouteProbe
from node.sip.transports.noise import NoiseLog
from node.sip.transports.tcp import SipTcp
from node.sip.transports.tls import SipTls
from node.sip.transports.tls_connection import TlsContexts
from node.sip.transports.turns import Turns
from node.sip.transports.udp import SipUdp
from node.sip.transports.web_sockets import SipWebSockets

EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - a phone may come from anywhere
"Listen on all addresses of both families."
_PORT_TRIES = 20
"How often the system is asked for a port that is free on all sockets, where 0 was asked for."
_NO_SUCH_FAMILY = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT})

S = TypeVar("S", SipUdp, SipTcp, SipTls)


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
    """UDP and TCP on one port, and TLS on another, on each address listened on; `web` beside.

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
        tls: TlsContexts | None = None,
        web_origins: Sequence[str] = (),
    ) -> None:
        """`web_origins`: of pages of elsewhere whose WebSockets are welcome."""
        self._on_data = on_data
        self._on_closed = on_closed
        self._clock = clock
        self._limits = limits
        self._contexts = tls
        self._log = structlog.get_logger("sip")
        self.overload = OverloadControl()
        "Whether what arrives can be kept up with."
        self._turns = Turns(Backlog(self.overload))
        self._probe = RouteProbe(clock)
        self._noise = NoiseLog(clock)
        self._udp: list[SipUdp] = []
        self._tcp: list[SipTcp] = []
        self._tls: list[SipTls] = []
        self.web = SipWebSockets(
            on_data=self._on_stream_data,
            on_closed=on_closed,
            noise=self._noise,
            clock=clock,
            welcome=web_origins,
        )
        "Browsers; its routes are for the web server."

    async def start(
        self,
        hosts: Sequence[str] = EVERYWHERE,
        port: int = DEFAULT_PORT,
        tls_port: int = DEFAULT_TLS_PORT,
    ) -> None:
        """Listen on these addresses, all with the same ports; 0 lets the system choose one.

        TLS is spoken where contexts were given.
        A wildcard of a family this machine lacks is left out as long as another address remains.

        Raises:
            ListenError: a socket could not be bound; none is left open.
        """
        for attempt in range(_PORT_TRIES):
            try:
                self._bind(hosts, port, tls_port)
                break
            except ListenError as error:
                if 0 not in (port, tls_port) or not error.is_in_use or attempt == _PORT_TRIES - 1:
                    raise
        for udp in self._udp:
            udp.start()
        for stream in (*self._tcp, *self._tls):
            await stream.start()

    async def close(self) -> None:
        """Close every socket and connection; idempotent."""
        for udp in self._udp:
            udp.close()
        for stream in (*self._tcp, *self._tls):
            await stream.close()
        await self.web.close()
        self._udp, self._tcp, self._tls = [], [], []

    @property
    def listening(self) -> tuple[tuple[TransportName, Endpoint], ...]:
        """What is bound, wildcards as such."""
        udp: list[tuple[TransportName, Endpoint]] = [("UDP", u.local) for u in self._udp]
        return (*udp, *((s.transport, s.local) for s in (*self._tcp, *self._tls)))

    @property
    def port(self) -> int:
        """The one port of UDP and TCP; 0 before `start`."""
        return self._udp[0].local.port if self._udp else 0

    @property
    def tls_port(self) -> int:
        """The port of TLS; 0 before `start`, or without TLS."""
        return self._tls[0].local.port if self._tls else 0

    @property
    def connections(self) -> int:
        """Open connections, both directions."""
        streams = sum(stream.connections for stream in (*self._tcp, *self._tls))
        return streams + self.web.connections

    def complain(self, flow: Flow, reason: str) -> None:
        """Log something unusable that came on this flow, a line a second and source at most."""
        self._noise.complain(flow.remote.host, reason)

    def local_ip_facing(self, remote_host: str) -> str:
        """The address of ours that this peer can reach: for Via, Contact, Record-Route and SDP."""
        udp = _facing(self._udp, remote_host)
        return udp.local_ip_facing(remote_host) if udp else self._probe.local_ip_facing(remote_host)

    def flow_to(self, transport: TransportName, remote: Endpoint, name: str = "") -> Flow:
        """The flow on which a request of ours goes to `remote`.

        `name`, for TLS, is the domain or IP address that the certificate there must prove (RFC
        5922); a connection that proved it is used again. Nothing is connected yet. Where no socket
        fits, or a name is lacking, sending on the flow is reported to `on_closed`.
        """
        if transport == "UDP":
            udp = _facing(self._udp, remote.host)
            if udp is not None:
                return udp.flow_to(remote)
        else:
            stream = self._stream(transport, remote.host)
            if stream is not None:
                return stream.flow_to(remote, name)
        port = self.port if transport != "TLS" else self.tls_port
        local = Endpoint(self.local_ip_facing(remote.host), port)
        return Flow(transport, local, remote, name=name)

    def send(self, data: bytes, flow: Flow) -> None:
        """Send one message on a flow. Never raises, never calls back before it returns."""
        found: SipUdp | SipTcp | SipWebSockets | None
        if flow.is_web:
            found = self.web
        elif flow.transport == "UDP":
            found = _facing(self._udp, flow.remote.host, flow.local.host)
        else:
            found = self._stream(flow.transport, flow.remote.host, flow.local.host)
        if found is not None:
            found.send(data, flow)
        elif self._udp:
            asyncio.get_running_loop().call_soon(self._on_closed, flow)

    def abandon(self, flow: Flow) -> None:
        """Give up a connection that is still being made: `on_closed` follows, as if it had failed.

        What waited for it is not sent. A connection that stands is left alone.
        """
        stream = self._stream(flow.transport, flow.remote.host, flow.local.host)
        if stream is not None:
            stream.abandon(flow)

    def stands(self, flow: Flow) -> bool:
        """Whether the connection of a flow with an id is still there."""
        if flow.is_web:
            return self.web.stands(flow)
        stream = self._stream(flow.transport, flow.remote.host, flow.local.host)
        return stream is not None and stream.stands(flow)

    def why_failed(self, flow: Flow) -> str:
        """Why the last connection to the flow's far end could not be made; empty: none failed."""
        stream = self._stream(flow.transport, flow.remote.host, flow.local.host)
        return "" if stream is None else stream.why_failed(flow)

    def _stream(
        self, transport: TransportName, remote_host: str, local_host: str | None = None
    ) -> SipTcp | None:
        if transport == "TLS":
            return _facing(self._tls, remote_host, local_host)
        return _facing(self._tcp, remote_host, local_host) if transport == "TCP" else None

    def _bind(self, hosts: Sequence[str], port: int, tls_port: int) -> None:
        """Bind everything or nothing."""
        try:
            for host in hosts:
                optional = len(hosts) > 1
                self._bind_one(
                    host, port or self.port, tls_port or self.tls_port, optional=optional
                )
            if not self._udp:
                listen = Endpoint(hosts[0] if hosts else "", port)
                raise ListenError("UDP", listen, OSError(errno.EADDRNOTAVAIL, "no such address"))
        except ListenError:
            for udp in self._udp:
                udp.close()
            for stream in (*self._tcp, *self._tls):
                stream.discard()
            self._udp, self._tcp, self._tls = [], [], []
            raise

    def _bind_one(self, host: str, port: int, tls_port: int, *, optional: bool) -> None:
        listen = Endpoint(host, port)
        try:
            udp = SipUdp(
                listen,
                on_data=self._on_data,
                on_failed=self._on_closed,
                probe=self._probe,
                noise=self._noise,
                backlog=Backlog(self.overload),
            )
        except OSError as error:
            if optional and host in WILDCARDS and error.errno in _NO_SUCH_FAMILY:
                self._log.info("sip_family_absent", address=host)
                return
            raise ListenError("UDP", listen, error) from error
        self._udp.append(udp)
        self._bind_streams(udp.local, tls_port)

    def _on_stream_data(self, data: bytes, flow: Flow) -> None:
        self._turns.note()
        self._on_data(data, flow)

    def _bind_streams(self, listen: Endpoint, tls_port: int) -> None:
        settings: dict[str, Any] = {
            "on_data": self._on_stream_data,
            "on_closed": self._on_closed,
            "probe": self._probe,
            "noise": self._noise,
            "turns": self._turns,
            "clock": self._clock,
            "limits": self._limits,
        }
        transport: TransportName = "TCP"
        try:
            self._tcp.append(SipTcp(listen, **settings))
            if self._contexts is not None:
                transport, listen = "TLS", Endpoint(listen.host, tls_port)
                self._tls.append(SipTls(listen, self._contexts, **settings))
        except OSError as error:
            raise ListenError(transport, listen, error) from error


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
