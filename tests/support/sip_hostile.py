"""Messages built to make a parser slow."""

from collections.abc import Iterator

HEAD = (
    b"Via: SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bKa\r\nFrom: <sip:a@b.example>;tag=1\r\n"
    b"To: <sip:b@b.example>\r\nCall-ID: x@y\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\n"
)
START = b"INVITE sip:b@b.example SIP/2.0\r\n"
CHARACTERS = (
    b" ", b"\t", b",", b";", b":", b'"', b"\\", b"<", b">", b"[", b"]", b"@", b"%", b"=", b"?",
    b"&", b"a", b"0", b"\x00", b"\xff", b"\xc3\xa9", b"\r\n", b"\r", b"\n", b"/", b".", b"*",
)  # fmt: skip
PIECES = (
    b"a,", b";a", b";a=b", b'"",', b'"\\', b'<>,', b"<sip:a>,", b"a:", b"%41", b"[]", b"\r\n ",
    b" \r\n", b"\r\n\t,", b'" <', b";a=\"\"", b"; ", b"= ", b"SIP/2.0/UDP a,", b"sip:", b"&a=b",
    b"\r\na:b", b"\r\nv:", b"\r\nv:SIP/2.0/UDP a;b", b"\r\nm:<sip:a@b>", b"\r\nRoute:<sip:a;lr>",
    b"\r\nl:0", b"\r\nt:<sip:a>", b"<sip:a@[::1]:5060;lr>;q=0.1,", b'"a" <sip:a>;b="c,d",',
    b":::", b"a b ", b"\\,", b"2.0 / UDP a ; ", b"\xc3(", b"1 ",
)  # fmt: skip
FIELDS = (
    b"Via: ", b"Via: SIP/2.0/UDP a;branch=", b"Via: SIP/2.0/UDP ", b"From: ", b"From: a ",
    b'From: "', b"To: <sip:", b"To: <sip:a@b>", b"Contact: ", b"Contact: <sip:a@b?", b"m: <sip:a;",
    b"Route: ", b"Record-Route: <sip:", b"CSeq: ", b"CSeq: 1 ", b"Call-ID: ", b"Max-Forwards: ",
    b"Content-Length: ", b"l:", b"X-Any: ", b"Supported: ", b"", b"Subject",
)  # fmt: skip


SDP_PIECES = (
    b"m=audio 1 RTP/AVP 0\r\n", b"c=IN IP4 1.2.3.4\r\n", b"a=mid:1\r\n", b"a=candidate:\r\n",
    b"a=candidate:1 1 UDP 1 1.2.3.4 5 typ host\r\n", b"a=group:BUNDLE 1 1 1\r\n", b"a=\n", b"\n",
    b"\r\n", b"a=rtcp:1\r\n", b"a=sendrecv\r\n", b"x\r\n", b"a=ice-ufrag:x\n", b"a=a:b\r\n",
)  # fmt: skip
SDP_FIELDS = (
    b"m=", b"m=audio ", b"m=audio 1", b"m=audio 1/", b"m=audio 1 RTP/AVP ", b"c=", b"c=IN IP4 ",
    b"c=IN IP4 1.2.3.4/", b"a=", b"a=rtcp:", b"a=rtcp:1 IN ", b"a=candidate:", b"a=group:BUNDLE ",
    b"a=candidate:1 1 UDP 1 a 1 typ ", b"a=mid:", b"",
)  # fmt: skip


def hostile_sdp(size: int) -> Iterator[tuple[str, bytes]]:
    """Named session descriptions of about `size` bytes."""
    start = b"v=0\r\no=- 1 1 IN IP4 1.2.3.4\r\ns=-\r\nc=IN IP4 1.2.3.4\r\nt=0 0\r\n"
    media = b"m=audio 4000 RTP/AVP 0\r\na=mid:1\r\n"
    for piece in CHARACTERS + PIECES + SDP_PIECES:
        run = piece * ((size - 200) // len(piece))
        for field in SDP_FIELDS:
            yield f"sdp {field!r} {piece!r}", start + media + field + run + b"\r\n" + media
        yield f"sdp lines {piece!r}", start + piece * min(990, len(run) // len(piece)) + media


def hostile(size: int) -> Iterator[tuple[str, bytes]]:
    """Named messages of about `size` bytes."""
    for field in FIELDS:
        for piece in CHARACTERS + PIECES:
            run = piece * (max(size - 300, 1) // len(piece))
            for end in (b"\r\n\r\n", b""):
                name = f"{field!r} {piece!r} {end!r}"
                yield name, START + HEAD + field + run + end
                if end and field and b":" in field:
                    yield name + " first", START + field + run + b"\r\n" + HEAD + end
    for piece in CHARACTERS + PIECES:
        run = piece * (size // len(piece))
        yield f"only {piece!r}", run[:size]
        yield (
            f"uri {piece!r}",
            b"INVITE sip:" + run[: size - 300] + b" SIP/2.0\r\n" + HEAD + b"\r\n",
        )
        yield f"method {piece!r}", run[: size - 300] + b" sip:a SIP/2.0\r\n" + HEAD + b"\r\n"
        yield f"reason {piece!r}", b"SIP/2.0 200 " + run[: size - 300] + b"\r\n" + HEAD + b"\r\n"
