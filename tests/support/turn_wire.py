"""A TURN client on a real socket, blocking: the one of `turn_core` with a wire for a shell."""

import socket
import ssl

from federation.model.address import Endpoint
from media_relay.stun.attributes import Attribute
from media_relay.stun.message import Message
from media_relay.stun.values import read_xor_address
from media_relay.turn.effects import Client, Effect, Reply
from media_relay.turn.framing import StreamFramer, padded
from media_relay.turn_routes import sockaddr
from tests.support.turn_core import TurnClient

ANSWER_SECONDS = 5.0


class Wire:
    """Sends what a client says to a server and keeps what comes back."""

    def __init__(self, server: Endpoint, transport: str = "udp") -> None:
        family = socket.AF_INET6 if server.is_ipv6 else socket.AF_INET
        self.is_stream = transport != "udp"
        kind = socket.SOCK_STREAM if self.is_stream else socket.SOCK_DGRAM
        self.socket = socket.socket(family, kind)
        self.socket.settimeout(ANSWER_SECONDS)
        self.socket.connect(sockaddr(server))
        if transport == "tls":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            self.socket = context.wrap_socket(self.socket)
        self.replies: list[Reply] = []
        self.data: list[bytes] = []
        self._framer = StreamFramer()
        self._ready: list[bytes] = []

    def take(self, data: bytes, client: Client) -> list[Effect]:
        """Send; a request waits for its response."""
        self.send(data)
        if data[0] < 0x40 and data[0] & 0x01 == 0 and data[1] & 0x10 == 0:
            while True:
                got = self.hear()
                if got[0] < 0x40 and got[8:20] == data[8:20]:
                    self.replies.append(Reply(got, client))
                    break
                self.data.append(got)
        return []

    def send(self, data: bytes) -> None:
        self.socket.sendall(padded(data) if self.is_stream else data)

    def hear(self) -> bytes:
        """The next message or datagram."""
        if not self.is_stream:
            return self.socket.recv(8192)
        while not self._ready:
            chunk = self.socket.recv(8192)
            if not chunk:
                raise ConnectionResetError
            self._ready += self._framer.feed(chunk)
        return self._ready.pop(0)

    def open_next(self) -> None:
        """The server opens its ports itself."""

    def close(self) -> None:
        self.socket.close()


class WireClient(TurnClient):
    """Keeps where its relay is."""

    def __init__(
        self,
        server: Endpoint,
        login: str = "alice",
        *,
        transport: str = "udp",
        sha256: bool = True,
    ) -> None:
        self.wire = Wire(server, transport)
        super().__init__(self.wire, login, sha256=sha256)  # type: ignore[arg-type]
        host, port, *_ = self.wire.socket.getsockname()
        self.client = Client(0, (host, port))
        self.relayed: list[Endpoint] = []

    def allocate(self, *attributes: tuple[int, bytes], opened: int = 1) -> Message:
        response = super().allocate(*attributes, opened=opened)
        self.relayed = [
            read_xor_address(value, response.transaction_id)[1]
            for value in response.all(Attribute.XOR_RELAYED_ADDRESS)
        ]
        return response

    def close(self) -> None:
        self.wire.close()
