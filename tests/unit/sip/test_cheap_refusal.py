"""The 503 that is made without reading the request as a message."""

import pytest

from node.sip.cheap_refusal import MAX_BYTES, RETRY_AFTER, RETRY_SPREAD, CheapRefusal
from node.sip.message import Response, parse_message
from tests.support.sip_exchange import request

HOST, PORT = "198.51.100.7", 40_123
REFUSAL = CheapRefusal(b"sixteen byte key", emergency=frozenset({"112", "911"}))


def answered(data: bytes) -> tuple[Response, int]:
    found = REFUSAL.answer(data, HOST, PORT)
    assert found is not None
    response = parse_message(found[0])
    assert isinstance(response, Response)
    response.check()
    return response, found[1]


@pytest.mark.parametrize("method", ["INVITE", "REGISTER", "MESSAGE", "SUBSCRIBE", "OPTIONS"])
def test_new_work_is_answered_503_with_what_identifies_it(method: str) -> None:
    sent = request(method, headers=[("Via", "SIP/2.0/TCP 192.0.2.1;branch=z9hG4bKx")])
    response, port = answered(sent.encode())
    assert (response.status, port) == (503, PORT)
    assert RETRY_AFTER <= int(response.get("Retry-After") or 0) < RETRY_AFTER + RETRY_SPREAD
    assert (response.call_id, response.cseq) == (sent.call_id, sent.cseq)
    assert str(response.from_) == str(sent.from_)
    assert response.to.tag
    assert [via.branch for via in response.vias] == [via.branch for via in sent.vias]
    assert response.top_via.received == HOST
    assert response.top_via.rport == PORT


def test_it_goes_to_the_port_in_the_via_where_rport_was_not_asked_for() -> None:
    response, port = answered(request(via_params="").encode())
    assert port == 5070
    assert response.top_via.received == HOST
    assert answered(request(via_params="", sent_by="192.0.2.10").encode())[1] == 5060
    assert answered(request(via_params="", sent_by="[2001:db8::1]:5071").encode())[1] == 5071


def test_compact_fields_are_read() -> None:
    data = request().encode()
    for name, short in ((b"Via", b"v"), (b"From", b"f"), (b"To", b"t"), (b"Call-ID", b"i")):
        data = data.replace(b"\r\n" + name + b":", b"\r\n" + short + b" :")
    assert answered(data)[0].status == 503


def test_a_repetition_is_answered_alike_and_others_are_spread() -> None:
    data = request().encode()
    assert REFUSAL.answer(data, HOST, PORT) == REFUSAL.answer(data, HOST, PORT)
    waits = {
        answered(request(call_id=f"call-{n}").encode())[0].get("Retry-After") for n in range(60)
    }
    assert len(waits) == RETRY_SPREAD


@pytest.mark.parametrize("method", ["ACK", "BYE", "CANCEL", "PRACK", "UPDATE", "INFO", "NOTIFY"])
def test_what_is_no_new_work_is_left(method: str) -> None:
    assert REFUSAL.answer(request(method).encode(), HOST, PORT) is None


def test_what_is_inside_a_dialog_is_left() -> None:
    assert REFUSAL.answer(request("INVITE", to_tag="bob").encode(), HOST, PORT) is None
    data = request().encode().replace(b"example.net>\r\nCall", b"example.net> ; TAG = x\r\nCall")
    assert REFUSAL.answer(data, HOST, PORT) is None


@pytest.mark.parametrize(
    ("uri", "refused"),
    [
        ("urn:service:sos", False),
        ("URN:service:sos.police", False),
        ("sip:112@example.net", False),
        ("sips:911@example.net", False),
        ("tel:112", False),
        ("sip:112;phone-context=de@example.net", False),
        ("sip:1123@example.net", True),
        ("sip:113@example.net", True),
        ("tel:1129", True),
    ],
)
def test_emergencies_are_left(uri: str, refused: bool) -> None:
    found = REFUSAL.answer(request(uri=uri).encode(), HOST, PORT)
    assert (found is not None) is refused


def test_responses_and_what_is_unusual_are_left() -> None:
    plain = request().encode()
    unusual = [
        b"SIP/2.0 200 OK\r\n\r\n",
        b"INVITE sip:a@b SIP/2.0\r\n\r\n",
        plain.replace(b"\r\nFrom:", b"\r\nSubject: a\r\n b\r\nFrom:"),
        plain.replace(b";rport\r\n", b";rport, SIP/2.0/UDP 192.0.2.1\r\n"),
        plain.replace(b"\r\nFrom:", b"\r\nFrom: <sip:x@y>\r\nFrom:"),
        plain.replace(b"5070", b"99999").replace(b";rport", b""),
        plain.replace(b"\r\n\r\n", b"\r\n"),
        request(body=b"x" * MAX_BYTES).encode(),
    ]
    for data in unusual:
        assert REFUSAL.answer(data, HOST, PORT) is None, data


def test_its_ack_is_known_and_no_other() -> None:
    tag = answered(request().encode())[0].to.tag
    assert tag is not None
    assert REFUSAL.is_own_ack(request("ACK", to_tag=tag).encode())
    assert not REFUSAL.is_own_ack(request("ACK", to_tag="bob").encode())
    assert not REFUSAL.is_own_ack(request("BYE", to_tag=tag).encode())
    assert not CheapRefusal(b"another").is_own_ack(request("ACK", to_tag=tag).encode())
