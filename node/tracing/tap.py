"""Where every SIP message of the edge is noted in passing, to be looked at later.

Noting must cost next to nothing: a tuple of references is appended, and nothing is read, copied or
formatted. Once in a while, and whenever somebody asks, what was noted is handed to the readers in
one batch.
"""

import re
from collections import deque
from collections.abc import Callable, Sequence

from federation.messages import Bye
from federation.model.clocks import Monotonic
from federation.model.identity import NodeId
from node.sip.flow import Flow

RECEIVED, SENT = 0, 1
Place = Flow | NodeId
"Where a message came from or went to: a flow of plain SIP, or another node over its link."
Noted = tuple[Monotonic, int, bytes, Place]
"When, `RECEIVED` or `SENT`, the message as it was on the wire, and its place."
Reader = Callable[[Sequence[Noted]], None]

LOOK_INTERVAL = 1.0
"Seconds between two looks."
MAX_NOTED = 65_536
"Messages between two looks; beyond, the oldest are lost to the readers."

_CALL_ID = re.compile(rb"\n(?:call-id|i)[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE)
_PLAIN = b"\nCall-ID: "

NO_ANSWER = b"(no answer"
"How the text of what did not come begins."
FRAME = b"("
"How the text begins of what is no SIP message; no SIP message does."


class Tap:
    """What was noted since the last look, and who is to read it."""

    def __init__(self, *readers: Reader) -> None:
        self._noted: deque[Noted] = deque(maxlen=MAX_NOTED)
        self._readers = list(readers)
        self.note: Callable[[Noted], None] = self._noted.append
        "Takes one message; what it is given must not change any more."

    def read_by(self, reader: Reader) -> None:
        """Hand `reader` every batch from now on."""
        self._readers.append(reader)

    def look(self) -> None:
        """Hand what was noted to the readers, the oldest message first."""
        if self._noted:
            batch = list(self._noted)
            self._noted.clear()
            for reader in self._readers:
                reader(batch)

    def follow(self, later: Callable[[float, Callable[[], None]], object]) -> None:
        """Look now, and every `LOOK_INTERVAL` from now on by the timer `later`."""
        later(LOOK_INTERVAL, lambda: self.follow(later))
        self.look()


def call_id_of(data: bytes) -> bytes:
    """The Call-ID of a message, without parsing it; empty where it has none."""
    start = data.find(_PLAIN)
    if start >= 0:
        start += len(_PLAIN)
        return data[start : data.find(b"\r", start)].strip()
    found = _CALL_ID.search(data)
    return found[1].strip() if found else b""


def frame_text(kind: str, call_id: bytes, *details: str) -> bytes:
    """A frame between nodes that carries no SIP message, in a form that a trace can show."""
    lines = [f"({kind} frame)".encode(), b"Call-ID: " + call_id]
    lines += [text.encode("utf-8", "surrogateescape") for text in details]
    return b"\r\n".join([*lines, b"", b""])


def no_answer_text(request: bytes, reason: str = "") -> bytes:
    """That no final response came to a request of ours, and why not, in that form."""
    method = request.partition(b" ")[0]
    why = f": {reason}".encode() if reason else b""
    head = NO_ANSWER + b" to " + method + why + b")"
    return b"\r\n".join([head, b"Call-ID: " + call_id_of(request), b"", b""])


def bye_text(bye: Bye) -> bytes:
    """A `bye` frame in that form."""
    call_id = bye.call_id.encode("utf-8", "surrogateescape")
    tags = f"From-Tag: {bye.sender_tag}", f"To-Tag: {bye.receiver_tag}"
    return frame_text("bye", call_id, *tags, f"Reason: {bye.reason}")
