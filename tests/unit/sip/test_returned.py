"""Responses on their way back, and views that others than the message itself define."""

from node.sip.message import Request, Response

ASKED = (
    ("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1, SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK0"),
    ("From", '"Alice" <sip:alice@example.org>;tag=a'),
    ("To", "<sip:bob@example.org>"),
    ("Call-ID", "c"),
    ("CSeq", "1 INVITE"),
)


def answer(to_tag: str | None) -> Response:
    """What the callee said to a request in which it was shown other names."""
    shown = Request.create(
        "INVITE",
        "sip:bob@192.0.2.7",
        (
            ("Via", "SIP/2.0/UDP 198.51.100.1;branch=z9hG4bK9"),
            ("From", "<sip:04721963388207@198.51.100.1>;tag=a"),
            ("To", "<sip:0@198.51.100.1>"),
            ("Call-ID", "c"),
            ("CSeq", "1 INVITE"),
        ),
    )
    return Response.answering(shown, 180, to_tag=to_tag, headers=(("Contact", "<sip:b@h>"),))


def test_the_sender_gets_its_own_lines_back_with_the_callees_tag() -> None:
    request = Request.create("INVITE", "sip:bob@example.org", ASKED)
    back = answer("b").returned_to(request)
    assert back.header_lines() == [
        ("via", ASKED[0][1]),
        ("from", ASKED[1][1]),
        ("to", "<sip:bob@example.org>;tag=b"),
        ("call-id", "c"),
        ("cseq", "1 INVITE"),
        ("contact", "<sip:b@h>"),
        ("content-length", "0"),
    ]
    assert back.start_line == "SIP/2.0 180 Ringing"


def test_a_tag_that_the_request_has_stays_the_only_one() -> None:
    inside = [(name, f"{value};tag=b" if name == "To" else value) for name, value in ASKED]
    request = Request.create("BYE", "sip:bob@example.org", inside)
    assert answer("other").returned_to(request).to.tag == "b"


def test_a_response_without_tag_goes_back_without() -> None:
    request = Request.create("INVITE", "sip:bob@example.org", ASKED)
    assert answer(None).returned_to(request).to.tag is None


def test_editing_vias_is_seen_by_every_view_of_them() -> None:
    request = Request.create("INVITE", "sip:bob@example.org", ASKED)
    assert [via.branch for via in request.vias] == ["z9hG4bK1", "z9hG4bK0"]
    assert request.top_via.branch == "z9hG4bK1"
    request.prepend("Via", "SIP/2.0/UDP 203.0.113.5;branch=z9hG4bK2")
    assert request.top_via.branch == "z9hG4bK2"
    assert [via.branch for via in request.vias] == ["z9hG4bK2", "z9hG4bK1", "z9hG4bK0"]
