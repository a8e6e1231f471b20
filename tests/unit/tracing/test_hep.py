"""HEP packets say what passed, between whom and when; secrets do not leave the node."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.model.address import Endpoint
from node.config import Config, SettingError
from node.trace_config import HepConfig
from node.tracing.hep import MAX_PACKET, TCP, UDP, Agent, encode
from node.tracing.masking import masked_bytes
from tests.support.hep import read_hep


def packet(payload: bytes = b"OPTIONS", **changes: Any) -> dict[str, Any]:
    given_: dict[str, Any] = {
        "source": Endpoint("192.0.2.9", 5062),
        "destination": Endpoint("192.0.2.1", 5060),
        "ip_protocol": UDP,
        "at": 1_800_000_000.25,
        "correlation_id": b"c@x",
        "agent": Agent(42),
    }
    return read_hep(encode(payload, **(given_ | changes)))


def test_a_packet_says_everything() -> None:
    assert packet() == {
        "family": 4,
        "protocol": "UDP",
        "source": "192.0.2.9",
        "destination": "192.0.2.1",
        "source_port": 5062,
        "destination_port": 5060,
        "seconds": 1_800_000_000,
        "microseconds": 250_000,
        "type": 1,
        "agent": 42,
        "correlation": b"c@x",
        "payload": b"OPTIONS",
    }


def test_ipv6_streams_and_a_password() -> None:
    found = packet(
        source=Endpoint("2001:db8::1", 1),
        destination=Endpoint("2001:db8::2", 65535),
        ip_protocol=TCP,
        agent=Agent(0xFFFFFFFF, "pässword"),
    )
    assert (found["family"], found["protocol"], found["key"]) == (6, "TCP", "pässword")
    assert (found["source"], found["destination_port"]) == ("2001:db8::2"[:-1] + "1", 65535)
    assert found["agent"] == 0xFFFFFFFF


@given(st.floats(0, 2**32 - 1))
def test_any_instant_is_told_to_the_microsecond(at: float) -> None:
    found = packet(at=at)
    assert abs(found["seconds"] + found["microseconds"] / 1e6 - at) < 1e-6
    assert found["microseconds"] < 1_000_000


def test_a_message_without_end_is_cut() -> None:
    found = packet(b"x" * 70_000, correlation_id=b"c" * 512)
    assert MAX_PACKET - 700 < len(found["payload"]) < MAX_PACKET


def test_what_has_no_secrets_is_sent_byte_for_byte() -> None:
    data = b"BYE sip:x SIP/2.0\r\nVia: v\r\nContent-Length: 0\r\n\r\n"
    assert masked_bytes(data) is data


def test_secrets_do_not_leave_and_the_length_is_that_of_what_does() -> None:
    body = "v=0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:secretsecretsecret|2^20\r\n"
    data = (
        'INVITE sip:x SIP/2.0\r\nAuthorization: Digest username="a", response="secret"\r\n'
        f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    )
    head, _, sent = masked_bytes(data.encode()).partition(b"\r\n\r\n")
    assert b"secret" not in head + sent
    assert b'username="a", response=***' in head
    assert f"Content-Length: {len(sent)}".encode() in head.split(b"\r\n")
    assert sent.startswith(b"v=0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:***|2^20\r\n")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("homer.example.org", ("homer.example.org", 9060)),
        ("192.0.2.1:9063", ("192.0.2.1", 9063)),
        ("[2001:db8::1]", ("2001:db8::1", 9060)),
        ("[2001:db8::1]:1", ("2001:db8::1", 1)),
    ],
)
def test_a_server_is_named_with_or_without_port(text: str, found: tuple[str, int]) -> None:
    assert HepConfig(server=text).endpoint == found


@pytest.mark.parametrize(
    "text", ["", ":1", "a:", "a:0", "a:70000", "a:b", "::1", "[::1", "[::1]x", "a b", "u@h", "ü"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match=r"hep\.server"):
        HepConfig(server=text)


def test_the_password_is_not_shown() -> None:
    shown = Config(hep=HepConfig(server="h", password="quite-secret")).as_dict()
    assert "quite-secret" not in str(shown)
    assert shown["hep"]["password"] == "(set)"
    with pytest.raises(SettingError) as refused:
        HepConfig(password="s" * 300)
    assert "sss" not in str(refused.value)
