"""Frames as bytes."""

import msgpack
import pytest

from federation import codec
from federation.codec import (
    LENGTH_BYTES,
    MAX_FRAME_BYTES,
    CodecError,
    FrameReader,
    decode,
    encode,
)
from federation.messages import (
    LEG_SECRET_BYTES,
    MAX_DOMAINS,
    MAX_FEATURES,
    MAX_LEG_COUNT,
    MAX_LEGS,
    MAX_SIP_BYTES,
    MAX_STATEMENT_BYTES,
    MAX_TEXT_BYTES,
    Bye,
    Cancel,
    Frame,
    Goodbye,
    Hello,
    LegAddress,
    LegAnswer,
    LegOffer,
    Ping,
    Pong,
    Request,
    Response,
)

TXN = b"t" * 16
SECRET = b"s" * LEG_SECRET_BYTES
OFFER = LegOffer(address=LegAddress("192.0.2.9", 12000), first_id=5, count=8, secret=SECRET)
ANSWER = LegAnswer(address=LegAddress(None, 1), own_id=2**32 - 1, index=0, secret=SECRET)
FRAMES: list[Frame] = [
    Hello(version=1, features=("a", "b"), domains=("example.org",), software="ringmesh 0.1"),
    Request(
        txn=TXN,
        sip=b"INVITE sip:b@x SIP/2.0\r\n\r\n",
        legs=(OFFER, None),
        statement=b"s",
        last_seq=3,
    ),
    Request(txn=TXN, sip=b"x!%*_+`'~.- sip:b SIP/2.0\r\n"),
    Response(txn=TXN, seq=1, sip=b"SIP/2.0 200 OK\r\n\r\n", legs=(None, ANSWER)),
    Cancel(txn=TXN, reason="SIP;cause=200"),
    Bye(call_id="c@h", sender_tag="1", receiver_tag="2", reason="gone"),
    Ping(0),
    Pong(2**32 - 1),
    Goodbye("so long"),
]


def raw(*values: object) -> bytes:
    data: bytes = msgpack.packb(list(values))
    return data


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: type(frame).__name__)
def test_every_frame_survives(frame: Frame) -> None:
    data = encode(frame)
    assert int.from_bytes(data[:LENGTH_BYTES], "big") == len(data) - LENGTH_BYTES
    assert decode(data[LENGTH_BYTES:]) == frame


def test_the_wire_form_is_the_one_of_the_readme() -> None:
    assert encode(Ping(7)).hex() == "00000003" + "920607"
    assert encode(Cancel(txn=TXN, reason="")).hex() == "00000015" + "9304c410" + TXN.hex() + "a0"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 4096])
def test_a_reader_does_not_mind_how_the_stream_was_cut(size: int) -> None:
    data = b"".join(encode(frame) for frame in FRAMES)
    reader = FrameReader()
    got: list[Frame] = []
    for start in range(0, len(data), size):
        got += reader.feed(data[start : start + size])
    assert got == FRAMES
    assert reader.buffered == 0


def test_unknown_types_and_trailing_fields_are_ignored() -> None:
    assert decode(raw(99, {"later": [1, 2]}, "fields")) is None
    assert decode(raw(6, 7, "appended", [1])) == Ping(7)
    assert FrameReader().feed(b"\0\0\0\x02" + raw(99) + encode(Ping(1))) == [Ping(1)]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        raw(),
        raw("6", 7),
        raw(-1),
        raw(True, 7),
        raw(6),
        raw(6, "7"),
        raw(6, True),
        raw(6, -1),
        raw(6, 2**32),
        raw(6, 7.0),
        msgpack.packb({6: 7}),
        msgpack.packb(6),
        raw(6, 7) + b"\0",
        raw(4, TXN[1:], ""),
        raw(4, TXN + b"x", ""),
        raw(4, "t" * 16, ""),
        raw(4, TXN, b""),
        raw(4, TXN, None),
        raw(2, TXN, b"no-space", [], None, 0),
        raw(2, TXN, b" sip:x", [], None, 0),
        raw(2, TXN, b"IN(VITE sip:x", [], None, 0),
        raw(2, TXN, b"INVITE sip:x", None, None, 0),
        raw(2, TXN, b"INVITE sip:x", [], "s", 0),
        raw(2, TXN, b"INVITE sip:x", [], None, -1),
        raw(3, TXN, 0, b"SIP/2.0 200 OK", []),
        raw(3, TXN, 1, b"SIP/2.0 099 OK", []),
        raw(3, TXN, 1, b"SIP/2.0 700 OK", []),
        raw(3, TXN, 1, b"SIP/2.0 20 OK", []),
        raw(3, TXN, 1, b"INVITE sip:x SIP/2.0", []),
        raw(1, 0, [], [], ""),
        raw(1, 1, "features", [], ""),
        raw(1, 1, [], [1], ""),
        b"\x92\xa6\xed\xa0\x80\xed\xb0\x80\x07",
        b"\x92\x06\xd4\x01\x00",
        b"\x92\x06\xdd\xff\xff\xff\xff",
        b"\x91" * 600,
    ],
)
def test_anything_else_is_the_one_error(data: bytes) -> None:
    with pytest.raises(CodecError):
        decode(data)


@pytest.mark.parametrize(
    "leg",
    [
        [],
        [1, [None, 5], 1, 1],
        [3, [None, 5], 1, 1, SECRET],
        [1, None, 1, 1, SECRET],
        [1, [None], 1, 1, SECRET],
        [1, ["1.2.3.4", 5], 1, 1, SECRET],
        [1, [b"12345", 5], 1, 1, SECRET],
        [1, [None, 0], 1, 1, SECRET],
        [1, [None, 65536], 1, 1, SECRET],
        [1, [None, 5], -1, 1, SECRET],
        [1, [None, 5], 2**32, 1, SECRET],
        [1, [None, 5], 2**32 - 1, 2, SECRET],
        [1, [None, 5], 1, 0, SECRET],
        [1, [None, 5], 1, MAX_LEG_COUNT + 1, SECRET],
        [2, [None, 5], 1, MAX_LEG_COUNT, SECRET],
        [1, [None, 5], 1, 1, SECRET[1:]],
        "leg",
        5,
    ],
)
def test_a_leg_that_is_not_exactly_one_is_refused(leg: object) -> None:
    with pytest.raises(CodecError):
        decode(raw(3, TXN, 1, b"SIP/2.0 200 OK", [leg]))


def test_each_limit_holds_at_its_edge() -> None:
    def request(**changes: object) -> Request:
        values: dict[str, object] = {"txn": TXN, "sip": b"INVITE sip:x"} | changes
        return Request(**values)  # type: ignore[arg-type]

    padding = b"INVITE " + b"x" * (MAX_SIP_BYTES - 7)
    allowed: list[Frame] = [
        request(sip=padding, legs=(OFFER,) * MAX_LEGS, statement=b"s" * MAX_STATEMENT_BYTES),
        Hello(features=("f",) * MAX_FEATURES, domains=("d",) * MAX_DOMAINS),
        Goodbye("é" * (MAX_TEXT_BYTES // 2)),
    ]
    for frame in allowed:
        assert decode(encode(frame)[LENGTH_BYTES:]) == frame
    refused: list[Frame] = [
        request(sip=padding + b"x"),
        request(legs=(None,) * (MAX_LEGS + 1)),
        request(statement=b"s" * (MAX_STATEMENT_BYTES + 1)),
        request(
            legs=(LegOffer(address=LegAddress("host", 5), first_id=1, count=1, secret=SECRET),)
        ),
        Hello(features=("f",) * (MAX_FEATURES + 1)),
        Hello(domains=("d",) * (MAX_DOMAINS + 1)),
        Goodbye("é" * (MAX_TEXT_BYTES // 2) + "x"),
        Goodbye("\ud800"),
    ]
    for frame in refused:
        with pytest.raises(CodecError):
            encode(frame)


@pytest.mark.parametrize("size", [0, MAX_FRAME_BYTES + 1, 2**32 - 1])
def test_a_reader_refuses_a_length_before_the_bytes_come(size: int) -> None:
    with pytest.raises(CodecError):
        FrameReader().feed(size.to_bytes(LENGTH_BYTES, "big"))


def test_depth_is_bounded() -> None:
    value: object = 1
    for _ in range(codec.MAX_DEPTH - 1):
        value = [value]
    assert decode(raw(99, value)) is None
    with pytest.raises(CodecError):
        decode(raw(99, [value]))
    with pytest.raises(CodecError):
        decode(raw(99, {1: [value]}))
