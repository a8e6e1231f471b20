"""Cutting a TCP or TLS stream into STUN messages and ChannelData (RFC 8656 section 12.5)."""

from media_relay.stun.message import HEADER_BYTES, StunError

MAX_TURN_BYTES = 4096
"The longest message, or datagram with its header, that is passed on."
CHANNEL_HEADER_BYTES = 4


class StreamFramer:
    """Takes what a stream brings and gives whole messages; holds one unfinished at most."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are complete now, ChannelData without its padding.

        Raises:
            StunError: neither kind, or too long; the stream is beyond repair.
        """
        buffer = self._buffer + data if self._buffer else data
        messages: list[bytes] = []
        at, end = 0, len(buffer)
        while end - at >= CHANNEL_HEADER_BYTES:
            size = int.from_bytes(buffer[at + 2 : at + 4], "big")
            kind = buffer[at] & 0xC0
            if kind == 0:
                size += HEADER_BYTES
            elif kind == 0x40:
                size += CHANNEL_HEADER_BYTES
            else:
                raise StunError("neither STUN nor ChannelData")
            if size > MAX_TURN_BYTES:
                raise StunError("a message that is too long")
            padded = (size + 3) & ~3
            if end - at < padded:
                break
            messages.append(buffer[at : at + size])
            at += padded
        self._buffer = buffer[at:]
        return messages


def padded(data: bytes) -> bytes:
    """A message as a stream carries it: a multiple of four bytes."""
    rest = len(data) & 3
    return data + bytes(4 - rest) if rest else data
