"""Session descriptions: what an edge reads, and that an edit writes its own line only."""

import pytest

from federation.model.address import Endpoint
from federation.model.errors import PeerError, UsageError
from node.sip.ice_candidate import MAX_CANDIDATES
from node.sip.sdp import (
    MAX_LINES,
    MAX_MEDIA,
    Candidate,
    Connection,
    MediaSection,
    Rtcp,
    Sdp,
    SdpError,
    candidate_ips,
)

PLAIN = (
    "v=0\r\no=- 3907 3907 IN IP4 192.168.1.23\r\ns=call\r\ni=info\r\nc=IN IP4 192.168.1.23\r\n"
    "b=AS:84\r\nt=0 0\r\na=X-nat:0\r\nm=audio 4000 RTP/AVP 8 0 96\r\n"
    "a=rtcp:4001 IN IP4 192.168.1.23\r\na=sendrecv\r\na=rtpmap:96 telephone-event/8000\r\n"
    "a=fmtp:96 0-16\r\n"
    "m=video 0 RTP/AVP 31\r\nz=odd\r\n"
)
ICE = (
    "v=0\no=- 1 2 IN IP4 127.0.0.1\ns=-\nt=0 0\na=group:BUNDLE 0 1\na=ice-ufrag:sess\n"
    "m=audio 9 UDP/TLS/RTP/SAVPF 111\nc=IN IP4 0.0.0.0\na=rtcp:9 IN IP4 0.0.0.0\n"
    "a=candidate:1 1 udp 2122260223 192.168.1.5 51000 typ host generation 0\n"
    "a=candidate:2 1 UDP 1686052607 203.0.113.7 51000 typ srflx raddr 192.168.1.5 rport 51000\n"
    "a=candidate:3 1 tcp 1518280447 192.168.1.5 9 typ host tcptype active\n"
    "a=candidate:4 1 udp 1 1f4712db-ea17-4bcf-a596-105139dfd8bf.local 5 typ host\n"
    "a=candidate:broken\n"
    "a=ice-ufrag:medi\na=ice-pwd:p\na=remote-candidates:1 192.0.2.1 5\na=mid:0\na=rtcp-mux\n"
    "m=video 0 UDP/TLS/RTP/SAVPF 96\nc=IN IP4 0.0.0.0\na=mid:1\na=bundle-only\n"
)


def sdp(text: str) -> Sdp:
    return Sdp.parse(text.encode("utf-8", "surrogateescape"))


def written(description: Sdp) -> str:
    return description.encode().decode("utf-8", "surrogateescape")


def media(lines: str, session: str = "c=IN IP4 192.0.2.1\r\n") -> MediaSection:
    (section,) = sdp(f"v=0\r\ns=-\r\n{session}{lines}").media
    return section


@pytest.mark.parametrize(
    "text", [PLAIN, ICE, "v=0", "v=0\r\n", "v=0\n\n\n", "v=0\r\nm=a 1 b c", "v=0\nx\n=\r\n\udcff"]
)
def test_a_description_is_written_as_it_was_read(text: str) -> None:
    assert written(sdp(text)) == text
    assert written(sdp(text).copy()) == text


@pytest.mark.parametrize(
    "text",
    ["", "o=", " v=0", "v=1", "\r\nv=0", "v=0\nm=audio", "v=0\nm=audio x RTP/AVP 0",
     "v=0\nm=audio 65536 RTP/AVP 0", "v=0\nm=audio 1", "v=0\nc=IN IP4", "v=0\nc=1.2.3.4",
     "v=0\nm=a 1 b\nc=IN IP4 ", "v=0\nm=audio 1 RTP/AVP 0\rm=x", "v=0\nm=audio -1 RTP/AVP 0"],
)  # fmt: skip
def test_what_is_no_description_is_refused(text: str) -> None:
    with pytest.raises(SdpError):
        sdp(text)
    assert issubclass(SdpError, PeerError)


def test_sizes_are_bounded() -> None:
    sdp("v=0\n" + "a=x\n" * (MAX_LINES - 1))
    with pytest.raises(SdpError):
        sdp("v=0\n" + "a=x\n" * MAX_LINES)
    assert len(sdp("v=0\n" + "m=a 1 b c\n" * MAX_MEDIA).media) == MAX_MEDIA
    with pytest.raises(SdpError):
        sdp("v=0\n" + "m=a 1 b c\n" * (MAX_MEDIA + 1))
    line = "a=candidate:1 1 UDP 1 192.0.2.1 5 typ host\n"
    many = sdp("v=0\nm=a 1 b c\n" + line * (MAX_CANDIDATES + 1))
    assert len(many.media[0].candidates) == MAX_CANDIDATES


def test_the_session_is_read() -> None:
    description = sdp(PLAIN)
    assert description.origin == "- 3907 3907 IN IP4 192.168.1.23"
    assert description.connection == Connection("IP4", "192.168.1.23")
    assert description.session.get("X-nat") == "0"
    assert sdp("v=0\n").origin is None
    assert sdp("v=0\n").connection is None


def test_a_media_line_is_read() -> None:
    audio, video = sdp(PLAIN).media
    assert (audio.kind, audio.port, audio.proto, audio.formats) == (
        "audio", 4000, "RTP/AVP", ("8", "0", "96"),
    )  # fmt: skip
    assert audio.connection == Connection("IP4", "192.168.1.23")
    assert audio.own_connection is None
    assert audio.rtp_endpoint == Endpoint("192.168.1.23", 4000)
    assert audio.rtcp == Rtcp(4001, "192.168.1.23")
    assert audio.rtcp_endpoint == Endpoint("192.168.1.23", 4001)
    assert audio.is_live
    assert not audio.has_rtcp_mux
    assert not audio.has_ice
    assert (video.port, video.is_live, video.rtp_endpoint) == (0, False, None)
    assert video.rtcp_endpoint is None


@pytest.mark.parametrize(
    ("proto", "udp", "tcp", "udptl"),
    [
        ("RTP/AVP", True, False, False), ("RTP/SAVPF", True, False, False),
        ("UDP/TLS/RTP/SAVPF", True, False, False), ("udptl", True, False, True),
        ("UDP/TLS/UDPTL", True, False, True), ("UDP/BFCP", True, False, False),
        ("DTLS/SCTP", True, False, False), ("TCP/MSRP", False, True, False),
        ("TCP/TLS/BFCP", False, True, False), ("TCP", False, True, False),
        ("SCTP", False, False, False),
    ],
)  # fmt: skip
def test_transports(proto: str, udp: bool, tcp: bool, udptl: bool) -> None:
    section = media(f"m=image 4000 {proto} t38\r\n")
    assert (section.is_udp, section.is_tcp, section.is_udptl) == (udp, tcp, udptl)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("", Endpoint("192.0.2.1", 4001)),
        ("a=rtcp:5005\r\n", Endpoint("192.0.2.1", 5005)),
        ("c=IN IP6 2001:DB8::1\r\n", Endpoint("2001:db8::1", 4001)),
        ("a=rtcp:5005 IN IP6 2001:db8::9\r\n", Endpoint("2001:db8::9", 5005)),
        ("a=rtcp:5005 IN IP4 host.example\r\n", None),
        ("a=rtcp:99999\r\n", Endpoint("192.0.2.1", 4001)),
        ("a=rtcp:x\r\n", Endpoint("192.0.2.1", 4001)),
        ("c=IN IP4 0.0.0.0\r\n", None),
        ("c=IN IP4 host.example\r\n", None),
        ("c=IN IP4 224.2.1.1/127/3\r\n", Endpoint("224.2.1.1", 4001)),
    ],
)
def test_where_rtcp_is_wanted(lines: str, expected: Endpoint | None) -> None:
    assert media("m=audio 4000 RTP/AVP 0\r\n" + lines).rtcp_endpoint == expected


def test_anchoring_writes_three_lines_only() -> None:
    description = sdp(PLAIN)
    audio = description.media[0]
    description.session.set_connection("198.51.100.1")
    audio.set_address("198.51.100.1", 10_000)
    audio.set_rtcp(Endpoint("198.51.100.1", 10_001))
    assert written(description) == PLAIN.replace(
        "c=IN IP4 192.168.1.23", "c=IN IP4 198.51.100.1"
    ).replace("m=audio 4000", "m=audio 10000").replace(
        "a=rtcp:4001 IN IP4 192.168.1.23", "a=rtcp:10001 IN IP4 198.51.100.1"
    )
    assert audio.rtp_endpoint == Endpoint("198.51.100.1", 10_000)


def test_a_line_with_another_address_gets_its_own() -> None:
    """Also across families."""
    description = sdp(PLAIN)
    description.media[0].set_address("2001:db8::1", 10_000)
    assert written(description) == PLAIN.replace(
        "m=audio 4000 RTP/AVP 8 0 96\r\n",
        "m=audio 10000 RTP/AVP 8 0 96\r\nc=IN IP6 2001:db8::1\r\n",
    )


def test_a_line_of_its_own_is_rewritten_in_place() -> None:
    description = sdp(
        "v=0\r\nm=audio 1/2  RTP/AVP\t0 \r\ni=x\r\n"
        "c=IN IP4 224.0.0.1/1\r\nc=IN IP4 224.0.0.2/1\r\na=x"
    )
    description.media[0].set_address("192.0.2.9", 7)
    assert (
        written(description) == "v=0\r\nm=audio 7  RTP/AVP\t0 \r\ni=x\r\nc=IN IP4 192.0.2.9\r\na=x"
    )


def test_a_tcp_line_keeps_its_address_when_the_session_changes() -> None:
    msrp = "m=message 2855 TCP/MSRP *\r\n"
    description = sdp(PLAIN + msrp)
    for section in description.media:
        if section.is_tcp:
            section.pin_connection()
            section.pin_connection()
    description.session.set_connection("192.0.2.1")
    assert written(description) == (
        PLAIN.replace("c=IN IP4 192.168.1.23", "c=IN IP4 192.0.2.1")
        + msrp + "c=IN IP4 192.168.1.23\r\n"
    )  # fmt: skip
    bare = sdp("v=0\r\n" + msrp)
    bare.media[0].pin_connection()
    assert written(bare) == "v=0\r\n" + msrp


def test_new_lines_stand_where_they_belong_with_the_line_end_in_use() -> None:
    description = sdp("v=0\no=o\ns=s\nt=0 0\nm=audio 1 RTP/AVP 0\ni=i\nb=AS:1\na=sendrecv\n\n")
    description.session.set_connection("192.0.2.1")
    description.session.append("tool", "x")
    audio = description.media[0]
    audio.set_connection("192.0.2.2")
    audio.set_rtcp(Endpoint("2001:db8::2", 5))
    audio.append("inactive")
    assert written(description) == (
        "v=0\no=o\ns=s\nc=IN IP4 192.0.2.1\nt=0 0\na=tool:x\nm=audio 1 RTP/AVP 0\ni=i\n"
        "c=IN IP4 192.0.2.2\nb=AS:1\na=sendrecv\na=rtcp:5 IN IP6 2001:db8::2\na=inactive\n\n"
    )
    open_end = sdp("v=0\r\nm=audio 1 RTP/AVP 0")
    open_end.media[0].append("rtcp-mux")
    assert written(open_end) == "v=0\r\nm=audio 1 RTP/AVP 0\r\na=rtcp-mux\r\n"


def test_a_line_keeps_its_own_end() -> None:
    text = "v=0\r\nc=IN IP4 192.0.2.1\nm=audio 1 RTP/AVP 0\na=rtcp:1\na=sendrecv"
    description = sdp(text)
    description.session.set_connection("192.0.2.2")
    audio = description.media[0]
    audio.set_address("192.0.2.2", 5)
    audio.set_rtcp(Endpoint("192.0.2.2", 6))
    audio.set_direction("sendonly")
    assert written(description) == (
        "v=0\r\nc=IN IP4 192.0.2.2\nm=audio 5 RTP/AVP 0\na=rtcp:6 IN IP4 192.0.2.2\na=sendonly"
    )


def test_attributes() -> None:
    section = media(
        "m=audio 1 RTP/AVP 0\r\na=rtcp-mux\r\na=rtcp:5\r\n"
        "a=x:1\r\na=x:2\r\na=x\r\na=xx:3\r\na=X:4\r\n"
    )
    assert section.get("rtcp") == "5"
    assert section.get("rtcp-mux") == ""
    assert section.get("rtc") is None
    assert section.get_all("x") == ["1", "2", ""]
    assert "xx" in section
    section.set("x", "9")
    assert section.get_all("x") == ["9"]
    section.append("x", "10")
    assert section.remove("x", lambda value: value == "9") == 1
    assert section.get_all("x") == ["10"]
    assert section.remove("absent") == 0
    section.set("new")
    assert section.get("new") == ""
    section.set_rtcp(None)
    assert section.rtcp is None
    assert section.has_rtcp_mux


@pytest.mark.parametrize(
    ("session", "lines", "direction"),
    [
        ("", "", "sendrecv"), ("a=sendonly\r\n", "", "sendonly"),
        ("a=sendonly\r\n", "a=recvonly\r\n", "recvonly"), ("", "a=inactive\r\n", "inactive"),
        ("", "a=sendonlyish\r\n", "sendrecv"),
    ],
)  # fmt: skip
def test_directions(session: str, lines: str, direction: str) -> None:
    section = media("m=audio 1 RTP/AVP 0\r\n" + lines, session + "c=IN IP4 192.0.2.1\r\n")
    assert section.direction == direction
    assert section.is_held == (direction in ("sendonly", "inactive"))


def test_setting_a_direction() -> None:
    description = sdp(PLAIN)
    description.media[0].set_direction("sendonly")
    description.media[1].set_direction("inactive")
    assert written(description) == PLAIN.replace("sendrecv", "sendonly") + "a=inactive\r\n"
    twice = media("m=audio 1 RTP/AVP 0\r\na=inactive\r\na=mid:1\r\na=sendonly\r\n")
    twice.set_direction("recvonly")
    assert twice.direction == "recvonly"
    assert "sendonly" not in twice


def test_hold_of_old_and_the_not_yet_of_trickle() -> None:
    held = media("m=audio 1 RTP/AVP 0\r\nc=IN IP4 0.0.0.0\r\n")
    assert held.is_held
    assert held.rtp_endpoint is None
    trickling = sdp(ICE).media[0]
    assert trickling.connection is not None
    assert trickling.connection.is_null
    assert not trickling.is_held


def test_ice_is_read() -> None:
    description = sdp(ICE)
    audio, video = description.media
    assert (audio.ice_ufrag, video.ice_ufrag) == ("medi", "sess")
    assert audio.has_rtcp_mux
    assert [candidate.kind for candidate in audio.candidates] == ["host", "srflx", "host", "host"]
    first, second, third, fourth = audio.candidates
    assert first == Candidate(
        "1", 1, "udp", 2122260223, "192.168.1.5", 51000, "host", "generation 0"
    )
    assert str(second) == (
        "2 1 UDP 1686052607 203.0.113.7 51000 typ srflx raddr 192.168.1.5 rport 51000"
    )
    assert (first.is_udp, third.is_udp, fourth.ip) == (True, False, None)
    assert audio.candidate_ips == {"192.168.1.5", "203.0.113.7"}
    assert candidate_ips(ICE.encode()) == audio.candidate_ips
    assert (video.port, video.is_live) == (0, True)


def test_trickled_candidates_are_seen() -> None:
    fragment = (
        b"a=ice-ufrag:x\r\nm=audio 9 RTP/AVP 0\r\na=mid:1\r\n"
        b"a=candidate:1 1 UDP 5 2001:DB8::5 5000 typ host\r\na=candidate:junk\r\n\xff"
    )
    assert candidate_ips(fragment) == {"2001:db8::5"}


def test_an_anchor_is_one_more_candidate_of_the_least_priority() -> None:
    description = sdp(ICE)
    audio = description.media[0]
    audio.remove("remote-candidates")
    audio.add_candidate(Candidate.anchor(1, Endpoint("198.51.100.1", 10_000)))
    audio.add_candidate(Candidate.anchor(2, Endpoint("2001:db8::1", 10_001)))
    assert written(description) == ICE.replace(
        "a=candidate:broken\n",
        "a=candidate:broken\n"
        "a=candidate:ringmesh 1 UDP 255 198.51.100.1 10000 typ relay raddr 0.0.0.0 rport 9\n"
        "a=candidate:ringmesh 2 UDP 254 2001:db8::1 10001 typ relay raddr :: rport 9\n",
    ).replace("a=remote-candidates:1 192.0.2.1 5\n", "")


def test_candidates_are_removed_by_what_they_say() -> None:
    audio = sdp(ICE).media[0]
    assert audio.remove_candidates(lambda candidate: candidate.kind == "relay") == 0
    assert audio.remove_candidates(lambda candidate: not candidate.is_udp) == 1
    assert len(audio.get_all("candidate")) == 4
    assert audio.remove_candidates() == 4
    assert audio.candidates == []


@pytest.mark.parametrize(
    "text",
    ["", "1 1 UDP 1 192.0.2.1 5", "1 1 UDP 1 192.0.2.1 70000 typ host", "1 x UDP 1 a 5 typ host",
     "1 1 UDP 1 192.0.2.1 5 type host", "? 1 UDP 1 192.0.2.1 5 typ host"],
)  # fmt: skip
def test_what_is_no_candidate_is_refused(text: str) -> None:
    with pytest.raises(SdpError):
        Candidate.parse(text)


@pytest.mark.parametrize(
    ("groups", "bundles"),
    [
        ("a=group:BUNDLE a b\r\n", [[0, 1]]),
        ("a=group:BUNDLE b a\r\n", [[1, 0]]),
        ("a=group:BUNDLE a\r\na=group:BUNDLE b c\r\n", [[0], [1, 2]]),
        ("a=group:BUNDLE a a b x\r\na=group:BUNDLE b c\r\n", [[0, 1], [2]]),
        ("a=group:LS a b\r\n", []),
        ("a=group:BUNDLE\r\na=group:\r\na=group\r\n", []),
    ],
)
def test_bundles(groups: str, bundles: list[list[int]]) -> None:
    lines = "".join(f"m=audio 1 RTP/AVP 0\r\na=mid:{mid}\r\n" for mid in "abc")
    description = sdp(f"v=0\r\n{groups}{lines}")
    assert description.bundles() == bundles
    assert description.media[2].mid == "c"


def test_groups() -> None:
    assert sdp("v=0\na=group:LS a b\na=group:BUNDLE\na=group:LS c\n").groups("LS") == [
        ("a", "b"), ("c",),
    ]  # fmt: skip


def test_wrong_edits_stop_loudly() -> None:
    section = media("m=audio 1 RTP/AVP 0\r\n")
    with pytest.raises(UsageError):
        section.set_port(65536)
    with pytest.raises(UsageError):
        section.set_connection("host.example")
    with pytest.raises(UsageError):
        section.set("x", "1\r\na=y")
    with pytest.raises(UsageError):
        section.set_direction("both")


@pytest.mark.parametrize(
    ("origin", "address", "wanted"),
    [
        ("o=- 1 2 IN IP4 192.168.1.2", "2001:db8::1", "o=- 1 2 IN IP6 2001:db8::1"),
        ("o=a 1 2 IN IP6 fd00::2", "192.0.2.1", "o=a 1 2 IN IP4 192.0.2.1"),
        ("o=- 1 2 IN IP4 192.168.1.2", "192.0.2.1", "o=- 1 2 IN IP4 192.168.1.2"),
        ("o=- 1 2 IN IP4", "2001:db8::1", "o=- 1 2 IN IP4"),
        ("o=- 1 2 IN IP4 a b", "2001:db8::1", "o=- 1 2 IN IP4 a b"),
    ],
)
def test_the_origin_follows_the_family(origin: str, address: str, wanted: str) -> None:
    """Some phones take the family of all media from it; within a family it stays as it is."""
    description = sdp(f"v=0\r\n{origin}\r\ns=-\r\n")
    description.session.align_origin(address)
    assert description.encode().decode() == f"v=0\r\n{wanted}\r\ns=-\r\n"
