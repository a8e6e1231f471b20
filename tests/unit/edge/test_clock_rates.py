"""Clock rates of payload types, as descriptions name them."""

import pytest

from node.edge.phone_media import clock_rates
from node.sip.sdp import Sdp


def rates(*rtpmaps: str) -> dict[int, int]:
    lines = ["v=0", "o=- 1 1 IN IP4 192.0.2.1", "s=-", "t=0 0", "m=audio 4000 RTP/AVP 0 96"]
    lines += [f"a=rtpmap:{value}" for value in rtpmaps]
    return clock_rates(Sdp.parse(("\r\n".join(lines) + "\r\n").encode()).media[0])


def test_each_rtpmap_names_one() -> None:
    assert rates("96 opus/48000/2", "0 PCMU/8000", "101 telephone-event/8000") == {
        96: 48000,
        0: 8000,
        101: 8000,
    }


@pytest.mark.parametrize(
    "value",
    ["", "96", "96 opus", "96 opus/", "96 opus/fast", "-1 x/8000", "128 x/8000", "x y/8000",
     "96 x/1234567890", "9" * 5000 + " x/8000", "\u0669\u0666 x/8000"],
)  # fmt: skip
def test_what_is_none_is_left_out(value: str) -> None:
    assert rates(value, "0 PCMU/8000") == {0: 8000}
