"""Any frame survives the wire; any bytes are a frame or the one error."""

from hypothesis import given, settings
from hypothesis import strategies as st

from federation.codec import LENGTH_BYTES, CodecError, FrameReader, decode, encode
from federation.messages import (
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

texts = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=100)
txns = st.binary(min_size=16, max_size=16)
ips = st.none() | st.ip_addresses(v=4).map(str) | st.just("2001:db8::7")
addresses = st.builds(LegAddress, ips, st.integers(1, 65535))
secrets = st.binary(min_size=32, max_size=32)
offers = st.builds(
    LegOffer,
    address=addresses,
    first_id=st.integers(0, 2**32 - 65),
    count=st.integers(1, 64),
    secret=secrets,
)
answers = st.builds(
    LegAnswer,
    address=addresses,
    own_id=st.integers(0, 2**32 - 1),
    index=st.integers(0, 63),
    secret=secrets,
)
legs = st.lists(st.none() | offers | answers, max_size=4).map(tuple)
bodies = st.binary(max_size=300)
requests = st.builds(
    Request,
    txn=txns,
    sip=st.builds(
        lambda method, rest: method + b" " + rest, st.sampled_from([b"INVITE", b"A.b"]), bodies
    ),
    legs=legs,
    statement=st.none() | st.binary(max_size=100),
    last_seq=st.integers(0, 2**31 - 1),
)
responses = st.builds(
    Response,
    txn=txns,
    seq=st.integers(1, 2**31 - 1),
    sip=st.builds(
        lambda status, rest: b"SIP/2.0 %d " % status + rest, st.integers(100, 699), bodies
    ),
    legs=legs,
)
hellos = st.builds(
    Hello,
    version=st.integers(1, 2**32 - 1),
    features=st.lists(texts, max_size=5).map(tuple),
    domains=st.lists(texts, max_size=5).map(tuple),
    software=texts,
)
numbers = st.integers(0, 2**32 - 1)
frames: st.SearchStrategy[Frame] = st.one_of(
    hellos,
    requests,
    responses,
    st.builds(Cancel, txn=txns, reason=texts),
    st.builds(Bye, call_id=texts, sender_tag=texts, receiver_tag=texts, reason=texts),
    st.builds(Ping, numbers),
    st.builds(Pong, numbers),
    st.builds(Goodbye, texts),
)


@settings(deadline=None, max_examples=150)
@given(st.lists(frames, max_size=5), st.integers(1, 200))
def test_frames_survive_any_cutting_of_the_stream(sent: list[Frame], size: int) -> None:
    data = b"".join(encode(frame) for frame in sent)
    reader = FrameReader()
    got = [
        frame
        for start in range(0, len(data), size)
        for frame in reader.feed(data[start : start + size])
    ]
    assert got == sent
    assert reader.buffered == 0


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=200))
def test_random_bytes_are_the_one_error_or_a_frame_that_survives(data: bytes) -> None:
    try:
        frame = decode(data)
    except CodecError:
        return
    if frame is not None:
        assert decode(encode(frame)[LENGTH_BYTES:]) == frame


@settings(deadline=None, max_examples=300)
@given(frames, st.data())
def test_a_damaged_frame_is_the_one_error_or_a_frame_that_survives(
    frame: Frame, draw: st.DataObject
) -> None:
    data = bytearray(encode(frame)[LENGTH_BYTES:])
    for _ in range(draw.draw(st.integers(1, 3))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    try:
        damaged = decode(bytes(data))
    except CodecError:
        return
    if damaged is not None:
        assert decode(encode(damaged)[LENGTH_BYTES:]) == damaged


@settings(deadline=None, max_examples=200)
@given(st.lists(st.binary(max_size=60), max_size=10))
def test_a_reader_fed_with_anything_holds_little_and_fails_in_one_way(pieces: list[bytes]) -> None:
    reader = FrameReader()
    for piece in pieces:
        try:
            reader.feed(piece)
        except CodecError:
            return
        assert reader.buffered <= sum(map(len, pieces))
