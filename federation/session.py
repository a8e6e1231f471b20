"""One link, seen from one side: streams, frames, hello, pings. Sans-I/O.

A link is a QUIC connection whose peer has proven its key. It is up once both hellos are through:
the dialler opens stream 0, the control stream, and says hello; the other side answers there. After
that the control stream carries pings and goodbye, and every other stream one exchange:

    request ->  [cancel ->]  <- response ...      a transaction; ends with the final response
    request (ACK) ->                              no answer
    bye ->      <- response
    response ->                                   a further 2xx

Whatever breaks these rules or the limits below ends the link, and nothing but the link.
"""

from dataclasses import dataclass, field

from federation.codec import CodecError, FrameReader, encode
from federation.messages import (
    Bye,
    Cancel,
    Frame,
    Goodbye,
    Hello,
    LinkError,
    Ping,
    Pong,
    Request,
    Response,
    StreamError,
)
from federation.model.clocks import Monotonic
from federation.session_effects import (
    Close,
    Leaving,
    Received,
    ResetStream,
    SessionEffect,
    StreamEnded,
    Up,
    Write,
)

CONTROL_STREAM = 0
HELLO_TIMEOUT = 3.0
"Seconds from the first packet to the peer's hello."
DIALLER_PING_INTERVAL = 20.0
ACCEPTOR_PING_INTERVAL = 25.0
"""Seconds without a word from the peer before a ping. They differ, so that one ping serves both
sides; both are below the 30 s after which NATs forget."""
BUSY_PING_INTERVAL = 5.0
"The same while exchanges are open; the accepting side waits a second longer."
PING_TIMEOUT = 4.0
"Seconds for the pong, then the link is dead."
PROBE_TIMEOUT = 2.0
"The same for a ping out of suspicion."
IDLE_TIMEOUT = 900.0
"Seconds without an exchange before the link is closed."
FIRST_FRAME_TIMEOUT = 2.0
"Seconds that a new stream may go without a further byte of its first frame."
FIRST_FRAME_BUDGET = 8.0
"Seconds for the whole first frame."
MAX_SLOW_STREAMS = 64
"Streams of one link that may miss those before it is closed."
MAX_PARTIAL_BYTES = 16 * 2**20
"Bytes of unfinished frames on all streams."
MAX_EARLY_BYTES = 2**20
"Bytes taken from a peer whose hello is still under way."
MAX_EARLY_PIECES = 4_096
MAX_STREAM_FRAMES = 1_024
"Frames on one exchange."
CONTROL_FRAME_BURST = 64.0
CONTROL_FRAME_RATE = 4.0
"Control frames a second that are taken for ever, after a burst."


@dataclass(slots=True)
class _Stream:
    is_ours: bool
    opened_at: Monotonic
    last_byte_at: Monotonic
    reader: FrameReader = field(default_factory=FrameReader)
    frames: int = 0
    has_first: bool = False
    takes_cancel: bool = False
    we_ended: bool = False
    peer_ended: bool = False


class LinkSession:
    """The rules of one link.

    Inputs: bytes and resets of streams, our own frames, time. `begin` starts the dialler's side.
    """

    def __init__(self, *, is_dialler: bool, hello: Hello, now: Monotonic) -> None:
        self._is_dialler = is_dialler
        self._hello = hello
        self._streams: dict[int, _Stream] = {}
        self._unstarted: set[int] = set()
        self._given_up: set[int] = set()
        self._early: list[tuple[int, bytes, bool]] = []
        self._early_bytes = 0
        self._next_stream = CONTROL_STREAM if is_dialler else 1
        self._partial_bytes = 0
        self._slow_streams = 0
        self._control_tokens = CONTROL_FRAME_BURST
        self._control_at = now
        self._hello_by: Monotonic | None = Monotonic(now + HELLO_TIMEOUT)
        self._heard_at = now
        self._used_at = now
        self._ping_number = 0
        self._ping_at: Monotonic | None = None
        self._pong_by: Monotonic | None = None
        self._is_over = False
        self.rtt: float | None = None
        "Seconds of the latest ping; `None` before the first."

    @property
    def is_up(self) -> bool:
        """Whether both hellos are through and the link is not closed."""
        return self._hello_by is None and not self._is_over

    @property
    def exchange_count(self) -> int:
        """Streams in use, the control stream left out."""
        return len(self._streams) - (CONTROL_STREAM in self._streams)

    # -- our side -------------------------------------------------------------------------

    def begin(self, *, now: Monotonic) -> list[SessionEffect]:
        """Open the control stream and say hello: the dialler has chosen this connection."""
        stream = self._open(now)
        assert stream == CONTROL_STREAM
        return [Write(stream, encode(self._hello), False)]

    def open_stream(
        self, frames: tuple[Frame, ...], *, end: bool, now: Monotonic
    ) -> tuple[int, list[SessionEffect]]:
        """Open a stream with these frames.

        Raises:
            CodecError: a frame cannot be encoded; nothing was opened.
        """
        data = b"".join(encode(frame) for frame in frames)
        stream = self._open(now)
        self._used_at = now
        return stream, self._write(stream, data, end)

    def send(
        self, stream: int, frame: Frame | None, *, end: bool, now: Monotonic
    ) -> list[SessionEffect]:
        """Send a frame (or with `None` just the end) on an open stream; a closed one swallows it.

        Raises:
            CodecError: the frame cannot be encoded.
        """
        state = self._streams.get(stream)
        if state is None or state.we_ended:
            return []
        self._used_at = now
        return self._write(stream, b"" if frame is None else encode(frame), end)

    def reset(self, stream: int, error: StreamError) -> list[SessionEffect]:
        """Give up a stream. The peer's answer to that is not waited for."""
        if stream not in self._streams:
            return []
        self._give_up(stream)
        return [ResetStream(stream, error)]

    def probe(self, *, now: Monotonic) -> list[SessionEffect]:
        """Ping at once, out of suspicion."""
        if not self.is_up or self._pong_by is not None:
            return []
        return self._ping(now, PROBE_TIMEOUT)

    def goodbye(self, reason: str) -> list[SessionEffect]:
        """Tell the peer that this node is going away."""
        if not self.is_up:
            return []
        return [Write(CONTROL_STREAM, encode(Goodbye(reason)), False)]

    def over(self) -> list[SessionEffect]:
        """The connection is gone: end every stream that waits for the peer."""
        self._is_over = True
        streams = [stream for stream in self._streams if stream != CONTROL_STREAM]
        self._streams.clear()
        self._early.clear()
        return [StreamEnded(stream, StreamError.NONE) for stream in streams]

    # -- the peer's side ------------------------------------------------------------------

    def stream_data(
        self, stream: int, data: bytes, end: bool, *, now: Monotonic
    ) -> list[SessionEffect]:
        """Take the next bytes of a stream."""
        if self._is_over:
            return []
        state = self._streams.get(stream)
        if self._hello_by is not None and self._is_dialler and stream != CONTROL_STREAM:
            # The peer may speak right after its hello, and packets may change places.
            self._early.append((stream, data, end))
            self._early_bytes += len(data)
            if self._early_bytes > MAX_EARLY_BYTES or len(self._early) > MAX_EARLY_PIECES:
                return self._close(LinkError.FLOODING, "too much before the hello")
            return []
        if state is None:
            if stream in self._given_up or stream % 2 == (0 if self._is_dialler else 1):
                if end:
                    self._given_up.discard(stream)
                return []  # still under way when we gave the stream up
            if stream & 2:
                return [ResetStream(stream, StreamError.MALFORMED)]
            state = self._streams[stream] = _Stream(False, now, now)
            self._unstarted.add(stream)
        if state.peer_ended:
            return []
        state.last_byte_at = now
        before = state.reader.buffered
        try:
            frames = state.reader.feed(data)
        except CodecError as error:
            return self._close(LinkError.MALFORMED, str(error))
        self._partial_bytes += state.reader.buffered - before
        if self._partial_bytes > MAX_PARTIAL_BYTES:
            return self._close(LinkError.FLOODING, "too many unfinished frames")
        effects: list[SessionEffect] = []
        for frame in frames:
            effects += self._frame(stream, state, frame, now)
            if effects and isinstance(effects[-1], Close):
                return effects
        if end:
            effects += self._peer_ended(stream, state)
        return effects

    def stream_reset(self, stream: int, code: int) -> list[SessionEffect]:
        """The peer gave up a stream."""
        self._given_up.discard(stream)
        state = self._streams.get(stream)
        if state is None or self._is_over:
            return []
        if stream == CONTROL_STREAM:
            return self._close(LinkError.MALFORMED, "control stream reset")
        self._drop(stream)
        known = code in StreamError.__members__.values()
        error = StreamError(code) if known else StreamError.NONE
        return [ResetStream(stream, StreamError.NONE), StreamEnded(stream, error)]

    # -- time -----------------------------------------------------------------------------

    def next_timer(self) -> Monotonic | None:
        """When `handle_timer` is next needed; possibly early, never late."""
        if self._is_over:
            return None
        if self._hello_by is not None:
            return self._hello_by
        due = self._pong_by if self._pong_by is not None else self._ping_due()
        if self.exchange_count == 0:
            due = min(due, Monotonic(self._used_at + IDLE_TIMEOUT))
        for stream in self._unstarted:
            due = min(due, self._first_frame_due(self._streams[stream]))
        return due

    def handle_timer(self, *, now: Monotonic) -> list[SessionEffect]:
        """Do what is due by `now`. Calling early is harmless."""
        if self._is_over:
            return []
        if self._hello_by is not None:
            if now < self._hello_by:
                return []
            return self._close(LinkError.SILENT, "no hello")
        if self._pong_by is not None and now >= self._pong_by:
            return self._close(LinkError.SILENT, "no pong")
        if self.exchange_count == 0 and now >= self._used_at + IDLE_TIMEOUT:
            return self._close(LinkError.IDLE, "not used")
        effects = self._drop_slow_streams(now)
        if not self._is_over and self._pong_by is None and now >= self._ping_due():
            effects += self._ping(now, PING_TIMEOUT)
        return effects

    # -- frames ---------------------------------------------------------------------------

    def _frame(
        self, stream: int, state: _Stream, frame: Frame, now: Monotonic
    ) -> list[SessionEffect]:
        self._heard_at = now
        if stream == CONTROL_STREAM:
            return self._control_frame(stream, state, frame, now)
        if self._hello_by is not None:
            return self._close(LinkError.MALFORMED, "no hello yet")
        self._used_at = now
        state.frames += 1
        if state.frames > MAX_STREAM_FRAMES:
            return self._close(LinkError.FLOODING, "too many frames on a stream")
        is_first = not state.has_first
        state.has_first = True
        self._unstarted.discard(stream)
        match frame:
            case Response() if state.is_ours or is_first:
                return [Received(stream, frame)]
            case Request() if not state.is_ours and is_first:
                state.takes_cancel = True
                return [Received(stream, frame)]
            case Bye() if not state.is_ours and is_first:
                return [Received(stream, frame)]
            case Cancel() if state.takes_cancel:
                return [Received(stream, frame)]
        return self._close(LinkError.MALFORMED, f"{type(frame).__name__} out of place")

    def _control_frame(
        self, stream: int, state: _Stream, frame: Frame, now: Monotonic
    ) -> list[SessionEffect]:
        self._unstarted.discard(stream)
        elapsed = now - self._control_at
        self._control_at = now
        tokens = self._control_tokens + elapsed * CONTROL_FRAME_RATE - 1
        self._control_tokens = min(tokens, CONTROL_FRAME_BURST)
        if tokens < 0:
            return self._close(LinkError.FLOODING, "too many control frames")
        if not state.has_first:
            if not isinstance(frame, Hello):
                return self._close(LinkError.MALFORMED, "no hello first")
            return self._peer_hello(stream, state, frame, now)
        match frame:
            case Ping(number):
                return [Write(stream, encode(Pong(number)), False)]
            case Pong(number) if number == self._ping_number and self._pong_by is not None:
                if self._ping_at is not None:
                    self.rtt = now - self._ping_at
                self._pong_by = None
                return []
            case Pong():
                return []
            case Goodbye(reason):
                return [Leaving(reason)]
        return self._close(LinkError.MALFORMED, f"{type(frame).__name__} on the control stream")

    def _peer_hello(
        self, stream: int, state: _Stream, hello: Hello, now: Monotonic
    ) -> list[SessionEffect]:
        state.has_first = True
        self._hello_by = None
        self._used_at = now
        if self._is_dialler:
            early, self._early = self._early, []
            effects: list[SessionEffect] = [Up(hello)]
            for piece in early:
                effects += self.stream_data(*piece, now=now)
            return effects
        return [Write(stream, encode(self._hello), False), Up(hello)]

    # -- steps ----------------------------------------------------------------------------

    def _open(self, now: Monotonic) -> int:
        stream = self._next_stream
        self._next_stream += 4
        self._streams[stream] = _Stream(True, now, now)
        return stream

    def _write(self, stream: int, data: bytes, end: bool) -> list[SessionEffect]:
        if end:
            state = self._streams[stream]
            state.we_ended = True
            if state.peer_ended:
                self._drop(stream)
        return [Write(stream, data, end)]

    def _peer_ended(self, stream: int, state: _Stream) -> list[SessionEffect]:
        if stream == CONTROL_STREAM:
            return self._close(LinkError.MALFORMED, "control stream ended")
        state.peer_ended = True
        if not state.has_first and not state.is_ours:
            self._drop(stream)
            return [ResetStream(stream, StreamError.MALFORMED)]
        if state.we_ended:
            self._drop(stream)
        return [StreamEnded(stream, StreamError.NONE)] if state.is_ours else []

    def _drop(self, stream: int) -> None:
        state = self._streams.pop(stream)
        self._unstarted.discard(stream)
        self._partial_bytes -= state.reader.buffered

    def _give_up(self, stream: int) -> None:
        """Drop a stream whose peer may not know yet and still send on it."""
        state = self._streams[stream]
        if not state.is_ours and not state.peer_ended:
            self._given_up.add(stream)
        self._drop(stream)

    def _close(self, error: LinkError, reason: str) -> list[SessionEffect]:
        self._is_over = True
        return [Close(error, reason)]

    def _ping(self, now: Monotonic, timeout: float) -> list[SessionEffect]:
        self._ping_number = (self._ping_number + 1) % 2**32
        self._ping_at = now
        self._pong_by = Monotonic(now + timeout)
        return [Write(CONTROL_STREAM, encode(Ping(self._ping_number)), False)]

    def _ping_due(self) -> Monotonic:
        if self.exchange_count:
            interval = BUSY_PING_INTERVAL + (0 if self._is_dialler else 1)
        else:
            interval = DIALLER_PING_INTERVAL if self._is_dialler else ACCEPTOR_PING_INTERVAL
        return Monotonic(self._heard_at + interval)

    def _first_frame_due(self, state: _Stream) -> Monotonic:
        return Monotonic(
            min(state.last_byte_at + FIRST_FRAME_TIMEOUT, state.opened_at + FIRST_FRAME_BUDGET)
        )

    def _drop_slow_streams(self, now: Monotonic) -> list[SessionEffect]:
        effects: list[SessionEffect] = []
        for stream in list(self._unstarted):
            if now >= self._first_frame_due(self._streams[stream]):
                self._give_up(stream)
                self._slow_streams += 1
                effects.append(ResetStream(stream, StreamError.TOO_SLOW))
        if self._slow_streams > MAX_SLOW_STREAMS:
            effects += self._close(LinkError.FLOODING, "too many streams without a frame")
        return effects
