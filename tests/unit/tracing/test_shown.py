"""A trace as it is shown: plain values, and a ladder between this node and the others."""

from federation.model.address import Endpoint
from federation.model.clocks import Monotonic
from federation.model.identity import NodeKey
from node.control import JsonObject
from node.sip.flow import Flow
from node.tracing.ladder import as_text, ladder
from node.tracing.shown import as_json, summary_of
from node.tracing.tap import RECEIVED, SENT, Place, frame_text
from node.tracing.traces import Trace

OWN = Endpoint("192.0.2.1", 5060)
ALICE = Flow("UDP", OWN, Endpoint("192.0.2.9", 5062))
PEER = NodeKey(bytes(range(32))).id


def a_trace(*messages: tuple[float, int, str, Place], is_whole: bool = True) -> JsonObject:
    noted = [
        (Monotonic(at), way, f"{first}\r\nCall-ID: c1\r\nCSeq: 7 INVITE\r\n\r\n".encode(), place)
        for at, way, first, place in messages
    ]
    trace = Trace(b"c1", noted, 0, is_whole)
    return as_json(trace, call="17", under_way=False, unix_of=lambda at: at + 1_800_000_000)


CALL = a_trace(
    (1.0, RECEIVED, "INVITE sip:bob@example.org SIP/2.0", ALICE),
    (1.01, SENT, "SIP/2.0 100 Trying", ALICE),
    (1.02, SENT, "INVITE sip:bob@key SIP/2.0", PEER),
    (1.5, RECEIVED, "SIP/2.0 180 Ringing", PEER),
    (1.5, SENT, "SIP/2.0 180 Ringing", ALICE),
    (2.5, SENT, "SIP/2.0 180 Ringing", ALICE),
)


def test_messages_are_plain_values() -> None:
    assert CALL["parties"] == [
        {"address": "192.0.2.9:5062", "kind": "sip"},
        {"address": PEER.text, "kind": "node"},
    ]
    first, last = CALL["messages"][0], CALL["messages"][-1]
    assert {name: first[name] for name in first if name != "text"} == {
        "time": "2027-01-15T08:00:01.000000Z",
        "after": 0.0,
        "direction": "in",
        "party": 0,
        "transport": "UDP",
        "local": "192.0.2.1:5060",
        "remote": "192.0.2.9:5062",
        "summary": "INVITE sip:bob@example.org",
        "repeated": False,
        "bytes": 67,
    }
    assert first["text"].startswith("INVITE sip:bob@example.org SIP/2.0\nCall-ID: c1\n")
    assert (last["summary"], last["repeated"]) == ("180 Ringing (INVITE)", True)
    assert CALL["messages"][2]["transport"] == "QUIC"
    assert CALL["whole"] is True


def test_a_ladder_has_an_arrow_for_each_message() -> None:
    lines = ladder(CALL).splitlines()
    assert lines[0].split() == ["192.0.2.9:5062", "this", "node", "node", f"{PEER.text[:12]}…"]
    arrows = [(line.strip(" |")[0], line.strip(" |")[-1]) for line in lines[2::2]]
    assert arrows == [("-", ">"), ("<", "-"), ("-", ">"), ("<", "-"), ("<", "-"), ("<", "-")]
    assert "INVITE sip:bob@example.org" in lines[1]
    assert "again: 180 Ringing (INVITE)" in lines[11]
    assert all(len(line) <= 116 for line in lines)


def test_what_is_missing_is_said() -> None:
    late = a_trace((1.0, RECEIVED, "BYE sip:x SIP/2.0", ALICE), is_whole=False)
    assert ladder(late).splitlines()[1] == "(not kept any more: its beginning)"


def test_many_parties_share_the_last_column() -> None:
    flows = [Flow("UDP", OWN, Endpoint("192.0.2.9", port)) for port in range(1, 20)]
    wide = a_trace(*((1.0, SENT, "INVITE sip:x SIP/2.0", flow) for flow in flows))
    assert max(map(len, ladder(wide).splitlines())) < 14 + 7 * 34


def test_a_text_has_the_ladder_and_every_message() -> None:
    text = as_text(CALL)
    assert text.startswith("call 17 (ended), Call-ID c1\n\n")
    assert "--- 3: 2027-01-15T08:00:01.020000Z to " + PEER.text + " by QUIC" in text
    assert text.count("Call-ID: c1\n") == 6


def test_a_strangers_text_does_not_steer_the_terminal() -> None:
    nasty = a_trace((1.0, RECEIVED, "INVITE sip:\x1b[2J@x SIP/2.0", ALICE))
    assert "\x1b" not in ladder(nasty) + as_text(nasty)


def test_frames_without_sip_are_named() -> None:
    assert summary_of(frame_text("cancel", b"c1")) == "(cancel frame)"
