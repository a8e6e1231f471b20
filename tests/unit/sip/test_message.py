"""Messages: cutting, reading, refusing."""

import pytest

from node.sip import line
from node.sip.headers import CSeq
from node.sip.message import Request, Response, SipParseError, parse_message
from node.sip.raw import MAX_HEADER_LINES, MAX_MESSAGE
from node.sip.uri import MAX_URI
from node.sip.views import MAX_FORWARDS, MAX_VALUES

FIELDS = {
    "Via": "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKa;rport",
    "From": "<sip:alice@example.org>;tag=a",
    "To": "<sip:bob@example.org>",
    "Call-ID": "x@192.0.2.1",
    "CSeq": "1 INVITE",
    "Max-Forwards": "70",
}


def message(start: str = "INVITE sip:bob@example.org SIP/2.0", **changes: str | None) -> bytes:
    """A good INVITE, with fields replaced (`None`: left out), raw `extra` lines and a `body`."""
    extra, body = changes.pop("extra", "") or "", changes.pop("body", "") or ""
    fields: dict[str, str | None] = dict(FIELDS)
    fields.update({name.replace("_", "-"): value for name, value in changes.items()})
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value is not None)
    return f"{start}\r\n{lines}{extra}\r\n{body}".encode("utf-8", "surrogateescape")


def request(**changes: str | None) -> Request:
    parsed = parse_message(message(**changes))
    assert isinstance(parsed, Request)
    return parsed


def refused(data: bytes) -> SipParseError:
    with pytest.raises(SipParseError) as caught:
        parse_message(data).check()
    return caught.value


def test_a_request_is_read_on_demand() -> None:
    invite = request(extra="m: <sip:alice@192.0.2.1>, <sip:a@b>;q=0.1\r\nRoute: <sip:r;lr>\r\n")
    invite.check()
    assert (invite.method, invite.raw_uri) == ("INVITE", "sip:bob@example.org")
    assert invite.uri.user == "bob"
    assert invite.top_via.branch == "z9hG4bKa"
    assert (invite.from_.tag, invite.to.tag) == ("a", None)
    assert invite.call_id == "x@192.0.2.1"
    assert invite.cseq == CSeq(1, "INVITE")
    assert invite.max_forwards == 70
    assert [str(contact.uri) for contact in invite.contacts] == ["sip:alice@192.0.2.1", "sip:a@b"]
    assert [str(route.uri) for route in invite.routes] == ["sip:r;lr"]
    assert invite.record_routes == []
    assert invite.body == b""


def test_a_response_is_read() -> None:
    response = parse_message(message("sip/2.0 486 Busy Here  now"))
    assert isinstance(response, Response)
    response.check()
    assert (response.status, response.reason) == (486, "Busy Here  now")
    assert response.to.uri.user == "bob"


def test_views_are_kept_until_their_field_changes() -> None:
    invite = request()
    assert invite.from_ is invite.from_
    before = invite.from_
    invite.set("To", "<sip:carol@example.org>")
    assert invite.from_ is before
    invite.set("f", "<sip:dave@example.org>;tag=d")
    assert invite.from_.tag == "d"


def test_missing_fields_in_views() -> None:
    bare = parse_message(b"SIP/2.0 200 OK\r\nX-Y: z\r\n\r\n")
    assert [*bare.vias, *bare.contacts, *bare.routes] == []
    assert bare.max_forwards is None
    for view in ("top_via", "from_", "to", "call_id", "cseq"):
        with pytest.raises(SipParseError):
            getattr(bare, view)


def test_names_in_any_case_and_compact() -> None:
    invite = request(extra="s : Hello\r\nSUPPORTED:a\r\nk:b , c\r\nX-own:\t1 \r\nx-OWN:2\r\n")
    assert invite.get("Subject") == invite.get("s") == "Hello"
    assert invite.values("supported") == ["a", "b", "c"]
    assert invite.get_all("Supported") == ["a", "b , c"]
    assert invite.get_all("X-Own") == ["1", "2"]
    assert "l" not in invite
    assert "v" in invite
    assert invite.header_lines()[-2:] == [("x-own", "1"), ("x-own", "2")]


def test_commas_separate_only_in_lists() -> None:
    challenge = 'Digest realm="r", nonce="n"'
    answer = parse_message(
        message("SIP/2.0 401 x", WWW_Authenticate=challenge, Date="Sat, 13 Nov 2010 23:29:00 GMT")
    )
    assert answer.values("WWW-Authenticate") == [challenge]
    assert answer.values("Date") == ["Sat, 13 Nov 2010 23:29:00 GMT"]
    assert request(Subject="a, b").values("Subject") == ["a, b"]
    assert request(Allow="A,, B ,").values("Allow") == ["A", "B"]


def test_folds_become_blanks_when_read() -> None:
    invite = request(
        extra="Subject: one\r\n  two\r\n\tthree \r\n \r\n four\r\n", To="<sip:a>\r\n ;tag=t"
    )
    assert invite.get("Subject") == "one two three  four"
    assert invite.to.tag == "t"
    assert invite.encode() == message(
        extra="Subject: one\r\n  two\r\n\tthree \r\n \r\n four\r\n", To="<sip:a>\r\n ;tag=t"
    )


def test_bytes_that_are_not_utf_8_are_kept() -> None:
    data = message(Subject="caf\udce9 \u00e9", body="\udcff\udc80")
    assert parse_message(data).encode() == data
    assert parse_message(data).get("Subject") == "caf\udce9 \u00e9"


@pytest.mark.parametrize(
    ("length", "body", "expected"),
    [
        (None, "abc", b"abc"),
        ("3", "abc", b"abc"),
        ("2", "abc", b"ab"),
        ("0", "abc", b""),
        ("0003", "abc", b"abc"),
        ("3\r\nl: 3", "abc", b"abc"),
    ],
)
def test_the_body_is_as_long_as_said(length: str | None, body: str, expected: bytes) -> None:
    """RFC 3261 18.3: too much in a datagram is dropped."""
    assert request(Content_Length=length, body=body).body == expected


@pytest.mark.parametrize(
    "length", ["4", "-1", "", "x", "3 3", "+3", "3\r\nl: 2", "9" * 5000, "\u0663", "3,3"]
)
def test_a_length_that_cannot_be_is_refused(length: str) -> None:
    """By the parser already, since nobody knows where the message ends."""
    with pytest.raises(SipParseError) as caught:
        parse_message(message(Content_Length=length, body="abc"))
    assert caught.value.status == 400
    assert caught.value.partial is not None


@pytest.mark.parametrize(
    ("start", "status"),
    [
        ("INVITE sip:bob@example.org", 400),
        ("INVITE  sip:bob@example.org SIP/2.0", 400),
        ("INVITE sip:bob@example.org SIP/2.0 ", 400),
        ("INVITE sip:bob @example.org SIP/2.0", 400),
        ("INVITE\tsip:bob@example.org\tSIP/2.0", 400),
        ("INVITE sip:bob@example.org HTTP/1.1", 400),
        ("INVITE sip:bob@example.org SIP/2", 400),
        ("INVITE sip:bob@example.org SIP/3.0", 505),
        ("INVITE sip:bob@example.org \u017fip/2.0", 400),
        ("IN(VITE sip:bob@example.org SIP/2.0", 400),
        (" INVITE sip:bob@example.org SIP/2.0", 400),
        ("INVITE <sip:bob@example.org> SIP/2.0", 400),
        ("INVITE sip:bob@example.org?a=b SIP/2.0", 400),
        ("INVITE sip:bob@2001:db8::1 SIP/2.0", 400),
        ("INVITE mailto:bob@example.org SIP/2.0", 416),
        ("INVITE urn:isbn:1 SIP/2.0", 416),
        ("INVITE sip:" + "a" * MAX_URI + " SIP/2.0", 414),
        ("", 400),
        ("INVITE", 400),
        ("INVITE sip:bob@example.org SIP/2.0\r\n folded", 400),
    ],
)
def test_a_bad_request_line(start: str, status: int) -> None:
    assert refused(message(start)).status == status


@pytest.mark.parametrize("uri", ["tel:+49301234", "urn:service:sos", "sips:a@b", "sip:[::1]"])
def test_request_uris_a_proxy_knows(uri: str) -> None:
    parse_message(message(f"INVITE {uri} SIP/2.0")).check()


@pytest.mark.parametrize(
    "start",
    ["SIP/2.0", "SIP/2.0 20 OK", "SIP/2.0 2000 OK", "SIP/2.0 099 x", "SIP/2.0 700 x",
     "SIP/2.0 4294967301 x", "SIP/3.0 200 OK", "SIP/2.0  200 OK", "SIP/2.0 +20 OK"],
)  # fmt: skip
def test_a_bad_status_line_has_nobody_to_tell(start: str) -> None:
    error = refused(message(start))
    assert (error.status, error.partial) == (400, None)


def test_a_status_line_without_reason() -> None:
    assert parse_message(message("SIP/2.0 200")).encode() == message("SIP/2.0 200")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("Via", None), ("Via", ""), ("Via", "SIP/2.0/UDP a;;b"), ("Via", "SIP/2.0/UDP a,"),
        ("From", None), ("From", "<sip:a"), ("To", None), ("To", '"a <sip:a>'),
        ("To", "a, <sip:b>"),
        ("Call-ID", None), ("Call-ID", ""), ("Call-ID", "a b"), ("CSeq", None), ("CSeq", "1"),
        ("CSeq", "1 BYE"), ("CSeq", "2147483648 INVITE"), ("Max-Forwards", "256"),
        ("Max-Forwards", "-1"), ("Max-Forwards", ""), ("Max-Forwards", "9" * 60_000),
        ("Contact", "<sip:a>,,<sip:b>"), ("Contact", "sip:a?b=c"), ("Contact", "*, <sip:a>"),
        ("Route", "sip:a;lr"), ("Route", ""), ("Record-Route", "<sip:a"),
    ],
)  # fmt: skip
def test_a_bad_field_is_refused(field: str, value: str | None) -> None:
    assert refused(message(**{field: value})).status == 400


@pytest.mark.parametrize(
    "line",
    ["To: <sip:x>", "t: <sip:x>", "f: <sip:x>", "i: y", "CSeq: 1 INVITE", "Max-Forwards: 70",
     "Content-Type: a/b\r\nc: a/b", "Refer-To: <sip:a>\r\nr: <sip:b>"],
)  # fmt: skip
def test_a_second_one_of_a_kind_is_refused(line: str) -> None:
    """RFC 4475 3.3.8."""
    assert refused(message(extra=line + "\r\n")).status == 400


def test_harmless_repetition_passes() -> None:
    parse_message(message(extra="User-Agent: a\r\nUser-Agent: b\r\nSubject: \r\ns: x\r\n")).check()


@pytest.mark.parametrize("line", ["no colon", ": empty", "a b: c", "a\x00: c", "caf\u00e9: c"])
def test_a_bad_header_line_is_refused(line: str) -> None:
    error = refused(message(extra=line + "\r\n"))
    assert error.status == 400


@pytest.mark.parametrize("end", ["\n", "\r", "\n\r"])
def test_a_bare_line_end_is_refused(end: str) -> None:
    """It could hide a header field from one reader and show it to the next."""
    error = refused(message(Subject=f"a{end}Route: <sip:evil;lr>"))
    assert error.status == 400
    assert error.partial is not None
    assert "evil" not in Response.answering(error.partial, 400).encode().decode()
    refused(message(To=f"<sip:a>{end}Via: x"))


def test_no_end_of_the_header_section() -> None:
    whole = message()
    for cut in range(len(whole)):
        assert refused(whole[:cut]).status == 400


def test_line_ends_before_a_message_are_skipped() -> None:
    assert parse_message(b"\r\n\r\n\n" + message()).encode() == message()


def test_sizes_are_bounded() -> None:
    room = MAX_MESSAGE - len(message())
    assert len(parse_message(message(body="x" * room)).body) == room
    too_large = refused(message(body="x" * (room + 1)))
    assert too_large.status == 513
    assert too_large.partial is not None
    fill = MAX_HEADER_LINES - len(FIELDS)
    parse_message(message(extra="X-Y: z\r\n" * fill)).check()
    assert refused(message(extra="X-Y: z\r\n" * (fill + 1))).status == 513


@pytest.mark.parametrize(
    ("field", "value"),
    [("Via", "SIP/2.0/UDP a"), ("Contact", "<sip:a>"), ("Route", "<sip:a>"),
     ("Record-Route", "<sip:a>")],
)  # fmt: skip
def test_lists_are_bounded(field: str, value: str) -> None:
    parse_message(message(**{field: ",".join([value] * MAX_VALUES)})).check()
    assert refused(message(**{field: ",".join([value] * (MAX_VALUES + 1))})).status == 400
    spread = f"{field}: {value}\r\n" * MAX_VALUES
    assert refused(message(**{field: value}, extra=spread)).status == 400


def test_max_forwards_is_bounded() -> None:
    assert request(Max_Forwards=str(MAX_FORWARDS)).max_forwards == MAX_FORWARDS
    assert request(Max_Forwards="0").max_forwards == 0


def test_a_star_contact() -> None:
    register = parse_message(message("REGISTER sip:a SIP/2.0", CSeq="1 REGISTER", Contact="*"))
    register.check()
    assert register.is_star_contact
    assert not register.contacts


def test_an_ack_is_never_answered() -> None:
    error = refused(message("ACK sip:a SIP/2.0", CSeq="1 INVITE"))
    assert error.partial is None
    assert refused(message("ACK sip:a HTTP/1.0", CSeq="1 ACK")).partial is None


def test_errors_found_in_a_view_can_be_answered() -> None:
    invite = request(Max_Forwards="x")
    with pytest.raises(SipParseError) as caught:
        _ = invite.max_forwards
    assert caught.value.partial is invite


def test_lines_are_remembered_within_bounds() -> None:
    """Short lines are shared by the messages that hold them; neither long nor many are kept."""
    first, second = request(Subject="s"), request(Subject="s")
    assert first.line("subject") is second.line("subject")
    long = "l" * line.OFTEN_LENGTH
    assert request(Subject=long).line("subject") is not request(Subject=long).line("subject")
    for number in range(2 * line.REMEMBERED_LINES):
        line.read_lines([f"X: {number}"])
        assert len(line._memory) <= line.REMEMBERED_LINES
    assert request(Subject="s").line("subject") is not first.line("subject")


def test_a_line_that_is_needed_is_remembered_longer_than_others() -> None:
    kept = request(Subject="needed").line("subject")
    for number in range(2 * line.REMEMBERED_LINES):
        line.read_lines([f"X: {number}"])
        if number % 1000 == 0:
            assert request(Subject="needed").line("subject") is kept
