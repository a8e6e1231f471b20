"""Reading TURN requests: attributes to values, or the error code that RFC 8656 asks for."""

from dataclasses import dataclass
from typing import Self

from federation.model.address import Endpoint
from federation.model.errors import PeerError
from media_relay.stun.attributes import Attribute, Code, Family
from media_relay.stun.message import Message, StunError
from media_relay.stun.values import (
    read_channel,
    read_even_port,
    read_family,
    read_transport,
    read_u32,
    read_xor_address,
)
from media_relay.turn.allocation import (
    DEFAULT_LIFETIME,
    HIGHEST_CHANNEL,
    LOWEST_CHANNEL,
    MAX_LIFETIME,
)

UDP = 17
TOKEN_BYTES = 8


class RequestRefused(PeerError):
    """A request is answered with this error code."""

    def __init__(self, code: Code) -> None:
        super().__init__(code.name)
        self.code = code


@dataclass(frozen=True, slots=True)
class AllocateRequest:
    """What an Allocate request asks for (RFC 8656 section 7.2)."""

    families: tuple[Family, ...]
    "One, or IPv4 and IPv6; empty with a token, whose port has its family."
    even: bool
    reserve: bool
    token: bytes | None
    lifetime: int
    "What is granted, in seconds."

    @classmethod
    def read(cls, message: Message, served: frozenset[Family]) -> Self:
        """Check in the order of the RFC; `served` are the families we have addresses of.

        Raises:
            RequestRefused: 400, 440 or 442.
        """
        try:
            return cls._read(message, served)
        except StunError as error:
            raise RequestRefused(Code.BAD_REQUEST) from error

    @classmethod
    def _read(cls, message: Message, served: frozenset[Family]) -> Self:
        transport = message.get(Attribute.REQUESTED_TRANSPORT)
        if transport is None:
            raise RequestRefused(Code.BAD_REQUEST)
        if read_transport(transport) != UDP:
            raise RequestRefused(Code.UNSUPPORTED_TRANSPORT_PROTOCOL)
        token = message.get(Attribute.RESERVATION_TOKEN)
        even = message.get(Attribute.EVEN_PORT)
        requested = message.get(Attribute.REQUESTED_ADDRESS_FAMILY)
        additional = message.get(Attribute.ADDITIONAL_ADDRESS_FAMILY)
        if token is not None and (len(token) != TOKEN_BYTES or even or requested or additional):
            raise RequestRefused(Code.BAD_REQUEST)
        reserve = even is not None and read_even_port(even)
        if additional is not None and (
            requested is not None or reserve or read_family(additional) != Family.IPV6
        ):
            raise RequestRefused(Code.BAD_REQUEST)
        families: tuple[Family, ...] = ()
        if additional is not None:
            families = Family.IPV4, Family.IPV6
        elif token is None:
            families = (cls._family(requested, served),)
        return cls(families, even is not None, reserve, token, granted(read_lifetime(message)))

    @staticmethod
    def _family(requested: bytes | None, served: frozenset[Family]) -> Family:
        number = Family.IPV4 if requested is None else read_family(requested)
        for family in served:
            if family == number:
                return family
        raise RequestRefused(Code.ADDRESS_FAMILY_NOT_SUPPORTED)


def read_lifetime(message: Message) -> int | None:
    """The LIFETIME asked for in seconds, `None` for no wish.

    Raises:
        StunError: not a number.
    """
    value = message.get(Attribute.LIFETIME)
    return None if value is None else read_u32(value)


def granted(wanted: int | None) -> int:
    """The lifetime granted, in seconds (RFC 8656 section 7.2)."""
    return min(max(wanted or DEFAULT_LIFETIME, DEFAULT_LIFETIME), MAX_LIFETIME)


def read_peers(message: Message) -> list[Endpoint]:
    """The peers of a CreatePermission or ChannelBind request, or of a Send indication.

    Raises:
        StunError: none, or one that is no address.
    """
    values = message.all(Attribute.XOR_PEER_ADDRESS)
    if not values:
        raise StunError("no peer")
    return [read_xor_address(value, message.transaction_id)[1] for value in values]


def read_channel_number(message: Message) -> int:
    """The channel of a ChannelBind request.

    Raises:
        StunError: none, or outside 0x4000 to 0x7FFF.
    """
    value = message.get(Attribute.CHANNEL_NUMBER)
    if value is None:
        raise StunError("no channel number")
    number = read_channel(value)
    if not LOWEST_CHANNEL <= number <= HIGHEST_CHANNEL:
        raise StunError("not a channel number")
    return number
