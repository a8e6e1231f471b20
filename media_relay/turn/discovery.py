"""NAT behaviour discovery (RFC 5780): Binding answered from, or to, another address or port.

It takes two addresses with two ports each, four places in all, so it is there only where the
machine has a second address. A client asks from one place to be answered from another, which tells
what its NAT lets in. Nothing here is remembered, and nobody but the sender's IP is ever answered.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from federation.model.address import Endpoint
from media_relay.stun.attributes import Attribute
from media_relay.stun.message import Message, StunError
from media_relay.stun.values import address, read_u32
from media_relay.turn.effects import Client

ATTRIBUTES = frozenset(
    int(one) for one in (Attribute.CHANGE_REQUEST, Attribute.PADDING, Attribute.RESPONSE_PORT)
)
"Of requests; understood only where there are four places."
MTU = 1500
"Bytes of PADDING in an answer, if the request is long enough to earn so many."
_CHANGE_IP, _CHANGE_PORT = 4, 2

_Attributes = list[tuple[int, bytes]]


@dataclass(frozen=True, slots=True)
class BehaviourRequest:
    """What a Binding request asks beyond its own address."""

    change_ip: bool = False
    change_port: bool = False
    response_port: int | None = None
    has_padding: bool = False

    @classmethod
    def read(cls, message: Message) -> Self:
        """Read it; RFC 5780 section 6.1.

        Raises:
            StunError: an attribute of the wrong size, or two that exclude each other; 400.
        """
        change = message.get(Attribute.CHANGE_REQUEST)
        flags = 0 if change is None else read_u32(change)
        has_padding = message.get(Attribute.PADDING) is not None
        response_port = _read_port(message.get(Attribute.RESPONSE_PORT))
        if has_padding and response_port is not None:
            raise StunError("PADDING and RESPONSE-PORT exclude each other")
        return cls(bool(flags & _CHANGE_IP), bool(flags & _CHANGE_PORT), response_port, has_padding)


class Discovery:
    """The places of one pool, by listener; empty where there is no second address."""

    def __init__(self, places: Mapping[int, Endpoint] | None = None) -> None:
        self._places = dict(places or {})
        self._listeners = {place: listener for listener, place in self._places.items()}

    def serves(self, client: Client) -> bool:
        """Whether a client talks to one of the places; only over UDP."""
        return client.listener in self._places

    def answer(self, request: BehaviourRequest, client: Client) -> tuple[_Attributes, Client]:
        """What is added to a success, and whence and whither it goes.

        In the order in which they can be spared.
        """
        here = self._places[client.listener]
        other = self._other(here)
        origin = Endpoint(
            other.host if request.change_ip else here.host,
            other.port if request.change_port else here.port,
        )
        attributes: _Attributes = [
            (Attribute.OTHER_ADDRESS, address(other)),
            (Attribute.RESPONSE_ORIGIN, address(origin)),
            (Attribute.MAPPED_ADDRESS, address(client.endpoint)),
        ]
        target = client.address
        if request.response_port is not None:
            target = (target[0], request.response_port, *target[2:])
        return attributes, Client(self._listeners[origin], target)

    def _other(self, here: Endpoint) -> Endpoint:
        """Of the same family, with another address and another port."""
        return next(
            place
            for place in self._listeners
            if place.is_ipv6 is here.is_ipv6 and place.host != here.host and place.port != here.port
        )


def padding(room: int) -> _Attributes:
    """A PADDING attribute that takes `room` bytes at most."""
    size = min(MTU, room - 4) & ~3
    return [(Attribute.PADDING, bytes(size))] if size > 0 else []


def _read_port(value: bytes | None) -> int | None:
    if value is None:
        return None
    if len(value) not in (2, 4) or not (port := int.from_bytes(value[:2], "big")):
        raise StunError("not a port")
    return port
