"""Which codec an answer agreed on, by name, and how good speech in it can sound.

The estimate is the E-model's (ITU-T G.107) with everything at its default but what is known here:
the codec and the loss. It is not made for codecs without published values of `Ie` and `Bpl` (G.113
appendix I): wideband ones have a scale of their own. Delay is unknown and taken as short.
"""

from collections.abc import Sequence

from node.sip.sdp import MediaSection

STATIC_NAMES = {"0": "PCMU", "3": "GSM", "4": "G723", "8": "PCMA", "9": "G722", "18": "G729"}
"Payload types that need no `a=rtpmap` (RFC 3551 6)."
SUPPLEMENTS = frozenset({"TELEPHONE-EVENT", "CN", "RED", "RTX", "ULPFEC"})
"What goes beside a codec, and is none."
MAX_CODEC = 32
R_DEFAULT = 93.2
"The rating of a connection with all of G.107's default values."
IMPAIRMENTS: dict[str, tuple[float, float]] = {
    "PCMU": (0.0, 25.1),
    "PCMA": (0.0, 25.1),
    "G729": (11.0, 19.0),
    "G723": (15.0, 16.1),
}
"""`Ie` and `Bpl` of G.113 appendix I, at random loss.

G.711 with loss concealment, as phones have it; G.729A with VAD; G.723.1 at 6.3 kbit/s with VAD.
"""


def codec_of(lines: Sequence[MediaSection]) -> str | None:
    """The name, upper case, of the first codec of an answer's first audio line that is in use."""
    audio = next((line for line in lines if line.kind == "audio" and line.port), None)
    if audio is None:
        return None
    names: dict[str, str] = {}
    for value in audio.get_all("rtpmap"):
        payload_type, _, mapped = value.partition(" ")
        names[payload_type] = mapped.partition("/")[0].strip()
    for payload_type in audio.formats:
        name = (names.get(payload_type) or STATIC_NAMES.get(payload_type) or "").upper()
        if name and name not in SUPPLEMENTS:
            return name[:MAX_CODEC] if name.isascii() and name.isprintable() else None
    return None


def mos_estimate(codec: str | None, *, packets: int, lost: int) -> float | None:
    """The mean opinion score (1 to 4.5) that listeners would give a stream, by G.107.

    `None` where the codec's impairment is not known, or nothing arrived.
    """
    known = IMPAIRMENTS.get(codec or "")
    if known is None or packets <= 0:
        return None
    impairment, robustness = known
    loss = 100.0 * lost / (packets + lost)
    effective = impairment + (95.0 - impairment) * loss / (loss + robustness)
    return mos_of_rating(R_DEFAULT - effective)


def mos_of_rating(rating: float) -> float:
    """The mean opinion score of a rating R (G.107 annex B)."""
    if rating <= 0:
        return 1.0
    if rating >= 100:
        return 4.5
    return max(1.0, 1 + 0.035 * rating + rating * (rating - 60) * (100 - rating) * 7e-6)
