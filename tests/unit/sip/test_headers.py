"""Via, name-addr fields and CSeq."""

import pytest

from node.sip.errors import SipParseError
from node.sip.headers import MAX_CSEQ, CSeq, NameAddr, Via
from node.sip.text import MAX_PARAMS, first_value_end, quote, split_values, unquote
from node.sip.uri import MAX_URI, Uri


@pytest.mark.parametrize(
    ("text", "display", "uri", "params"),
    [
        ("<sip:a@b>", "", "sip:a@b", ()),
        ("sip:a@b", "", "sip:a@b", ()),
        ("sip:a@b ; tag = x", "", "sip:a@b", (("tag", "x"),)),
        ("Bob <sip:a@b;lr>;tag=x;ob", "Bob", "sip:a@b;lr", (("tag", "x"), ("ob", None))),
        ("caller<sip:a@b>", "caller", "sip:a@b", ()),
        ("Bob  of B <sip:a@b>", "Bob  of B", "sip:a@b", ()),
        ('"A \\"q\\" \\\\" <sip:a@b>', 'A "q" \\', "sip:a@b", ()),
        ('"a, <b>;" <sip:a@b>;x="c;d,\\""', "a, <b>;", "sip:a@b", (("x", '"c;d,\\""'),)),
        ('"" <sip:a@b>', "", "sip:a@b", ()),
        ("<sip:a@b?Route=%3Csip:c%3E>", "", "sip:a@b?Route=%3Csip:c%3E", ()),
        ("<name:John_Smith>", "", "name:John_Smith", ()),
        ("isbn:2983792873;tag=1", "", "isbn:2983792873", (("tag", "1"),)),
        ("100@home <sip:a@b>", "100@home", "sip:a@b", ()),
        ('<sip:a@b>;+sip.instance="<urn:uuid:1>"', "", "sip:a@b",
         (("+sip.instance", '"<urn:uuid:1>"'),)),
    ],
)  # fmt: skip
def test_a_name_addr_is_read(
    text: str, display: str, uri: str, params: tuple[tuple[str, str | None], ...]
) -> None:
    value = NameAddr.parse(text)
    assert value == NameAddr(display, Uri.parse(uri), params)
    assert NameAddr.parse(str(value)) == value


@pytest.mark.parametrize(
    "text",
    [
        "", "<>", "<sip:a@b", "sip:a@b>", '"Bob <sip:a@b>', "Bell, A <sip:a@b>", "< sip:a@b>",
        "<sip:a@b >", "sip:a@b?x=y", "sip:a@b,c", "<sip:a@b>x", "<sip:a@b>;", "<sip:a@b>;;a",
        "<sip:a@b>;a=", '<sip:a@b>;a="', "<sip:a@b> <sip:c@d>", "*", '"a"', ";tag=x", "<a b:c>",
    ],
)  # fmt: skip
def test_what_is_no_name_addr_is_refused(text: str) -> None:
    with pytest.raises(SipParseError) as caught:
        NameAddr.parse(text)
    assert caught.value.status == 400


def test_name_addr_parameters() -> None:
    value = NameAddr.parse('<sip:a@b>;Tag=x;q=0.5;name="a \\"b\\""')
    assert value.tag == "x"
    assert value.param("NAME") == 'a "b"'
    assert str(value.with_param("tag", "y")) == '<sip:a@b>;tag=y;q=0.5;name="a \\"b\\""'
    assert str(value.without_param("tag").without_param("name")) == "<sip:a@b>;q=0.5"
    assert NameAddr.parse("<sip:a@b>").tag is None
    assert NameAddr.parse("<sip:a@b>").with_param("ob").params == (("ob", None),)


def test_a_display_name_is_quoted_when_written() -> None:
    assert str(NameAddr('A "b" \\', Uri.parse("sip:a@b"))) == '"A \\"b\\" \\\\" <sip:a@b>'


def test_a_long_uri_in_a_field_is_a_bad_request() -> None:
    """414 speaks of the Request-URI alone."""
    with pytest.raises(SipParseError) as caught:
        NameAddr.parse("<sip:" + "a" * MAX_URI + ">")
    assert caught.value.status == 400


@pytest.mark.parametrize("form", ["<sip:a>%s", '<sip:a>%s;q="1"'])
def test_parameters_are_counted(form: str) -> None:
    room = MAX_PARAMS - form.count("q=")
    assert len(NameAddr.parse(form % (";a=b" * room)).params) == MAX_PARAMS
    with pytest.raises(SipParseError):
        NameAddr.parse(form % (";a=b" * (room + 1)))


def test_a_via_is_read() -> None:
    via = Via.parse("SIP / 2.0 / udp  Example.ORG : 5061 ; branch = z9hG4bKx ;rport; a=b")
    assert via == Via(
        "UDP", "example.org", 5061, (("branch", "z9hG4bKx"), ("rport", None), ("a", "b"))
    )
    assert via.branch == "z9hG4bKx"
    assert via.has_cookie
    assert via.sent_by == "example.org:5061"
    assert str(via) == "SIP/2.0/UDP example.org:5061;branch=z9hG4bKx;rport;a=b"
    assert Via.parse("sip/2.0/QUIC key.ringmesh.alt").transport == "QUIC"


@pytest.mark.parametrize(
    "text",
    [
        "", "SIP/2.0/UDP", "SIP/2.0/UDP ", "SIP/1.0/UDP a", "SIP/2.0 a", "SIP/2.0/UDP a b",
        "SIP/2.0/UDP a:", "SIP/2.0/UDP a:x", "SIP/2.0/UDP a:70000", "SIP/2.0/UDP a;",
        "SIP/2.0/UDP a;;b", "SIP/2.0/UDP [::1", "SIP/2.0/UDP ::1", "SIP/2.0/UDP [1.2.3.4]",
        "SIP/2.0/UDP a;branch=", "SIP/2.0/UDP a,b", "HTTP/2.0/UDP a", "\u017fip/2.0/udp a",
    ],
)  # fmt: skip
def test_what_is_no_via_is_refused(text: str) -> None:
    with pytest.raises(SipParseError):
        Via.parse(text)


@pytest.mark.parametrize("received", ["[2001:db8::9:255]", "2001:db8::9:255"])
def test_an_ipv6_via(received: str) -> None:
    """RFC 5118 4.5: received comes with and without brackets."""
    via = Via.parse(f"SIP/2.0/UDP [2001:db8::9:1]:5060;received={received};branch=z9hG4bKas3-111")
    assert (via.host, via.port, via.received) == ("2001:db8::9:1", 5060, "2001:db8::9:255")
    assert str(via).startswith("SIP/2.0/UDP [2001:db8::9:1]:5060;")


def test_noting_where_a_request_came_from() -> None:
    """RFC 3261 18.2.1 and RFC 3581 4, whatever the sender wrote there itself."""
    plain = Via.parse("SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx")
    assert plain.with_received("192.0.2.1", 9) is plain
    assert str(plain.with_received("192.0.2.9", 9)) == f"{plain};received=192.0.2.9"
    asking = Via.parse("SIP/2.0/UDP 192.0.2.1;rport;branch=z9hG4bKx")
    noted = asking.with_received("192.0.2.1", 4711)
    assert str(noted) == "SIP/2.0/UDP 192.0.2.1;rport=4711;branch=z9hG4bKx;received=192.0.2.1"
    assert (noted.received, noted.rport, noted.wants_rport) == ("192.0.2.1", 4711, True)
    lying = Via.parse("SIP/2.0/UDP 192.0.2.1;received=203.0.113.5;rport=99")
    assert str(lying.with_received("192.0.2.2", 7)) == (
        "SIP/2.0/UDP 192.0.2.1;received=192.0.2.2;rport=7"
    )
    forged = Via.parse("SIP/2.0/UDP 192.0.2.1;received=203.0.113.5")
    assert str(forged.with_received("192.0.2.1", 7)) == "SIP/2.0/UDP 192.0.2.1"


@pytest.mark.parametrize("value", ["0", "65536", "x", "123456", "-1", "\u0661"])
def test_an_impossible_rport_is_none(value: str) -> None:
    assert Via.parse("SIP/2.0/UDP a").with_param("rport", value).rport is None


def test_via_parameters() -> None:
    via = Via.parse("SIP/2.0/TCP a;maddr=[2001:DB8::1];ttl=1;branch=z9hG4bK")
    assert via.maddr == "2001:db8::1"
    assert via.param("TTL") == "1"
    assert not via.has_cookie
    assert str(via.without_param("maddr").without_param("ttl")) == "SIP/2.0/TCP a;branch=z9hG4bK"


def test_a_cseq_is_read() -> None:
    assert CSeq.parse("0009 \t INVITE") == CSeq(9, "INVITE")
    assert CSeq.parse(f"{MAX_CSEQ} BYE") == CSeq(MAX_CSEQ, "BYE")
    assert str(CSeq(0, "ACK")) == "0 ACK"


@pytest.mark.parametrize(
    "text", ["", "1", "INVITE", "1INVITE", "-1 INVITE", "1 INV ITE", "1 a/b", f"{MAX_CSEQ + 1} A",
             "9" * 60_000 + " A", "\u0661 INVITE"],
)  # fmt: skip
def test_what_is_no_cseq_is_refused(text: str) -> None:
    with pytest.raises(SipParseError):
        CSeq.parse(text)


def test_lists_are_split_where_a_comma_separates() -> None:
    text = ' "a,b" <sip:c,d@e> ; x="," , , <sip:f>,g'
    assert split_values(text) == ['"a,b" <sip:c,d@e> ; x=","', "", "<sip:f>", "g"]
    assert first_value_end(text) == text.index(" , ,") + 1
    assert split_values("a , b") == ["a", "b"]
    assert split_values("") == [""]
    assert split_values('a, "b, c') == ["a", '"b, c']
    assert split_values("a, <b, c") == ["a", "<b, c"]
    assert split_values("a,b,c", 2) == ["a", "b"]
    assert split_values('"a",b,c', 2) == ['"a"', "b"]


def test_quoting_and_back() -> None:
    assert quote('a"b\\c') == '"a\\"b\\\\c"'
    assert unquote(quote('a"b\\c')) == 'a"b\\c'
    assert unquote("plain") == "plain"
    assert unquote('"') == '"'
