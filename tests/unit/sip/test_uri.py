"""URIs: what is read, how it is written, and when two are the same."""

import pytest

from node.sip.errors import SipParseError
from node.sip.text import MAX_PARAMS
from node.sip.uri import MAX_URI, Uri


@pytest.mark.parametrize(
    "text",
    [
        "sip:alice@example.org",
        "sips:alice@example.org:5061",
        "sip:example.org",
        "sip:192.0.2.1:5060;lr",
        "sip:[2001:db8::1]",
        "sip:[2001:db8::1]:5070;transport=tcp",
        "sip:[::ffff:192.0.2.10]",
        "sip:alice:secret@example.org",
        "sip:user;par=u%40example.net@example.com",
        "sip:sips%3Auser%40example.com@example.net",
        "sip:04721963388207*123@example.org;ob;maddr=192.0.2.3;user=phone",
        "sip:*43@example.org",
        "sip:%00@example.org",
        "sip:alice@example.org;method=REGISTER?to=alice%40example.org&Subject=",
        "sip:+1-212-555-1212:1234@gateway.example;user=phone",
        "sip:a@b.example;flag;name=va%20lue;x=[::]",
        "sip:42#7@example.org",
        "tel:+1-201-555-0123",
        "tel:7042;phone-context=example.com",
        "tel:04721963388207",
        "urn:service:sos",
        "isbn:2983792873",
        "http://www.example.com/",
    ],
)
def test_a_uri_is_written_as_it_was_read(text: str) -> None:
    assert str(Uri.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "", ":", "sip:", "sip", "sip:@example.org", "sip:alice@", "sip:a b@example.org",
        "sip:alice@example.org;", "sip:alice@example.org;=x", "sip:alice@example.org;a=",
        "sip:alice@example.org:", "sip:alice@example.org:70000", "sip:alice@example.org:5x",
        "sip:2001:db8::1", "sip:alice@2001:db8::1", "sip:[2001:db8::1", "sip:[]", "sip:[1.2.3.4]",
        "sip:[2001:db8::g]", "sip:[1:2:3:4:5:6:7:8:9]", "sip:[fe80::1%25eth0]",
        "sip:a@b@c", "sip:al%ice@example.org", "sip:al%4@example.org", "sip:<a>@example.org",
        'sip:"a"@example.org', "sip:alice@example.org?", "sip:alice@example.org?a",
        "sip:alice@exam\u00e9ple.org", "<sip:alice@example.org>", " sip:alice@example.org",
        "sip:alice@example.org ", "tel:", "tel:abc xyz", "tel:+", "1ab:x", "a/b:x", "mailto:",
        "x:a b", "sip:a\r\nb@example.org", "sip:a\x00b@example.org", "\u017fip:a@b",
    ],
)  # fmt: skip
def test_what_is_no_uri_is_refused(text: str) -> None:
    with pytest.raises(SipParseError) as caught:
        Uri.parse(text)
    assert caught.value.status == 400


def test_scheme_and_host_are_in_lower_case_the_rest_as_written() -> None:
    uri = Uri.parse("SIP:AlIcE%3a@EXAMPLE.org;Transport=TCP")
    assert (uri.scheme, uri.user, uri.host) == ("sip", "AlIcE%3a", "example.org")
    assert uri.param("transport") == "TCP"
    assert str(uri) == "sip:AlIcE%3a@example.org;Transport=TCP"


def test_parts() -> None:
    uri = Uri.parse("sip:bob:pw@[2001:DB8::1]:5070;lr;transport=tcp;maddr=192.0.2.1?a=b&c=")
    assert (uri.user, uri.password, uri.host, uri.port) == ("bob", "pw", "2001:db8::1", 5070)
    assert uri.params == (("lr", None), ("transport", "tcp"), ("maddr", "192.0.2.1"))
    assert (uri.param("lr"), uri.param("LR"), uri.param("ob")) == ("", "", None)
    assert uri.headers == (("a", "b"), ("c", ""))
    assert uri.is_sip
    tel = Uri.parse("tel:+4930123456;ext=12")
    assert (tel.scheme, tel.user, tel.host, tel.param("ext")) == ("tel", "+4930123456", "", "12")
    assert not tel.is_sip
    assert Uri.parse("urn:service:sos.police").opaque == "service:sos.police"


def test_the_user_text_resolves_escapes() -> None:
    assert Uri.parse("sip:%2A43@example.org").user_text == "*43"
    assert Uri.parse("sip:caf%C3%A9@example.org").user_text == "caf\u00e9"
    assert Uri.parse("sip:a%FF@example.org").user_text == "a\udcff"
    assert Uri.parse("sip:*43@example.org").user_text == "*43"
    assert Uri.parse("sip:example.org").user_text == ""


def test_edits_make_new_uris() -> None:
    uri = Uri.parse("sip:bob@example.org;ob;lr")
    assert str(uri.with_(user="carol", port=5070)) == "sip:carol@example.org:5070;ob;lr"
    assert str(uri.with_param("OB", "x")) == "sip:bob@example.org;OB=x;lr"
    assert str(uri.with_param("transport", "tcp")) == "sip:bob@example.org;ob;lr;transport=tcp"
    twice = Uri.parse("sip:bob@example.org;x=1;lr;X=2")
    assert str(twice.with_param("x", "3")) == "sip:bob@example.org;x=3;lr"
    assert str(uri.without_param("Lr")) == "sip:bob@example.org;ob"
    assert str(uri) == "sip:bob@example.org;ob;lr"


def test_an_address_with_a_surplus_colon_is_taken_without_it() -> None:
    """RFC 5118 4.10: the grammar of RFC 3261 permits it."""
    assert Uri.parse("sip:user@[2001:db8:::192.0.2.1]").host == "2001:db8::192.0.2.1"
    assert Uri.parse("sip:[:::192.0.2.1]").host == "::192.0.2.1"
    for other in ("[2001:db8:::10]", "[2001:db8::::192.0.2.1]", "[1:::2:192.0.2.1]", "[:::]"):
        with pytest.raises(SipParseError):
            Uri.parse(f"sip:user@{other}")


def test_lengths_and_counts_are_bounded() -> None:
    longest = "sip:" + "a" * (MAX_URI - 6) + "@b"
    assert str(Uri.parse(longest)) == longest
    with pytest.raises(SipParseError) as caught:
        Uri.parse(longest + "b")
    assert caught.value.status == 414
    assert len(Uri.parse("sip:a" + ";b" * MAX_PARAMS).params) == MAX_PARAMS
    with pytest.raises(SipParseError):
        Uri.parse("sip:a" + ";b" * (MAX_PARAMS + 1))
    headers = "&".join(["a=b"] * MAX_PARAMS)
    assert len(Uri.parse("sip:a?" + headers).headers) == MAX_PARAMS
    with pytest.raises(SipParseError):
        Uri.parse("sip:a?" + headers + "&a=b")


SAME = [
    ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
    ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
    ("sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on"),
    ("sip:carol@chicago.com", "sip:carol@chicago.com;security=on"),
    (
        "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
        "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
    ),
    (
        "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
        "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
    ),
    ("sip:a%3b@b.example", "sip:a%3B@b.example"),
    ("sip:a@b.example;lr", "sip:a@b.example;LR"),
    ("tel:+1-201-555-0123", "tel:+12015550123"),
    ("tel:7042;phone-context=example.com;a=b", "tel:70-42;A=B;phone-context=Example.Com"),
    ("urn:service:sos", "URN:service:sos"),
]
DIFFERENT = [
    ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
    ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
    ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
    ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
    ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
    ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
    ("sip:a@b.example", "sips:a@b.example"),
    ("sip:a@b.example;x=1", "sip:a@b.example;x=2"),
    ("sip:a@b.example", "sip:a@b.example;maddr=192.0.2.1"),
    ("sip:a@b.example", "sip:a@b.example;user=phone"),
    ("sip:a:1@b.example", "sip:a:2@b.example"),
    ("sip:b.example", "sip:a@b.example"),
    ("sip:a%3Bb@b.example", "sip:a;b@b.example"),
    ("tel:+12015550123", "tel:12015550123"),
    ("tel:7042;phone-context=a.example", "tel:7042"),
    ("urn:service:sos", "urn:service:sos.fire"),
]


@pytest.mark.parametrize(("left", "right"), SAME)
def test_the_same_resource(left: str, right: str) -> None:
    """The examples of RFC 3261 19.1.4 and their like."""
    assert Uri.parse(left).same_as(Uri.parse(right))
    assert Uri.parse(right).same_as(Uri.parse(left))


@pytest.mark.parametrize(("left", "right"), DIFFERENT)
def test_another_resource(left: str, right: str) -> None:
    assert not Uri.parse(left).same_as(Uri.parse(right))
    assert not Uri.parse(right).same_as(Uri.parse(left))
