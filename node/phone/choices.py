"""What a phone says into a call, and what it does with an incoming one."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, assert_never

from node.phone.wire import Line


@dataclass(frozen=True, slots=True)
class Tone:
    """A steady sine."""

    frequency: int
    "Hz."
    level: float = -12.0
    "dBFS; a sine of full scale has 0."


@dataclass(frozen=True, slots=True)
class WavFile:
    """A wav of 16-bit mono samples, of any rate."""

    path: Path
    loop: bool = True


@dataclass(frozen=True, slots=True)
class Silence:
    """Nothing but quiet."""


Playing = Tone | WavFile | Silence


@dataclass(frozen=True, slots=True)
class Answer:
    """Ring, then answer."""

    after: float = 0.0
    "Seconds of ringing."
    early_media: bool = False
    "Whether 183 with media takes the place of 180: what is played is heard before the answer."


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer with a failure at once."""

    status: int = 486


@dataclass(frozen=True, slots=True)
class Ring:
    """Ring until the caller gives up or `Call.answer` is called."""

    early_media: bool = False
    "As in `Answer`."


@dataclass(frozen=True, slots=True)
class Manual:
    """Do nothing: `Call.ring`, `Call.answer` or `Call.hang_up` follow."""


Policy = Answer | Refuse | Ring | Manual


@dataclass(frozen=True, slots=True)
class TurnRelay:
    """A TURN server that all media of a phone goes through; no other way is tried."""

    server: str
    "`host:port`"
    username: str
    password: str = field(repr=False)
    transport: Literal["udp", "tcp", "tls"] = "udp"
    "From the phone to the server; its certificate is not checked."


@dataclass(frozen=True, slots=True)
class Media:
    """How sound goes beside plain RTP."""

    ice: bool = False
    "With the phone's address as candidate, which then must not be one of loopback."
    srtp: bool = False
    "Insisted on, with keys in the SDP (RFC 4568)."


def playing_to_wire(playing: Playing) -> Line:
    """`playing` as the child reads it."""
    match playing:
        case Tone(frequency, level):
            return {"tone": frequency, "level": level}
        case WavFile(path, loop):
            return {"wav": str(path.absolute()), "loop": loop}
        case Silence():
            return {}
        case _:
            assert_never(playing)


def policy_to_wire(policy: Policy) -> Line:
    """`policy` as the child reads it."""
    match policy:
        case Answer(after, early_media):
            return {"kind": "answer", "after": after, "early": early_media}
        case Refuse(status):
            return {"kind": "refuse", "status": status}
        case Ring(early_media):
            return {"kind": "ring", "early": early_media}
        case Manual():
            return {"kind": "manual"}
        case _:
            assert_never(policy)


def turn_to_wire(turn: TurnRelay | None) -> Line:
    """`turn` as the child reads it; empty for none."""
    return {} if turn is None else asdict(turn)
