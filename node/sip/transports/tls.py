"""SIP over TLS: the connections of `SipTcp`, sealed.

Connections that phones make show this node's certificate and ask for none. Those that the node
makes are to a name that the other end's certificate must prove; they are used again for the same
far end and name, never for another name.
"""

from collections.abc import Callable

from federation.model.address import Endpoint
from federation.model.clocks import Clock
from node.sip.flow import Flow, TransportName
from node.sip.transports.connection import TcpConnection, TcpLimits
from node.sip.transports.local_address import RouteProbe
from node.sip.transports.noise import NoiseLog
from node.sip.transports.source_rate import SourceRate
from node.sip.transports.tcp import SipTcp
from node.sip.transports.tls_connection import TlsConnection, TlsContexts
from node.sip.transports.turns import Turns


class SipTls(SipTcp):
    """A listening socket and every TLS connection accepted by it or made from it."""

    transport: TransportName = "TLS"

    def __init__(
        self,
        listen: Endpoint,
        contexts: TlsContexts,
        *,
        on_data: Callable[[bytes, Flow], None],
        on_closed: Callable[[Flow], None],
        probe: RouteProbe,
        noise: NoiseLog,
        turns: Turns,
        clock: Clock,
        limits: TcpLimits | None = None,
    ) -> None:
        """Bind the listening socket.

        Raises:
            OSError: the address is not ours, in use, or of a family this machine lacks.
        """
        super().__init__(
            listen,
            on_data=on_data,
            on_closed=on_closed,
            probe=probe,
            noise=noise,
            turns=turns,
            clock=clock,
            limits=limits,
        )
        self.contexts = contexts
        self._rate = SourceRate(self.limits.handshake_burst, self.limits.handshakes_per_second)

    def take_up(self, connection: TcpConnection, remote: Endpoint, local_ip: str) -> Flow | None:
        """Register a new connection; `None` if there are too many, or they come too fast."""
        if connection.accepted and not self._rate.allows(remote.host, now=self.now()):
            self.noise.complain(remote.host, "too many TLS connections a second")
            return None
        return super().take_up(connection, remote, local_ip)

    def _connection(self, *, accepted: bool, name: str = "") -> TcpConnection:
        return TlsConnection(self, accepted=accepted, name=name)

    def _may_dial(self, flow: Flow) -> bool:
        """Without a name to prove, anybody could be at the other end."""
        return bool(flow.name)

    async def _reach(self, flow: Flow) -> TcpConnection:
        connection = await super()._reach(flow)
        assert isinstance(connection, TlsConnection)
        assert connection.shaken is not None
        try:
            await connection.shaken
        except BaseException:
            connection.abort()
            raise
        return connection
