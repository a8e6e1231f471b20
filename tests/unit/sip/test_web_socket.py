"""SIP over WebSocket (RFC 7118): who is let in, and what a frame means."""

import pytest

from federation.model.clocks import Monotonic
from node.sip.web_socket import (
    FRAMES_PER_SECOND,
    MAX_FRAMES_AT_ONCE,
    NOT_SIP,
    TOO_FAST,
    Ended,
    FrameReader,
    KeepAlive,
    Message,
    refusal,
)
from tests.support.sip_exchange import request as sip_request

HOST = "node.example.org:8060"
OPTIONS = sip_request("OPTIONS").encode()


def at(seconds: float) -> Monotonic:
    return Monotonic(100.0 + seconds)


def a_reader() -> FrameReader:
    return FrameReader(now=at(0))


@pytest.mark.parametrize("protocols", [["sip"], ["chat, SIP"], ["chat", "sip"]])
def test_the_subprotocol_is_among_those_offered(protocols: list[str]) -> None:
    assert refusal(protocols, None, HOST) is None


@pytest.mark.parametrize("protocols", [[], [""], ["sips"], ["chat, xmpp"]])
def test_without_the_subprotocol_there_is_no_connection(protocols: list[str]) -> None:
    refused = refusal(protocols, None, HOST)
    assert refused is not None
    assert refused.status == 400
    assert "subprotocol sip" in refused.reason


@pytest.mark.parametrize(
    "origin", ["http://node.example.org:8060", "https://Node.Example.org:8060"]
)
def test_pages_of_this_node_may_connect(origin: str) -> None:
    assert refusal(["sip"], origin, HOST) is None


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example", "http://node.example.org", "http://node.example.org:8061", "null",
        "file://node.example.org:8060", "http://[", "http://user@node.example.org:8060", "",
        "http://" + "a" * 9000,
    ],
)  # fmt: skip
def test_pages_of_others_may_not(origin: str) -> None:
    refused = refusal(["sip"], origin, HOST)
    assert refused is not None
    assert refused.status == 403
    assert "sip.web_origins" in refused.reason
    assert len(refused.reason) < 400


def test_unless_the_operator_named_them() -> None:
    assert refusal(["sip"], "https://Phone.example", HOST, ["https://phone.example"]) is None
    assert refusal(["sip"], "https://other.example", HOST, ["https://phone.example"]) is not None


def test_a_frame_is_a_message_whatever_line_ends_come_before() -> None:
    reader = a_reader()
    assert reader.receive(OPTIONS, now=at(0)) == Message(OPTIONS)
    assert reader.receive(b"\r\n\r\n" + OPTIONS, now=at(0)) == Message(OPTIONS)


def test_a_ping_gets_a_pong_and_a_pong_nothing() -> None:
    reader = a_reader()
    assert reader.receive(b"\r\n\r\n", now=at(0)) == KeepAlive(b"\r\n")
    for nothing in (b"\r\n", b"", b"\r\n\r\n\r\n"):
        assert reader.receive(nothing, now=at(0)) == KeepAlive(b"")


@pytest.mark.parametrize("payload", [b"\0\1", b"{}", "ä".encode(), b" INVITE sip:x SIP/2.0"])
def test_what_is_no_sip_ends_the_connection(payload: bytes) -> None:
    reader = a_reader()
    assert reader.receive(payload, now=at(0)) == Ended(NOT_SIP, "not a SIP message")
    assert isinstance(reader.receive(OPTIONS, now=at(9)), Ended)


def test_more_frames_a_second_than_allowed_end_it() -> None:
    """Keepalives count as well; what was not used is saved up, to the burst at most."""
    reader = a_reader()
    for _ in range(MAX_FRAMES_AT_ONCE):
        assert reader.receive(b"\r\n", now=at(0)) == KeepAlive(b"")
    for _ in range(int(FRAMES_PER_SECOND)):
        assert reader.receive(OPTIONS, now=at(1)) == Message(OPTIONS)
    for _ in range(MAX_FRAMES_AT_ONCE):
        assert reader.receive(OPTIONS, now=at(1000)) == Message(OPTIONS)
    too_fast = Ended(TOO_FAST, "too many messages a second")
    assert reader.receive(OPTIONS, now=at(1000)) == too_fast
    assert reader.receive(OPTIONS, now=at(2000)) == too_fast
