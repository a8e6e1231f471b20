"""A stranger that speaks to one directory frame by frame."""

from dht import canonical, messages
from dht.frame import NO_COOKIE, Frame, FrameType, padding_for
from dht.messages import Ping
from dht.overlay_id import overlay_id
from federation.model.address import Endpoint
from federation.model.identity import NodeKey
from tests.support.dht_network import TESTNET, MemoryNode

STRANGER = NodeKey(bytes([77]) * 32)
THERE = Endpoint("9.9.9.7", 9999)


class Wire:
    """A stranger's side: builds frames and keeps what came back."""

    def __init__(self, node: MemoryNode, key: NodeKey = STRANGER) -> None:
        self.node, self.key = node, key
        self.id = overlay_id(key.id, bytes(8), TESTNET)
        self.sent = 0
        self.got: list[bytes] = []
        node.network.tap = self._tap

    def _tap(self, data: bytes, source: Endpoint, to: Endpoint) -> None:
        if source == self.node.endpoint:
            self.got.append(data)

    def request(
        self,
        request: messages.Request,
        *,
        cookie: bytes = NO_COOKIE,
        to: bytes | None = None,
        source: Endpoint = THERE,
        key: NodeKey | None = None,
    ) -> list[Frame]:
        signer = key or self.key
        body = canonical.pack(request.body())
        body += bytes(padding_for(len(body), has_cookie=cookie != NO_COOKIE))
        frame = Frame(
            type=FrameType.REQUEST,
            txid=b"12345678",
            sender=self.key.id,
            nonce=bytes(8),
            to=bytes(self.node.directory.own_id) if to is None else to,
            cookie=cookie,
            body=body,
        )
        return self.raw(frame.signed(signer, TESTNET), source)

    def raw(self, data: bytes, source: Endpoint = THERE) -> list[Frame]:
        self.got.clear()
        self.sent = len(data)
        self.node.directory.datagram_received(data, source)
        return [Frame.parse(data) for data in self.got]

    def cookie(self, source: Endpoint = THERE) -> bytes:
        (reply,) = self.request(Ping(0), source=source)
        return messages.parse_part(reply.body).observed.cookie
