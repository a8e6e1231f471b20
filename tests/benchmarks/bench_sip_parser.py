"""How fast SIP messages are read and passed on, in CPU time: run this file from the root."""

import json
import sys
import time
from collections.abc import Callable
from itertools import cycle

from node.sip.message import Request, parse_message
from node.sip.sdp import Sdp
from node.sip.uri import Uri

SDP = (
    b"v=0\r\no=- 3907465841 3907465841 IN IP4 192.168.1.23\r\ns=pjmedia\r\nb=AS:84\r\nt=0 0\r\n"
    b"a=X-nat:0\r\nm=audio 4000 RTP/AVP 9 8 0 96 120\r\nc=IN IP4 192.168.1.23\r\nb=TIAS:64000\r\n"
    b"a=rtcp:4001 IN IP4 192.168.1.23\r\na=sendrecv\r\na=rtpmap:9 G722/8000\r\n"
    b"a=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:96 telephone-event/8000\r\n"
    b"a=fmtp:96 0-16\r\na=rtpmap:120 telephone-event/16000\r\na=ssrc:1234567890 cname:5a1b2c\r\n"
)
INVITE = (
    b"INVITE sip:04721963388207@198.51.100.20:5060;transport=udp SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 192.168.1.23:5060;rport;branch=z9hG4bKPj6f0d8d0c5e1a4b0f9a7bd1c3e5f70912\r\n"
    b"Max-Forwards: 70\r\n"
    b'From: "Alice Example" <sip:alice@example.org>;tag=2b9e5a7d41c84e0c9d1f\r\n'
    b"To: <sip:04721963388207@example.org>\r\n"
    b'Contact: "Alice Example" <sip:alice@192.168.1.23:5060;ob>\r\n'
    b"Call-ID: 7f1e2d3c4b5a69788796a5b4c3d2e1f0\r\n"
    b"CSeq: 21456 INVITE\r\n"
    b"Route: <sip:198.51.100.20:5060;lr>\r\n"
    b"Allow: PRACK, INVITE, ACK, BYE, CANCEL, UPDATE, INFO, SUBSCRIBE, NOTIFY, REFER, MESSAGE\r\n"
    b"Supported: replaces, 100rel, timer, norefersub\r\n"
    b'Proxy-Authorization: Digest username="alice", realm="ringmesh", '
    b'nonce="66f0c2d5a1b2c3d4e5f6", uri="sip:04721963388207@example.org", '
    b'response="6629fae49393a05397450978507c4ef1", '
    b'cnonce="0a4f113b", qop=auth, nc=00000001, algorithm=MD5\r\n'
    b"Session-Expires: 1800\r\nMin-SE: 90\r\nUser-Agent: PJSUA v2.15.1 Linux\r\n"
    b"Content-Type: application/sdp\r\nContent-Length: "
    + str(len(SDP)).encode()
    + b"\r\n\r\n"
    + SDP
)
NEXT_HOP = Uri.parse("sip:bob@203.0.113.9:5060;ob")


STRANGERS = cycle([
    INVITE.replace(b"alice", b"al%04d" % n).replace(b"04721963388207", b"0472196338%04d" % n)
    for n in range(4096)
])  # fmt: skip
"As many different calls as no memory of URIs holds."


def parse_only(data: bytes = INVITE) -> Request:
    """Cut into lines."""
    message = parse_message(data)
    assert isinstance(message, Request)
    return message


def read_proxy_fields(data: bytes = INVITE) -> None:
    """What a proxy looks at in a request."""
    message = parse_only(data)
    _ = message.uri, message.top_via, message.from_, message.to, message.call_id, message.cseq
    _ = message.max_forwards, message.routes, message.contacts


def read_strangers() -> None:
    """The same, with URIs never seen before."""
    read_proxy_fields(next(STRANGERS))


def check() -> None:
    """All that is verified before forwarding."""
    parse_only().check()


def edit() -> None:
    """Parse, change what a proxy changes, and write."""
    message = parse_only()
    message.replace_first_value("Via", str(message.top_via.with_received("192.0.2.7", 5060)))
    message.prepend("Via", "SIP/2.0/UDP 198.51.100.20:5060;rport;branch=z9hG4bK0123456789abcdef")
    message.prepend("Record-Route", "<sip:0123456789abcdef@198.51.100.20:5060;lr>")
    message.set("Max-Forwards", str((message.max_forwards or 70) - 1))
    message.uri = NEXT_HOP
    message.encode()


def sdp() -> None:
    """Parse an offer, put an anchor in, write it."""
    offer = Sdp.parse(SDP)
    for media in offer.media:
        media.set_address("198.51.100.20", 10_000)
        media.set_rtcp(None)
    offer.encode()


def rate(work: Callable[[], object], seconds: float = 0.3) -> float:
    """Runs a second of CPU time, the best of three tries."""
    best = 0.0
    for _ in range(3):
        runs, begin = 0, time.process_time()
        while (spent := time.process_time() - begin) < seconds:
            for _ in range(100):
                work()
            runs += 100
        best = max(best, runs / spent)
    return best


GOALS: list[tuple[str, Callable[[], object], int | None]] = [
    ("parse", parse_only, None),
    ("parse + proxy fields", read_proxy_fields, 25_000),
    ("  with URIs never seen", read_strangers, None),
    ("parse + check", check, None),
    ("parse, edit, write", edit, 20_000),
    ("SDP parse, anchor, write", sdp, None),
]


def main() -> None:
    """Print each figure beside its goal (with --json as one object)."""
    results = {name: round(rate(work)) for name, work, _ in GOALS}
    if "--json" in sys.argv:
        print(json.dumps(results))
        return
    print(f"SIP messages of {len(INVITE)} bytes, runs a second of CPU time")
    for name, _, goal in GOALS:
        aim = "" if goal is None else f"  goal {goal:>7,}"
        print(f"  {name:<26}{results[name]:>9,}{aim}")


if __name__ == "__main__":
    main()
