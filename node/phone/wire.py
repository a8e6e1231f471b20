"""The lines of JSON between a phone and its child process, as both ends see them.

Down: `{"id": 7, "do": "call", ...}`. Up: the answer `{"id": 7, "result": {...}}` or `{"id": 7,
"error": "..."}`, and events `{"event": "state", "at": <monotonic seconds>, ...}`. CLOCK_MONOTONIC
is one for all processes of a machine, so the child's times can be compared with the parent's and
with another phone's.
"""

import json
import os
from typing import Any

LONGEST_LINE = 1 << 20
"Octets; a SIP message and its JSON fit many times over."
READ_SIZE = 1 << 16

Line = dict[str, Any]


def encode(line: Line) -> bytes:
    """One line, its end included."""
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"


class LineReader:
    """Cuts what arrives into lines."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> list[Line]:
        """Take what was read and return the lines it completes.

        Raises:
            ValueError: a line is not a JSON object, or too long.
        """
        *whole, self._held = (self._held + data).split(b"\n")
        if len(self._held) > LONGEST_LINE:
            raise ValueError(f"a line is longer than {LONGEST_LINE} octets")
        return [self._decode(line) for line in whole if line.strip()]

    @staticmethod
    def _decode(line: bytes) -> Line:
        value = json.loads(line)
        if not isinstance(value, dict):
            raise ValueError("a line is not a JSON object")
        return value


class Channel:
    """The child's two descriptors: commands come in without waiting, answers and events go out."""

    def __init__(self, commands: int, answers: int) -> None:
        os.set_blocking(commands, False)
        self._commands = commands
        self._answers = answers
        self._reader = LineReader()

    def receive(self) -> list[Line]:
        """The commands that have arrived.

        Raises:
            EOFError: nobody will send any more.
            ValueError: a line is not a JSON object, or too long.
        """
        try:
            data = os.read(self._commands, READ_SIZE)
        except BlockingIOError:
            return []
        if not data:
            raise EOFError
        return self._reader.feed(data)

    def send(self, line: Line) -> None:
        """Write one line whole.

        Raises:
            BrokenPipeError: nobody reads any more.
        """
        rest = encode(line)
        while rest:
            rest = rest[os.write(self._answers, rest) :]
