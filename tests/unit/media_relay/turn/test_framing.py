"""Streams cut into messages."""

import pytest

from media_relay.stun.attributes import MessageClass, Method
from media_relay.stun.message import Message, StunError
from media_relay.turn.framing import MAX_TURN_BYTES, StreamFramer, padded

STUN = Message(Method.BINDING, MessageClass.REQUEST, bytes(12), ()).encode()
DATA = b"\x40\x01\x00\x05hello"
STREAM = STUN + padded(DATA) + padded(b"\x7f\xff\x00\x00") + STUN


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 24, len(STREAM)])
def test_messages_come_whole_however_they_arrive(size: int) -> None:
    framer = StreamFramer()
    got = []
    for at in range(0, len(STREAM), size):
        got += framer.feed(STREAM[at : at + size])
    assert got == [STUN, DATA, b"\x7f\xff\x00\x00", STUN]


def test_padding() -> None:
    assert [len(padded(bytes(size))) for size in range(6)] == [0, 4, 4, 4, 4, 8]


@pytest.mark.parametrize("head", [b"\x80\0\0\0", b"\xff\0\0\0", b"GET / HTTP/1.1"])
def test_other_protocols_are_refused(head: bytes) -> None:
    with pytest.raises(StunError):
        StreamFramer().feed(head)


def test_a_message_that_is_too_long_is_refused_at_its_head() -> None:
    most = MAX_TURN_BYTES - 4
    assert StreamFramer().feed(b"\x40\0" + most.to_bytes(2, "big")) == []
    with pytest.raises(StunError):
        StreamFramer().feed(b"\x40\0" + (most + 1).to_bytes(2, "big"))
