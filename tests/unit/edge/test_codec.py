"""The codec of an answer, and what the E-model makes of it."""

import pytest

from node.edge.codec import R_DEFAULT, codec_of, mos_estimate, mos_of_rating
from node.sip.sdp import Sdp


def answer(*lines: str) -> Sdp:
    head = ("v=0", "o=- 1 1 IN IP4 192.0.2.1", "s=-", "c=IN IP4 192.0.2.1", "t=0 0")
    return Sdp.parse("\r\n".join((*head, *lines, "")).encode())


@pytest.mark.parametrize(
    ("lines", "codec"),
    [
        (["m=audio 4000 RTP/AVP 0 101", "a=rtpmap:101 telephone-event/8000"], "PCMU"),
        (["m=audio 4000 RTP/AVP 101 8", "a=rtpmap:101 telephone-event/8000"], "PCMA"),
        (["m=audio 4000 RTP/AVP 96", "a=rtpmap:96 opus/48000/2"], "OPUS"),
        (["m=audio 4000 RTP/AVP 18"], "G729"),
        (["m=audio 0 RTP/AVP 0"], None),
        (["m=video 4000 RTP/AVP 96", "a=rtpmap:96 VP8/90000"], None),
        (["m=audio 4000 RTP/AVP 97"], None),
        (["m=video 4000 RTP/AVP 96", "m=audio 4000 RTP/AVP 9"], "G722"),
    ],
)
def test_the_codec_is_the_first_that_the_answer_names(lines: list[str], codec: str | None) -> None:
    assert codec_of(answer(*lines).media) == codec


@pytest.mark.parametrize(
    ("rating", "mos"), [(90, 4.34), (80, 4.03), (70, 3.60), (60, 3.10), (50, 2.58)]
)
def test_ratings_give_the_scores_of_annex_b(rating: float, mos: float) -> None:
    assert mos_of_rating(rating) == pytest.approx(mos, abs=0.01)


def test_ends_of_the_scale() -> None:
    assert (mos_of_rating(-3), mos_of_rating(100)) == (1.0, 4.5)
    assert mos_of_rating(R_DEFAULT) == pytest.approx(4.41, abs=0.005)


def test_loss_costs_and_the_unknown_is_not_guessed() -> None:
    clean = mos_estimate("PCMU", packets=1000, lost=0)
    lossy = mos_estimate("PCMU", packets=950, lost=50)
    assert clean is not None
    assert lossy is not None
    assert clean == pytest.approx(4.41, abs=0.005)
    assert 3.5 < lossy < 3.95
    assert mos_estimate("G729", packets=1000, lost=0) == pytest.approx(4.12, abs=0.02)
    assert mos_estimate("OPUS", packets=1000, lost=0) is None
    assert mos_estimate("PCMU", packets=0, lost=0) is None
    assert mos_estimate(None, packets=9, lost=0) is None
