"""What a `LinkSession` asks to be done, or tells."""

from dataclasses import dataclass

from federation.messages import Bye, Cancel, Hello, LinkError, Request, Response, StreamError


@dataclass(frozen=True, slots=True)
class Write:
    """Send these bytes on a stream; `end` closes our side of it."""

    stream: int
    data: bytes
    end: bool


@dataclass(frozen=True, slots=True)
class ResetStream:
    """Give up a stream in both directions."""

    stream: int
    error: StreamError


@dataclass(frozen=True, slots=True)
class Up:
    """The peer has said hello: the link may be used."""

    hello: Hello


@dataclass(frozen=True, slots=True)
class Received:
    """A frame arrived: the first of a stream the peer opened, or one that may follow it."""

    stream: int
    frame: Request | Response | Cancel | Bye


@dataclass(frozen=True, slots=True)
class StreamEnded:
    """The peer sends no more on a stream that it had to answer on, or gave it up."""

    stream: int
    error: StreamError


@dataclass(frozen=True, slots=True)
class Leaving:
    """The peer said goodbye."""

    reason: str


@dataclass(frozen=True, slots=True)
class Close:
    """Close the link; the session is over."""

    error: LinkError
    reason: str


SessionEffect = Write | ResetStream | Up | Received | StreamEnded | Leaving | Close
