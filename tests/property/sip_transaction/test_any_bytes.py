"""Nothing a peer sends makes the transaction layer raise or keep more than a transaction of it."""

from hypothesis import given, settings
from hypothesis import strategies as st

from federation.model.clocks import Monotonic
from node.sip.effects import Malformed, RequestArrived, Send
from node.sip.flow import Flow
from node.sip.message import Response
from node.sip.transaction import TransactionLayer
from tests.support.sip_exchange import TCP, UDP, SeededEntropy, request

seeds = [
    request(method, branch=branch, headers=[("Route", "<sip:p;lr>")]).encode()
    for method in ("INVITE", "ACK", "CANCEL", "OPTIONS")
    for branch in ("z9hG4bK-1", None)
] + [Response.answering(request(), status).encode() for status in (100, 200, 487)]
edits = st.lists(
    st.tuples(
        st.integers(0, 400),
        st.integers(0, 12),
        st.sampled_from([b"", b"\r\n", b"\0", b";", b"\xff", b"<", b'"', b"branch=", b"SIP/2.0"]),
    ),
    max_size=4,
)


@settings(deadline=None, max_examples=400)
@given(
    st.lists(st.tuples(st.sampled_from(seeds), edits), max_size=6),
    st.sampled_from([UDP, TCP]),
)
def test_any_bytes_are_taken(
    parts: list[tuple[bytes, list[tuple[int, int, bytes]]]], flow: Flow
) -> None:
    layer, now = TransactionLayer(entropy=SeededEntropy()), Monotonic(0.0)
    for data, changes in parts:
        for place, length, text in changes:
            data = data[:place] + text + data[place + length :]
        effects = layer.receive_data(data, flow, now=now)
        assert len(effects) <= 2
        sent = sum(len(effect.data) for effect in effects if isinstance(effect, Send))
        assert sent <= 3 * max(len(data), 200)
        for effect in effects:
            if isinstance(effect, RequestArrived):
                layer.respond(effect.key, Response.answering(effect.request, 486), now=now)
    usage = layer.usage
    assert usage.unanswered == usage.requests == 0
    assert usage.lingering <= len(parts)
    while (at := layer.next_timer()) is not None:
        layer.handle_timer(now=at)
    assert layer.usage.lingering == layer.usage.timers == 0


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=300))
def test_garbage_is_reported_at_most(data: bytes) -> None:
    layer = TransactionLayer(entropy=SeededEntropy())
    effects = layer.receive_data(data, UDP, now=Monotonic(0.0))
    assert [type(effect) for effect in effects] == [Malformed]
