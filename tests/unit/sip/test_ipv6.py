"""The forms that IPv6 addresses take in SIP: the cases of RFC 5118, section by section."""

import pytest

from federation.model.address import Endpoint
from node.sip.message import Request, SipParseError, parse_message
from node.sip.sdp import Sdp


def request(
    uri: str = "sip:[2001:db8::10]",
    *,
    vias: tuple[str, ...] = ("SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bKas3-111",),
    contact: str = '"Caller" <sip:caller@[2001:db8::1]>',
    body: str = "",
) -> Request:
    lines = [f"INVITE {uri} SIP/2.0", f"To: <{uri}>", "From: sip:user@example.com;tag=81x2"]
    lines += [f"Via: {via}" for via in vias]
    lines += ["Call-ID: SSG9559905523997077@hlau_4100", f"Contact: {contact}", "Max-Forwards: 70"]
    lines += ["CSeq: 98176 INVITE", f"Content-Length: {len(body)}", "", body]
    message = parse_message("\r\n".join(lines).encode())
    assert isinstance(message, Request)
    message.check()
    return message


def test_4_1_a_reference_in_uri_via_and_contact() -> None:
    message = request()
    assert (message.uri.host, message.uri.port) == ("2001:db8::10", None)
    assert (message.top_via.host, message.top_via.port) == ("2001:db8::9:1", None)
    assert message.contacts[0].uri.host == "2001:db8::1"


def test_4_2_without_brackets_it_is_no_uri() -> None:
    with pytest.raises(SipParseError) as caught:
        request("sip:2001:db8::10")
    assert caught.value.status == 400
    assert caught.value.partial is not None


def test_4_3_what_is_in_the_brackets_is_the_address() -> None:
    uri = request("sip:[2001:db8::10:5070]").uri
    assert (uri.host, uri.port) == ("2001:db8::10:5070", None)


def test_4_4_what_follows_them_is_the_port() -> None:
    uri = request("sip:[2001:db8::10]:5070").uri
    assert (uri.host, uri.port) == ("2001:db8::10", 5070)


@pytest.mark.parametrize("received", ["[2001:db8::9:255]", "2001:db8::9:255"])
def test_4_5_received_comes_with_and_without_brackets(received: str) -> None:
    via = f"SIP/2.0/UDP [2001:db8::9:1];received={received};branch=z9hG4bKas3"
    message = request(vias=(via,))
    assert message.top_via.received == "2001:db8::9:255"
    assert str(message.top_via.with_received("2001:db8::7", 5060)) == (
        "SIP/2.0/UDP [2001:db8::9:1];received=2001:db8::7;branch=z9hG4bKas3"
    )


def test_4_6_and_4_8_descriptions_of_both_families() -> None:
    body = (
        "v=0\r\no=assistant 971731711378798081 0 IN IP6 2001:db8::20\r\ns=Live video\r\nt=1 2\r\n"
        "m=audio 6000 RTP/AVP 2\r\nc=IN IP6 2001:db8::20\r\n"
        "m=video 6024 RTP/AVP 107\r\nc=IN IP4 192.0.2.20\r\n"
    )
    message = request(body=body)
    audio, video = Sdp.parse(message.body).media
    assert audio.rtp_endpoint == Endpoint("2001:db8::20", 6000)
    assert video.rtp_endpoint == Endpoint("192.0.2.20", 6024)


def test_4_7_both_families_on_one_way() -> None:
    vias = (
        "SIP/2.0/UDP [2001:db8::9:1]:6050;branch=z9hG4bKas3-111",
        "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKjhja8781hjuaij65144",
        "SIP/2.0/TCP [2001:db8::9:255];branch=z9hG4bK451jj;received=192.0.2.200",
    )
    assert [via.sent_by for via in request(vias=vias).vias] == [
        "[2001:db8::9:1]:6050", "192.0.2.1", "[2001:db8::9:255]",
    ]  # fmt: skip


def test_4_9_mapped_addresses() -> None:
    message = request(
        "sip:user@example.com",
        vias=(
            "SIP/2.0/UDP [::ffff:192.0.2.10]:19823;branch=z9hG4bKbh19",
            "SIP/2.0/UDP [::ffff:192.0.2.2];branch=z9hG4bKas3-111",
        ),
        contact='"T. desk phone" <sip:ted@[::ffff:192.0.2.2]>',
        body="v=0\r\nc=IN IP6 ::ffff:192.0.2.2\r\nm=audio 6000 RTP/AVP 2\r\n",
    )
    assert message.top_via.host == "::ffff:192.0.2.10"
    assert str(message.contacts[0].uri) == "sip:ted@[::ffff:192.0.2.2]"
    assert Sdp.parse(message.body).media[0].rtp_endpoint == Endpoint("192.0.2.2", 6000)


@pytest.mark.parametrize("host", ["[2001:db8:::192.0.2.1]", "[2001:db8::192.0.2.1]"])
def test_4_10_a_surplus_colon_is_tolerated_and_passed_on(host: str) -> None:
    message = request(f"sip:user@{host}")
    assert message.uri.host == "2001:db8::192.0.2.1"
    assert f"INVITE sip:user@{host} SIP/2.0" in message.encode().decode()
