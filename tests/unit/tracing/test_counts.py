"""What passed between this node and each peer is counted by method, class and direction."""

import pytest

from federation.model.address import Endpoint
from federation.model.clocks import Monotonic, UnixTime
from federation.model.identity import NodeKey
from node.sip.flow import Flow
from node.storage.call_records import CallRecord, StreamQuality
from node.tracing import counts as module
from node.tracing.counts import OTHERS, Counts, Peer
from node.tracing.tap import RECEIVED, SENT, Noted, Place, frame_text, no_answer_text

OWN = Endpoint("192.0.2.1", 5060)
PHONE = Flow("UDP", OWN, Endpoint("192.0.2.9", 5062))
PROVIDER = Flow("TCP", OWN, Endpoint("198.51.100.1", 5060))
NODE = NodeKey(bytes(range(32))).id


def noted(way: int, first: str, place: Place) -> Noted:
    return Monotonic(0.0), way, f"{first}\r\nCall-ID: c\r\n\r\n".encode(), place


def trunk_at(flow: Flow) -> str | None:
    return "itsp" if flow.remote.host == "198.51.100.1" else None


BATCH = [
    noted(RECEIVED, "INVITE sip:1@x SIP/2.0", PHONE),
    noted(SENT, "SIP/2.0 100 Trying", PHONE),
    noted(SENT, "SIP/2.0 200 OK", PHONE),
    noted(RECEIVED, "NONSENSE sip:x SIP/2.0", PHONE),
    noted(SENT, "INVITE sip:1@y SIP/2.0", PROVIDER),
    noted(SENT, "INVITE sip:2@y SIP/2.0", PROVIDER),
    noted(RECEIVED, "SIP/2.0 503 No", PROVIDER),
    noted(RECEIVED, "SIP/2.0 999 What", PROVIDER),
    noted(SENT, "BYE sip:1@z SIP/2.0", NODE),
    (Monotonic(0.0), RECEIVED, frame_text("bye", b"c"), NODE),
    (Monotonic(0.0), RECEIVED, no_answer_text(b"BYE sip:x SIP/2.0\r\n\r\n", "lost"), NODE),
]


def test_messages_are_counted_by_what_they_are() -> None:
    counts = Counts(trunk_at)
    counts.take(BATCH)
    counts.take(BATCH[:1])
    assert counts.requests == {
        ("in", "sip", "INVITE"): 2,
        ("in", "sip", "other"): 1,
        ("out", "sip", "INVITE"): 2,
        ("out", "node", "BYE"): 1,
    }
    assert counts.responses == {
        ("out", "sip", "1xx"): 1,
        ("out", "sip", "2xx"): 1,
        ("in", "sip", "5xx"): 1,
    }


def test_each_peer_has_its_own_counts() -> None:
    counts = Counts(trunk_at)
    counts.take(BATCH)
    others, itsp = counts.of("sip").as_json(), counts.of("trunk", "itsp").as_json()
    assert others["requests"] == {"in": 2, "out": 0}
    assert (others["responses"]["out"]["1xx"], others["responses"]["out"]["2xx"]) == (1, 1)
    assert itsp["requests"] == {"in": 0, "out": 2}
    assert itsp["responses"]["in"]["5xx"] == 1
    node = counts.peers("node")[NODE.text].as_json()
    assert (node["requests"]["out"], node["timeouts"]) == (1, 1)
    assert counts.of("trunk", "unknown").as_json()["requests"] == {"in": 0, "out": 0}


def test_repeats_count_beside() -> None:
    counts = Counts(trunk_at)
    counts.repeated({(False, PHONE): 3, (True, PROVIDER): 2})
    assert counts.of("sip").as_json()["retransmissions"] == {"in": 3, "out": 0}
    assert counts.of("trunk", "itsp").as_json()["retransmissions"] == {"in": 0, "out": 2}


def a_record(status: int, quality: StreamQuality | None) -> CallRecord:
    return CallRecord(
        id="1",
        call_id="c",
        caller="a",
        target="b",
        account=None,
        peer=None,
        started_at=UnixTime(0.0),
        answered_at=UnixTime(1.0) if status == 200 else None,
        ended_at=UnixTime(11.0),
        status=status,
        reason="",
        direction="out",
        path="sip",
        from_callee=quality,
    )


def test_sound_is_counted_with_whom_it_came_from() -> None:
    counts = Counts(trunk_at)
    itsp = Peer("trunk", "itsp")
    for jitter in (0.002, 0.004, None):
        quality = StreamQuality(packets=490, lost=10, jitter=jitter, longest_gap=0.1, told_lost=3)
        counts.call_ended(a_record(200, quality), OTHERS, itsp)
    counts.call_ended(a_record(486, None), OTHERS, None)
    assert counts.of("trunk", "itsp").as_json()["rtp"] == {
        "streams": 3,
        "packets": 1470,
        "lost": 30,
        "told_lost": 9,
        "jitter": 0.003,
    }
    assert counts.of("sip").as_json()["rtp"]["streams"] == 0
    assert counts.calls == {("out", "sip", "2xx"): 3, ("out", "sip", "4xx"): 1}
    assert counts.talk_seconds == 30.0


def test_the_number_of_peers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PEERS", 3)
    counts = Counts(lambda flow: f"t{flow.remote.port}")
    for port in (1, 2, 1, 3):
        counts.take([noted(SENT, "BYE sip:x SIP/2.0", Flow("UDP", OWN, Endpoint("::1", port)))])
    assert set(counts.peers("trunk")) == {"t1", "t3"}
    assert set(counts.peers("sip")) == {""}, "the others together are never forgotten"
