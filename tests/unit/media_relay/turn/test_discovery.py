"""NAT behaviour discovery, RFC 5780: from where, to where and how much a Binding is answered."""

from typing import Any

import pytest

from federation.model.address import Endpoint
from federation.model.errors import ConfigError
from media_relay.stun.attributes import Attribute, Method
from media_relay.stun.message import Message
from media_relay.stun.values import address, read_xor_address, u32
from media_relay.turn.config import TurnConfig
from media_relay.turn.discovery import Discovery
from media_relay.turn.effects import Client, Reply
from media_relay.turn_config import TurnSettings
from tests.support.turn_core import Shell, TurnClient, code_of

FIRST, SECOND = "198.51.100.1", "198.51.100.2"
PLACES = {
    0: Endpoint(FIRST, 3478),
    1: Endpoint(FIRST, 3479),
    4: Endpoint(SECOND, 3478),
    5: Endpoint(SECOND, 3479),
    6: Endpoint("2001:db8::1", 3478),
    7: Endpoint("2001:db8::1", 3479),
    8: Endpoint("2001:db8::2", 3478),
    9: Endpoint("2001:db8::2", 3479),
}
CLIENT = ("203.0.113.5", 4000)
LONG = (int(Attribute.SOFTWARE), bytes(40))
CHANGE_IP, CHANGE_PORT = 4, 2


def change(flags: int) -> tuple[int, bytes]:
    return int(Attribute.CHANGE_REQUEST), u32(flags)


def asked(
    *attributes: tuple[int, bytes], listener: int = 0, address: tuple[object, ...] = CLIENT
) -> tuple[Reply | None, bytes]:
    """The answer to a Binding request, and the request."""
    shell = Shell(TurnConfig(discovery=Discovery(PLACES)))
    data = TurnClient(shell).message(Method.BINDING, attributes).encode()
    shell.take(data, Client(listener, address))
    return (shell.replies[0] if shell.replies else None), data


def told(
    *attributes: tuple[int, bytes], listener: int = 0, address: tuple[object, ...] = CLIENT
) -> tuple[Message, Client]:
    reply, data = asked(*attributes, listener=listener, address=address)
    assert reply is not None
    assert len(reply.data) <= 3 * len(data)
    return Message.decode(reply.data), reply.client


def test_an_answer_names_its_origin_and_the_other_address() -> None:
    message, client = told(LONG)
    assert client == Client(0, CLIENT)
    assert message.get(Attribute.OTHER_ADDRESS) == address(PLACES[5])
    assert message.get(Attribute.RESPONSE_ORIGIN) == address(PLACES[0])
    assert message.get(Attribute.MAPPED_ADDRESS) == address(Endpoint(*CLIENT))
    mapped = message.get(Attribute.XOR_MAPPED_ADDRESS)
    assert mapped is not None
    assert read_xor_address(mapped, message.transaction_id)[1] == CLIENT


@pytest.mark.parametrize(
    ("listener", "flags", "origin"),
    [
        (0, 0, 0),
        (0, CHANGE_PORT, 1),
        (0, CHANGE_IP, 4),
        (0, CHANGE_IP | CHANGE_PORT, 5),
        (5, CHANGE_PORT, 4),
        (5, CHANGE_IP, 1),
        (5, CHANGE_IP | CHANGE_PORT, 0),
        (1, CHANGE_IP, 5),
    ],
)
def test_an_answer_comes_from_where_it_was_asked_to(listener: int, flags: int, origin: int) -> None:
    """RFC 5780 table 1."""
    message, client = told(change(flags), LONG, listener=listener)
    assert client == Client(origin, CLIENT)
    assert message.get(Attribute.RESPONSE_ORIGIN) == address(PLACES[origin])


def test_each_family_has_its_own_places() -> None:
    message, client = told(
        change(CHANGE_IP), (Attribute.SOFTWARE, bytes(80)), listener=6, address=("2001:db8:5::5", 9)
    )
    assert client.listener == 8
    assert message.get(Attribute.OTHER_ADDRESS) == address(PLACES[9])


def test_an_answer_goes_to_the_port_that_was_named_of_the_same_ip() -> None:
    for value in (b"\x1f\x90", b"\x1f\x90\0\0"):
        _, client = told((Attribute.RESPONSE_PORT, value), LONG)
        assert client == Client(0, (CLIENT[0], 8080))


@pytest.mark.parametrize("size", [0, 16, 600, 1472])
def test_padding_is_answered_with_padding_that_the_request_has_earned(size: int) -> None:
    message, _ = told((Attribute.PADDING, bytes(size)), LONG)
    got = message.get(Attribute.PADDING)
    assert got is not None
    assert len(got) <= 1500
    assert len(got) == 1500 or size < 600


def test_a_short_request_earns_less_and_never_more_than_three_times_its_bytes() -> None:
    """Twenty bytes earn sixty: first MAPPED-ADDRESS is left out."""
    message, _ = told()
    assert message.get(Attribute.MAPPED_ADDRESS) is None
    assert message.get(Attribute.OTHER_ADDRESS) == address(PLACES[5])
    six, _ = told(listener=6, address=("2001:db8:5::5", 9))
    assert [number for number, _ in six.attributes] == [Attribute.XOR_MAPPED_ADDRESS]


@pytest.mark.parametrize(
    "wrong",
    [
        [(Attribute.CHANGE_REQUEST, b"\0\0\4")],
        [(Attribute.RESPONSE_PORT, b"\0\0\0\0")],
        [(Attribute.RESPONSE_PORT, b"\1")],
        [(Attribute.RESPONSE_PORT, b"\x1f\x90\0\0"), (Attribute.PADDING, bytes(8))],
    ],
)
def test_what_breaks_the_form_earns_400(wrong: list[tuple[int, bytes]]) -> None:
    message, client = told(*wrong)
    assert code_of(message) == 400
    assert client == Client(0, CLIENT)


def test_over_streams_and_without_a_second_address_it_is_unknown() -> None:
    for number in (Attribute.CHANGE_REQUEST, Attribute.RESPONSE_PORT, Attribute.PADDING):
        assert code_of(told((number, bytes(4)), listener=2)[0]) == 420
    message, _ = told(LONG, listener=2)
    assert [number for number, _ in message.attributes] == [Attribute.XOR_MAPPED_ADDRESS]


def test_other_requests_know_nothing_of_it() -> None:
    alice = TurnClient(Shell(TurnConfig(discovery=Discovery(PLACES))))
    assert code_of(alice.ask_to_allocate(change(CHANGE_IP))) == 420


def test_a_second_address_needs_a_first_of_its_family_and_a_port() -> None:
    wrong: list[dict[str, Any]] = [
        {"second": (SECOND,)},
        {"second": ("2001:db8::2",), "second_port": 3479},
        {"second": (FIRST,), "second_port": 3479},
        {"second": (SECOND, "198.51.100.3"), "second_port": 3479},
    ]
    for arguments in wrong:
        with pytest.raises(ConfigError, match="second: "):
            TurnSettings(hosts=(FIRST,), **arguments)
    settings = TurnSettings(hosts=("2001:db8::1", FIRST), second=(SECOND,), second_port=3479)
    assert settings.discovery_hosts == (FIRST, SECOND)
