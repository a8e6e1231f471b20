"""Whatever a WebSocket brings, its reader says one of three things; no Origin makes it stumble."""

from hypothesis import given
from hypothesis import strategies as st

from federation.model.clocks import Monotonic
from node.sip.framing import START
from node.sip.web_socket import (
    FRAMES_PER_SECOND,
    MAX_FRAMES_AT_ONCE,
    Ended,
    FrameReader,
    KeepAlive,
    Message,
    refusal,
)

PAYLOADS = st.binary(max_size=40) | st.sampled_from([b"\r\n", b"\r\n\r\n", b"BYE x SIP/2.0"])


@given(st.lists(st.tuples(PAYLOADS, st.floats(0, 3)), max_size=300))
def test_a_reader_never_stumbles_and_never_goes_on_after_its_end(
    frames: list[tuple[bytes, float]],
) -> None:
    now, ended, reader = 0.0, False, FrameReader(now=Monotonic(0.0))
    for taken, (payload, pause) in enumerate(frames, 1):
        now += pause
        event = reader.receive(payload, now=Monotonic(now))
        assert not ended or isinstance(event, Ended)
        match event:
            case Message(data):
                assert payload.endswith(data)
                assert data[0] in START
            case KeepAlive(answer):
                assert payload.strip(b"\r\n") == b""
                assert answer in (b"", b"\r\n")
            case Ended():
                ended = True
        if not ended:
            assert taken <= MAX_FRAMES_AT_ONCE + now * FRAMES_PER_SECOND


@given(st.lists(st.text(max_size=20), max_size=4), st.none() | st.text(max_size=80), st.text())
def test_a_handshake_is_refused_or_not_whatever_it_says(
    protocols: list[str], origin: str | None, host: str
) -> None:
    refused = refusal(protocols, origin, host)
    assert refused is None or refused.status in (400, 403)


@given(st.text(max_size=300), st.text(min_size=1, max_size=40))
def test_a_page_of_another_host_is_never_let_in(origin: str, host: str) -> None:
    if refusal(["sip"], origin, host) is None:
        assert origin.lower().split("://", 1)[1].partition("/")[0].partition("?")[0] == host.lower()
