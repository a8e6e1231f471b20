"""Where a SIP message came from or goes to: one path between two sockets (RFC 5626 section 2)."""

from dataclasses import dataclass
from typing import Literal

from federation.model.address import Endpoint

TransportName = Literal["UDP", "TCP", "TLS", "WS", "WSS"]
WEB_TRANSPORTS = frozenset(("WS", "WSS"))
"SIP over WebSocket (RFC 7118): only the other end can make such a connection."
DEFAULT_PORT = 5060
"The SIP port where none is named (RFC 3261 section 19.1.2)."
DEFAULT_TLS_PORT = 5061
"The same over TLS."


@dataclass(frozen=True, slots=True, eq=False)
class Flow:
    """A transport, our end and the other end, and for streams which connection it was.

    Messages with equal flows came over the same path; what is sent on a flow goes back that way.
    """

    transport: TransportName
    local: Endpoint
    "Our side as the other end can reach it: never a wildcard address; the port we listen on."
    remote: Endpoint
    id: int = 0
    "Serial of the connection. 0: UDP, or on a stream any open one to `remote`, else a new one."
    name: str = ""
    "TLS: the domain or IP address that the other end's certificate proves; empty: none was asked."

    @property
    def reliable(self) -> bool:
        """Whether the transport itself repeats what was lost (RFC 3261 section 17)."""
        return self.transport != "UDP"

    @property
    def secure(self) -> bool:
        """Whether it runs over TLS, as a `sips` URI demands of every hop."""
        return self.transport in ("TLS", "WSS")

    @property
    def is_web(self) -> bool:
        """Whether it is a WebSocket: there while the other end holds it, and never made by us."""
        return self.transport in WEB_TRANSPORTS

    @property
    def uri_transport(self) -> str:
        """What `;transport=` says of it: `ws` for both kinds of WebSocket (RFC 7118 5.2.2)."""
        return "ws" if self.is_web else self.transport.lower()

    def __eq__(self, other: object) -> bool:
        if self is other:  # a transport hands out the same object again, as a rule
            return True
        return (
            isinstance(other, Flow)
            and self.remote == other.remote
            and self.id == other.id
            and self.transport == other.transport
            and self.local == other.local
            and self.name == other.name
        )

    def __hash__(self) -> int:
        return hash((self.transport, self.local, self.remote, self.id, self.name))

    def __str__(self) -> str:
        return f"{self.transport}:{self.remote}" + (f"#{self.id}" if self.id else "")
