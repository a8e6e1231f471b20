"""Framing does not depend on how a stream is cut, and no bytes make it fail or grow."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from federation.model.clocks import Monotonic
from node.sip.framing import (
    MAX_MESSAGE_BYTES,
    Framed,
    FramingEvent,
    FramingFailed,
    Ping,
    StreamFramer,
)
from tests.support.sip_exchange import request

NOW = Monotonic(0.0)
messages = st.builds(
    lambda method, body: request(method, body=body).encode(),
    st.sampled_from(["OPTIONS", "INVITE", "MESSAGE"]),
    st.binary(max_size=80),
)
between = st.sampled_from([b"", b"\r\n", b"\r\n\r\n", b"\r\n\r\n\r\n"])
hostile = st.lists(
    st.sampled_from([b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"l: 3", b"Content-Length: 5", b":", b" ",
                     b"OPTIONS sip:a SIP/2.0", b"x", b"\0", b"\xff"])
    | st.binary(max_size=8),
    max_size=40,
).map(b"".join)  # fmt: skip


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({p % (len(stream) + 1) for p in places} | {len(stream)})
    return [stream[a:b] for a, b in itertools.pairwise([0, *ends])]


def feed(chunks: list[bytes]) -> list[FramingEvent]:
    """What chunks give; pings in a row are one where they come together, and one here."""
    framer = StreamFramer()
    events = [event for chunk in chunks for event in framer.receive(chunk, now=NOW)]
    repeated = [a == b == Ping() for a, b in itertools.pairwise([None, *events])]
    return [event for event, again in zip(events, repeated, strict=True) if not again]


places = st.lists(st.integers(0, 5000), max_size=30)


@settings(deadline=None, max_examples=150)
@given(st.lists(st.tuples(between, messages), max_size=5), places)
def test_any_cut_of_a_stream_gives_the_same_messages(
    parts: list[tuple[bytes, bytes]], cuts: list[int]
) -> None:
    stream = b"".join(itertools.chain.from_iterable(parts))
    framed = [e.data for e in feed(cut(stream, cuts)) if isinstance(e, Framed)]
    assert framed == [message for _, message in parts]
    assert feed(cut(stream, cuts)) == feed([stream])


@settings(deadline=None, max_examples=300)
@given(hostile, places)
def test_hostile_streams_are_read_the_same_however_cut(stream: bytes, cuts: list[int]) -> None:
    whole = feed([stream])
    assert feed(cut(stream, cuts)) == whole
    assert feed([stream[i : i + 1] for i in range(len(stream))]) == whole
    assert all(not isinstance(e, FramingFailed) for e in whole[:-1])
    assert all(len(e.data) <= MAX_MESSAGE_BYTES for e in whole if isinstance(e, Framed))
