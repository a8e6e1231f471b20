"""The 49 messages of RFC 4475: which are taken, which are refused, and with what status."""

import csv
from pathlib import Path

import pytest

from node.sip.headers import CSeq
from node.sip.message import Message, Request, Response, SipParseError, parse_message

VECTORS = Path(__file__).parents[2] / "vectors" / "sip-torture"
with (VECTORS / "manifest.tsv").open(encoding="utf-8", newline="") as manifest:
    MANIFEST = {row["name"]: row for row in csv.DictReader(manifest, delimiter="\t")}

REFUSED = {
    "badinv01": 400, "clerr": 400, "ncl": 400, "scalar02": 400, "quotbal": 400, "ltgtruri": 400,
    "lwsruri": 400, "lwsstart": 400, "trws": 400, "escruri": 400, "regbadct": 400,
    "badaspec": 400, "baddn": 400, "badvers": 505, "mismatch01": 400, "mismatch02": 400,
    "unkscm": 416, "novelsc": 416, "multi01": 400, "mcl01": 400,
}  # fmt: skip
DROPPED = {"scalarlg", "bigcode", "insuf"}
"Refused with nobody to answer: responses, and a request without the fields an answer needs."


def load(name: str) -> bytes:
    return (VECTORS / MANIFEST[name]["file"]).read_bytes()


def parsed(name: str) -> Request:
    message = parse_message(load(name))
    assert isinstance(message, Request)
    return message


def read_and_check(data: bytes) -> Message:
    message = parse_message(data)
    message.check()
    return message


def test_the_manifest_is_whole() -> None:
    """Every message has its file, and every file its line."""
    assert len(MANIFEST) == 49
    assert {row["file"] for row in MANIFEST.values()} == {f.name for f in VECTORS.glob("*.dat")}


def test_what_is_refused_is_what_the_manifest_says() -> None:
    """Only the doubtful date passes of the invalid ones; of the valid ones only schemes fail."""
    invalid = {name for name, row in MANIFEST.items() if row["validity"] == "invalid"}
    assert invalid - {"baddate"} == (REFUSED.keys() - {"unkscm", "novelsc"}) | DROPPED


@pytest.mark.parametrize("name", sorted(MANIFEST.keys() - REFUSED.keys() - DROPPED))
def test_a_good_message_is_taken_and_leaves_as_it_came(name: str) -> None:
    """Byte for byte, but for what follows the length that Content-Length names."""
    data = load(name)
    message = read_and_check(data)
    assert isinstance(message, Request if MANIFEST[name]["kind"] == "req" else Response)
    assert data.startswith(message.encode())
    if name != "dblreq":
        assert message.encode() == data


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_bad_request_is_refused_and_can_be_answered(name: str) -> None:
    """With its status, to the Via it came by, in its own dialog identifiers."""
    with pytest.raises(SipParseError) as caught:
        read_and_check(load(name))
    assert caught.value.status == REFUSED[name]
    assert caught.value.partial is not None
    answer = Response.answering(caught.value.partial, caught.value.status, to_tag="ours")
    again = parse_message(answer.encode())
    assert isinstance(again, Response)
    assert again.status == REFUSED[name]
    for field in ("From", "To", "Call-ID", "CSeq"):
        assert len(again.get_all(field)) == 1
    assert again.get_all("Via")


@pytest.mark.parametrize("name", sorted(DROPPED))
def test_what_cannot_be_answered_says_so(name: str) -> None:
    """There is nothing partial to answer."""
    with pytest.raises(SipParseError) as caught:
        read_and_check(load(name))
    assert caught.value.partial is None


def test_wsinv_is_read_through_all_its_blanks_and_folds() -> None:
    request = parsed("wsinv")
    assert [(v.transport, v.host, v.branch) for v in request.vias] == [
        ("UDP", "192.0.2.2", "390skdjuw"),
        ("TCP", "spindle.example.com", "z9hG4bK9ikj8"),
        ("UDP", "192.168.255.111", "z9hG4bK30239"),
    ]
    assert not request.top_via.has_cookie
    assert request.from_.display == 'J Rosenberg \\"'
    assert request.from_.tag == "98asjd8"
    assert request.to.tag == "1918181833n"
    assert str(request.to.uri) == "sip:vivekg@chair-dnrc.example.com"
    assert request.cseq == CSeq(9, "INVITE")
    assert request.max_forwards == 68
    assert request.get("Subject") == ""
    assert request.get("NewFangledHeader") == "newfangled value continued newfangled value"
    (route,) = request.routes
    assert route.uri.param("lr") == ""
    (contact,) = request.contacts
    assert contact.display == 'Quoted string ""'
    assert contact.param("newparam") == "newvalue"
    assert contact.param("q") == "0.33"
    assert request.uri.param("unknownparam") == ""
    assert len(request.body) == 150


def test_intmeth_keeps_its_odd_characters() -> None:
    request = parsed("intmeth")
    assert request.method == "!interesting-Method0123456789_*+`.%indeed'~"
    assert request.uri.user == "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"
    assert request.uri.password == "&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"
    assert request.to.display == "BEL:\x07 NUL:\x00 DEL:\x7f"
    assert request.from_.display == "token1~` token2'+_ token3*%!.-"
    assert request.from_.tag == "_token~1'+`*%!-."


def test_escapes_are_not_resolved_in_what_is_compared_or_sent() -> None:
    assert parsed("esc01").uri.user == "sips%3Auser%40example.com"
    assert parsed("esc01").uri.scheme == "sip"
    assert parsed("esc02").method == "RE%47IST%45R"
    first, second = parsed("escnull").contacts
    assert (first.uri.user, second.uri.user) == ("%00", "%00%00")
    assert not first.uri.same_as(second.uri)
    assert parsed("semiuri").uri.user == "user;par=u%40example.net"
    assert parsed("semiuri").uri.params == ()


def test_lists_long_and_short() -> None:
    assert len(parsed("longreq").vias) == 34
    assert parsed("lwsdisp").from_.display == "caller"
    assert [via.transport for via in parsed("transports").vias] == [
        "UDP", "SCTP", "TLS", "UNKNOWN", "TCP",
    ]  # fmt: skip
    assert parsed("bext01").values("Proxy-Require") == [
        "noProxiesSupportThis", "norDoAnyProxiesSupportThis",
    ]  # fmt: skip


def test_a_datagram_may_hold_more_than_its_message() -> None:
    request = parsed("dblreq")
    assert request.method == "REGISTER"
    assert request.body == b""
    assert b"INVITE" in load("dblreq")[len(request.encode()) :]


def test_a_binary_body_is_kept() -> None:
    assert len(parsed("mpart01").body) == int(parsed("mpart01").get("Content-Length") or "")


def test_reason_phrases_may_be_foreign_or_missing() -> None:
    foreign, missing = parse_message(load("unreason")), parse_message(load("noreason"))
    assert isinstance(foreign, Response)
    assert foreign.reason.startswith("= 2**3 * 5**2 но")
    assert isinstance(missing, Response)
    assert (missing.status, missing.reason) == (100, "")


def test_where_a_parameter_belongs() -> None:
    (of_header,), (of_uri,) = parsed("cparam01").contacts, parsed("cparam02").contacts
    assert of_header.param("unknownparam") is not None
    assert of_header.uri.params == ()
    assert of_uri.params == ()
    assert of_uri.uri.param("unknownparam") is not None
    (escaped,) = parsed("regescrt").contacts
    assert escaped.uri.headers == (("Route", "%3Csip:sip.example.com%3E"),)


def test_a_bare_cookie_is_no_branch_to_match_by() -> None:
    assert not parsed("badbranch").top_via.has_cookie


def test_rfc_2543_may_leave_much_out() -> None:
    request = parsed("inv2543")
    assert request.top_via.branch is None
    assert request.from_.tag is None
    assert request.max_forwards is None
    assert "Content-Length" not in request
    request.ensure_content_length()
    assert request.get("Content-Length") == str(len(request.body))


def test_zero_hops_left_is_seen() -> None:
    assert parsed("zeromf").max_forwards == 0
