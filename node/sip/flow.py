"""Where a SIP message came from or goes to: one path between two sockets (RFC 5626 section 2)."""

from dataclasses import dataclass
from typing import Literal

from federation.model.address import Endpoint

TransportName = Literal["UDP", "TCP", "TLS"]
DEFAULT_PORT = 5060
"The SIP port where none is named (RFC 3261 section 19.1.2)."
DEFAULT_TLS_PORT = 5061
"The same over TLS."


@dataclass(frozen=True, slots=True)
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

    def __str__(self) -> str:
        return f"{self.transport}:{self.remote}" + (f"#{self.id}" if self.id else "")
