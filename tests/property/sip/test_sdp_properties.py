"""Any bytes as a session description: one error type, byte-exact, edits that write one line."""

from hypothesis import given, settings
from hypothesis import strategies as st

from federation.model.address import Endpoint
from node.sip.sdp import Candidate, Sdp, SdpError, candidate_ips
from tests.support.sip_hostile import CHARACTERS, SDP_FIELDS, SDP_PIECES
from tests.support.sip_load import exercise_sdp

ends = st.sampled_from([b"\r\n", b"\n"])
lines = st.one_of(
    st.sampled_from(SDP_PIECES),
    st.sampled_from(
        [
            b"m=audio 4000 RTP/AVP 0 8\r\n", b"m=video 0 RTP/AVP 31\n", b"m=image 9 udptl t38\r\n",
            b"m=message 2855 TCP/MSRP *\r\n", b"c=IN IP4 0.0.0.0\r\n", b"c=IN IP6 2001:db8::1\r\n",
            b"a=rtcp-mux\r\n", b"a=bundle-only\r\n", b"a=mid:2\r\n", b"a=group:BUNDLE 2 1\r\n",
            b"a=sendonly\r\n", b"a=inactive\n", b"i=info\r\n", b"b=AS:1\r\n", b"\r\n",
            b"a=remote-candidates:1 192.0.2.1 5\r\n", b"a=crypto:1 x inline:y\r\n",
        ]
    ),
    st.tuples(st.sampled_from(SDP_FIELDS), st.sampled_from(CHARACTERS), ends).map(b"".join),
    st.tuples(st.binary(max_size=12), ends).map(b"".join),
)  # fmt: skip
descriptions = st.tuples(
    ends, st.lists(lines, max_size=14), st.sampled_from([b"", b"a=end", b"m=a 1 b c"])
).map(lambda parts: b"v=0" + parts[0] + b"".join(parts[1]) + parts[2])


@settings(deadline=None, max_examples=300)
@given(st.one_of(descriptions, st.binary(max_size=200)))
def test_any_bytes_raise_one_error_or_are_kept(data: bytes) -> None:
    description = exercise_sdp(data)
    if description is not None:
        assert description.encode() == data


def rest(data: bytes, *prefixes: bytes) -> list[bytes]:
    """The lines that do not begin so, without their ends (a last line may be given one)."""
    split = [line.rstrip(b"\r\n") for line in data.split(b"\n")]
    return [line for line in split if line and not line.startswith(prefixes)]


@settings(deadline=None, max_examples=200)
@given(descriptions, st.integers(0, 20), st.booleans())
def test_edits_write_their_own_lines(data: bytes, place: int, whole: bool) -> None:
    try:
        description = Sdp.parse(data)
    except SdpError:
        return
    if not description.media:
        return
    media = description.media[place % len(description.media)]
    if whole and description.connection is not None:
        description.session.set_connection("198.51.100.1")
    media.set_address("198.51.100.1", 10_000)
    media.set_rtcp(Endpoint("198.51.100.1", 10_001))
    media.add_candidate(Candidate.anchor(1, Endpoint("198.51.100.1", 10_000)))
    media.remove("remote-candidates")
    edited = description.encode()
    ours = (b"m=", b"c=", b"a=rtcp:", b"a=rtcp\r", b"a=candidate", b"a=remote-candidates")
    touched = rest(edited, *ours)
    assert [line for line in touched if line != b"a=rtcp"] == [
        line for line in rest(data, *ours) if line != b"a=rtcp"
    ]
    again = Sdp.parse(edited)
    assert len(again.media) == len(description.media)
    anchored = again.media[place % len(again.media)]
    assert anchored.rtp_endpoint == Endpoint("198.51.100.1", 10_000)
    assert anchored.rtcp_endpoint == Endpoint("198.51.100.1", 10_001)
    assert "remote-candidates" not in anchored
    assert [(m.kind, m.proto, m.formats) for m in again.media] == [
        (m.kind, m.proto, m.formats) for m in Sdp.parse(data).media
    ]
    others = [i for i in range(len(again.media)) if i != place % len(again.media)]
    before = Sdp.parse(data)
    assert [again.media[i].port for i in others] == [before.media[i].port for i in others]


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=200))
def test_candidates_of_anything_are_addresses(data: bytes) -> None:
    for ip in candidate_ips(b"a=candidate:1 1 UDP 1 192.0.2.1 5 typ host\n" + data):
        assert Endpoint.parse(f"[{ip}]:1" if ":" in ip else f"{ip}:1").host == ip
