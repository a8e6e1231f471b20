"""A request as a datagram: sealed where it names something, padded, signed."""

from dataclasses import replace
from typing import Any

from dht import canonical
from dht.frame import NO_COOKIE, UNKNOWN_RECIPIENT, Frame, FrameError, FrameType, padding_for
from dht.messages import FindNode, Get, Request, Store
from dht.pending import Pending
from dht.sealing import SEAL_OVERHEAD, RequestSeal
from dht.table import Contact
from federation.model.clocks import Entropy
from federation.model.identity import NodeKey
from federation.model.network import Network


class RequestWriter:
    """Writes the requests of one node."""

    def __init__(self, *, key: NodeKey, nonce: bytes, network: Network, entropy: Entropy) -> None:
        self._key, self._nonce, self._network = key, nonce, network
        self._entropy = entropy

    def write(self, pending: Pending[Any], contact: Contact | None) -> bytes:
        """The datagram of a request with its cookie; its seal is noted in `pending`."""
        request, pending.seal = pending.request, None
        if _is_private(request) and contact is not None and contact.seal_key:
            try:
                pending.seal = RequestSeal(contact.seal_key, entropy=self._entropy)
            except FrameError:
                contact.seal_key = None
        body = canonical.pack(request.body())
        length = len(body) + (0 if pending.seal is None else SEAL_OVERHEAD)
        body += bytes(padding_for(length, has_cookie=pending.cookie != NO_COOKIE))
        frame = Frame(
            type=FrameType.REQUEST,
            txid=pending.txid,
            sender=self._key.id,
            nonce=self._nonce,
            to=UNKNOWN_RECIPIENT if pending.recipient is None else bytes(pending.recipient),
            cookie=pending.cookie,
            body=body,
            sealed=pending.seal is not None,
        )
        if pending.seal is not None:
            frame = replace(frame, body=pending.seal.seal(body, frame.header))
        return frame.signed(self._key, self._network)


def _is_private(request: Request) -> bool:
    """Whether a body names something that is looked up or published."""
    return isinstance(request, Get | Store) or (
        isinstance(request, FindNode) and request.radius is not None
    )
