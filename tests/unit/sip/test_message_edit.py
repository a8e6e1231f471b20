"""Editing, making and answering messages: nothing but what was asked for changes."""

import pytest

from federation.model.errors import UsageError
from node.sip.message import Request, Response, parse_message
from node.sip.uri import Uri

START = "INVITE sip:bob@example.org SIP/2.0\r\n"
HEAD = (
    'v : SIP / 2.0/UDP  a ;branch=z9hG4bK1 ,\r\n  SIP/2.0/TCP b;x=","  ,SIP/2.0/TLS c\r\n'
    "f: <sip:a@b>;tag=1\r\nt:<sip:c@d>\r\nCall-ID:x\r\nX-A: 1\r\nCSEQ: 1 INVITE\r\nx-a: 2\r\n"
    "Route: <sip:r1;lr>,<sip:r2;lr>\r\nl:0\r\n"
)


def request(head: str = HEAD) -> Request:
    parsed = parse_message((START + head + "\r\n").encode())
    assert isinstance(parsed, Request)
    return parsed


def head_of(message: Request) -> str:
    data = message.encode().decode()
    assert data.startswith(message.start_line + "\r\n")
    assert data.endswith("\r\n\r\n")
    return data[len(message.start_line) + 2 : -2]


def test_set_replaces_where_the_first_was() -> None:
    message = request()
    message.set("X-A", "new")
    assert head_of(message) == HEAD.replace("X-A: 1", "X-A: new").replace("x-a: 2\r\n", "")


def test_set_finds_compact_names_and_appends_new_ones() -> None:
    message = request()
    message.set("To", "<sip:e@f>")
    message.set("Subject", "s")
    assert head_of(message) == HEAD.replace("t:<sip:c@d>", "To: <sip:e@f>") + "Subject: s\r\n"


def test_remove_takes_all_of_a_name() -> None:
    message = request()
    message.remove("x-A")
    message.remove("Absent")
    assert head_of(message) == HEAD.replace("X-A: 1\r\n", "").replace("x-a: 2\r\n", "")


def test_prepend_goes_above_its_like_or_to_the_top() -> None:
    message = request()
    message.prepend("Route", "<sip:r0;lr>")
    message.prepend("Record-Route", "<sip:me;lr>")
    assert head_of(message) == "Record-Route: <sip:me;lr>\r\n" + HEAD.replace(
        "Route: <sip:r1", "Route: <sip:r0;lr>\r\nRoute: <sip:r1"
    )
    assert [str(r.uri) for r in message.routes] == ["sip:r0;lr", "sip:r1;lr", "sip:r2;lr"]


def test_append_goes_to_the_end() -> None:
    message = request()
    message.append("X-A", "3")
    assert head_of(message) == HEAD + "X-A: 3\r\n"


def test_values_are_taken_from_the_top_one_by_one() -> None:
    message = request()
    assert message.top_via.host == "a"
    assert message.first_value("Via") == "SIP / 2.0/UDP  a ;branch=z9hG4bK1"
    assert message.pop_first_value("Via") == "SIP / 2.0/UDP  a ;branch=z9hG4bK1"
    assert message.top_via.host == "b"
    line = HEAD[: HEAD.index("f:")]
    assert head_of(message) == HEAD.replace(line, 'v : SIP/2.0/TCP b;x=","  ,SIP/2.0/TLS c\r\n')
    assert message.pop_first_value("v") == 'SIP/2.0/TCP b;x=","'
    assert message.pop_first_value("v") == "SIP/2.0/TLS c"
    assert message.pop_first_value("v") is None
    assert head_of(message) == HEAD.replace(line, "")


def test_what_is_left_of_a_line_is_as_it_was_written() -> None:
    message = request("Route: <sip:a>,\r\n\t<sip:b> \t,<sip:c> \r\n")
    message.pop_first_value("Route")
    assert head_of(message) == "Route: <sip:b> \t,<sip:c> \r\n"


def test_the_first_value_is_replaced_alone() -> None:
    message = request()
    message.replace_first_value("Via", "SIP/2.0/UDP z;received=1.2.3.4")
    assert head_of(message) == HEAD.replace(
        "SIP / 2.0/UDP  a ;branch=z9hG4bK1 ,", "SIP/2.0/UDP z;received=1.2.3.4,"
    )
    with pytest.raises(UsageError):
        message.replace_first_value("Record-Route", "x")


def test_a_new_request_uri_changes_the_first_line_only() -> None:
    message = request()
    message.uri = Uri.parse("sip:carol@192.0.2.1:5070;ob")
    assert message.start_line == "INVITE sip:carol@192.0.2.1:5070;ob SIP/2.0"
    assert message.raw_uri == "sip:carol@192.0.2.1:5070;ob"
    assert head_of(message) == HEAD


def test_a_new_body_brings_its_length() -> None:
    message = request()
    message.body = b"four"
    assert message.encode() == (
        (START + HEAD).replace("l:0", "Content-Length: 4").encode() + b"\r\nfour"
    )
    bare = request("To: <sip:a>\r\n")
    bare.ensure_content_length()
    bare.ensure_content_length()
    assert head_of(bare) == "To: <sip:a>\r\nContent-Length: 0\r\n"


@pytest.mark.parametrize("value", ["a\r\nRoute: <sip:evil>", "a\nb", "a\rb"])
def test_no_edit_smuggles_a_line(value: str) -> None:
    message = request()
    for edit in (message.set, message.prepend, message.append, message.replace_first_value):
        with pytest.raises(UsageError):
            edit("X-A", value)
    with pytest.raises(UsageError):
        message.uri = Uri("sip", value, host="a")
    with pytest.raises(UsageError):
        Response.answering(message, 400, value)
    with pytest.raises(UsageError):
        Request.create("OPTIONS", "sip:a", [("X", value)])
    assert head_of(message) == HEAD


def test_a_copy_lives_on_its_own() -> None:
    message = request()
    _ = message.top_via, message.uri
    twin = message.copy()
    twin.pop_first_value("Via")
    twin.uri = Uri.parse("sip:x")
    twin.set("CSeq", "2 INVITE")
    twin.body = b"x"
    assert head_of(message) == HEAD
    assert message.body == b""
    assert (message.top_via.host, message.cseq.number, message.raw_uri) == (
        "a", 1, "sip:bob@example.org",
    )  # fmt: skip
    response = Response.answering(message, 200)
    other = response.copy()
    other.set("To", "<sip:changed>")
    assert response.to.uri == Uri.parse("sip:c@d")
    assert (other.status, other.reason) == (200, "OK")


def test_a_request_is_made() -> None:
    made = Request.create(
        "MESSAGE", Uri.parse("sip:a@b"), [("Via", "SIP/2.0/UDP x"), ("CSeq", "1 MESSAGE")], b"hi"
    )
    assert made.encode() == (
        b"MESSAGE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP x\r\nCSeq: 1 MESSAGE\r\n"
        b"Content-Length: 2\r\n\r\nhi"
    )
    assert made.cseq.method == made.method


RR = "Record-Route: <sip:p1;lr>,\r\n <sip:p2;lr>\r\n"
KEPT = HEAD[: HEAD.index("X-A")] + "CSEQ: 1 INVITE\r\n"


def test_a_response_copies_lines_as_they_came() -> None:
    """RFC 3261 8.2.6.2 and 12.1.1."""
    message = request(HEAD + RR + "Timestamp: 54\r\n")
    answer = Response.answering(
        message, 180, to_tag="t", headers=[("Contact", "<sip:c>")], body=b"b"
    )
    assert answer.encode().decode() == (
        "SIP/2.0 180 Ringing\r\n"
        + KEPT.replace("t:<sip:c@d>", "t:<sip:c@d>;tag=t")
        + RR
        + "Contact: <sip:c>\r\nContent-Length: 1\r\n\r\nb"
    )
    assert isinstance(answer, Response)
    assert answer.to.tag == "t"
    assert (answer.status, answer.reason) == (180, "Ringing")


def test_trying_carries_the_timestamp_and_no_tag() -> None:
    message = request(HEAD + RR + "Timestamp: 54\r\n")
    answer = Response.answering(message, 100, to_tag="t").encode().decode()
    assert answer == (
        "SIP/2.0 100 Trying\r\n" + KEPT + "Timestamp: 54\r\nContent-Length: 0\r\n\r\n"
    )


def test_a_refusal_has_no_record_route() -> None:
    answer = Response.answering(request(HEAD + RR), 486, "Busy now", to_tag="t")
    assert "Record-Route" not in answer
    assert "Record-Route" not in Response.answering(request(HEAD + RR), 302)
    assert answer.start_line == "SIP/2.0 486 Busy now"
    assert Response.answering(request(), 299).start_line == "SIP/2.0 299 "


def test_a_tag_that_is_there_stays() -> None:
    message = request(HEAD.replace("<sip:c@d>", "<sip:c@d>;tag=old"))
    assert Response.answering(message, 200, to_tag="new").to.tag == "old"
    unreadable = request(HEAD.replace("<sip:c@d>", '"<sip:c@d>'))
    assert Response.answering(unreadable, 400, to_tag="new").get("To") == '"<sip:c@d>'


def test_a_message_shows_its_first_line() -> None:
    assert repr(request()) == "<Request 'INVITE sip:bob@example.org SIP/2.0'>"
