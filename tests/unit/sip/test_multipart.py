"""The place of a session description in bodies of several parts (RFC 2046, RFC 5621)."""

import time

import pytest

from node.sip.multipart import MAX_DEPTH, MAX_PARTS, description_place

SDP = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
MIXED = "multipart/mixed;boundary=b"
PART = b"Content-Type: application/sdp\r\n\r\n" + SDP


def wrap(*parts: bytes, boundary: bytes = b"b", end: bytes = b"--\r\n") -> bytes:
    return b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts) + (
        b"--" + boundary + end
    )


def found(body: bytes, kind: str = MIXED) -> bytes | None:
    place = description_place(kind, body)
    return None if place is None else body[place.start : place.end]


TEXT = b"Content-Type: text/plain\r\n\r\nhello"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/sdp", SDP),
        ("Application/SDP; charset=utf-8", SDP),
        (MIXED, wrap(PART)),
        (MIXED, wrap(TEXT, PART)),
        (MIXED, wrap(PART, TEXT)),
        (MIXED, wrap(PART, PART.replace(b"192.0.2.1", b"192.0.2.2"))),
        ('Multipart/Related; type="x"; Boundary="b"', wrap(TEXT, PART)),
        ('multipart/mixed; boundary="a b?"', wrap(PART, boundary=b"a b?")),
        ("multipart/mixed;boundary=a.*", wrap(PART, boundary=b"a.*")),
        (MIXED, b"a preamble\r\n" + wrap(PART) + b"an epilogue"),
        (MIXED, wrap(b"Content-Disposition: session;handling=required\r\n" + PART)),
        (MIXED, wrap(b"Content-Transfer-Encoding: 8bit\r\n" + PART)),
        (MIXED, wrap(b"content-type:\r\n application/sdp\r\n\r\n" + SDP)),
        (MIXED, wrap(b"\r\nplain text without header", PART)),
        (MIXED, wrap(b"", PART)),
        (
            MIXED,
            wrap(
                TEXT,
                b"Content-Type: multipart/alternative;boundary=inner\r\n\r\n"
                + wrap(TEXT, PART, boundary=b"inner"),
            ),
        ),
    ],
)
def test_a_description_is_found_byte_for_byte(kind: str, body: bytes) -> None:
    assert found(body, kind) == SDP


def test_bare_line_feeds_and_a_missing_end_are_forgiven() -> None:
    assert found(wrap(TEXT, PART).replace(b"\r\n", b"\n")) == SDP.replace(b"\r\n", b"\n")
    assert found(b"--b\r\n" + PART) == SDP


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("", SDP),
        ("text/plain", SDP),
        ("application/sdp", b""),
        ("multipart/mixed", wrap(PART)),
        ("multipart/mixed;boundary=other", wrap(PART)),
        (MIXED, wrap(TEXT)),
        (MIXED, b""),
        (MIXED, b"--b--\r\n" + PART),
        (MIXED, wrap(b"Content-Type: application/sdp\r\n\r\n")),
        (MIXED, wrap(b"Content-Type: application/sdp")),
        (MIXED, wrap(b"Content-Disposition: early-session\r\n" + PART)),
        (MIXED, wrap(b"Content-Transfer-Encoding: base64\r\n" + PART)),
    ],
)
def test_what_is_none_is_not_found(kind: str, body: bytes) -> None:
    assert found(body, kind) is None


def test_parts_and_depth_are_bounded() -> None:
    assert found(wrap(*[TEXT] * (MAX_PARTS - 1), PART)) == SDP
    assert found(wrap(*[TEXT] * MAX_PARTS, PART)) is None
    for depth, expected in ((MAX_DEPTH, SDP), (MAX_DEPTH + 1, None)):
        body, kind = SDP, "application/sdp"
        for level in range(depth):
            inner = f"Content-Type: {kind}\r\n\r\n".encode() + body
            body, kind = wrap(inner, boundary=b"%d" % level), f"multipart/mixed;boundary={level}"
        assert found(body, kind) == expected


@pytest.mark.parametrize("text", [b"\r\n", b"\n", b"--b\r\n", b"\r\n--", b"\r\n--b", b"a:\r\n "])
def test_no_body_takes_long(text: bytes) -> None:
    body = (text * 65536)[:65536]
    start = time.process_time()
    description_place(MIXED, body)
    description_place(MIXED, b"--b\r\n" + body)
    assert time.process_time() - start < 0.5
