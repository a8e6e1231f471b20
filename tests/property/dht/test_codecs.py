"""DHT formats: one value, one encoding, one error."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dht import canonical, messages
from dht.answers import in_parts, joined
from dht.canonical import CanonicalError
from dht.cookie import CookieJar
from dht.frame import (
    HEADER_BYTES,
    MAX_BODY,
    NO_COOKIE,
    OVERHEAD,
    UNPROVEN_REQUEST,
    Frame,
    FrameError,
    FrameType,
)
from dht.messages import (
    ContactEntry,
    FindNode,
    Get,
    Nodes,
    Observed,
    Ping,
    Pong,
    Records,
    Store,
    Stored,
)
from dht.overlay_id import OverlayId
from dht.record import Record, RecordError
from dht.sealing import RequestSeal, SealingKey, seal_answer
from federation.model.address import Endpoint
from federation.model.clocks import Monotonic
from federation.model.network import Network
from tests.support.dht_network import SeededEntropy
from tests.support.dht_records import NET, NODE, OTHER, every_kind

FEW = settings(max_examples=60, deadline=None)
blobs = st.binary(min_size=32, max_size=32)
ipv4 = st.tuples(st.ip_addresses(v=4), st.integers(1, 65535)).map(lambda p: Endpoint.from_ip(*p))
ipv6 = (
    st.tuples(st.ip_addresses(v=6), st.integers(1, 65535))
    .map(lambda p: Endpoint.from_ip(*p))
    .filter(lambda e: e.is_ipv6)
)
endpoints = ipv4 | ipv6
times = st.integers(0, messages.MAX_TIME_MS)
contacts4 = st.builds(ContactEntry, blobs.map(OverlayId), ipv4, st.integers(0, 255))
contacts = st.builds(ContactEntry, blobs.map(OverlayId), endpoints, st.integers(0, 255))
requests = (
    st.builds(Ping, times, st.integers(0, 255))
    | st.builds(Ping, times, st.integers(0, 255), st.binary(min_size=8, max_size=8), st.booleans())
    | st.builds(FindNode, blobs, st.none() | blobs, st.integers(1, 3))
    | st.builds(Get, blobs, times, st.integers(1, 8), st.integers(1, 3))
    | st.builds(Store, st.binary(max_size=900))
)
answers = (
    st.builds(Pong, times, blobs, st.integers(0, 255), times)
    | st.builds(Nodes, st.lists(contacts, max_size=16).map(tuple))
    | st.builds(Stored, st.integers(0, 255), st.integers(0, messages.MAX_RANK))
    | st.builds(
        Records,
        st.lists(st.binary(max_size=900), max_size=8).map(tuple),
        st.lists(contacts4, max_size=20).map(tuple),
    )
)
observed = st.builds(Observed, endpoints, st.binary(min_size=16, max_size=16))
values = st.recursive(
    st.none() | st.integers(-(2**63), 2**64 - 1) | st.binary(max_size=40) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5),
    max_leaves=20,
)


@FEW
@given(values)
def test_values_have_one_encoding(value: canonical.Value) -> None:
    try:
        assert canonical.unpack(canonical.pack(value)) == value
    except CanonicalError as error:
        assert "nested" in str(error)  # noqa: PT017


@FEW
@given(st.binary(max_size=200))
def test_any_bytes_are_canonical_or_refused(data: bytes) -> None:
    try:
        value = canonical.unpack(data)
    except CanonicalError:
        return
    assert canonical.pack(value) == data


@pytest.mark.parametrize(
    "data",
    [
        b"\xcc\x01",  # a long integer
        b"\xcb" + bytes(8),  # a float
        b"\xcb\x7f\xf8" + bytes(6),  # a NaN
        b"\xc3",  # a boolean
        b"\x80",  # a map
        b"\x81\x90\x01",  # a map with an array as key
        b"\xd6\xff" + bytes(4),  # a timestamp
        b"\x91" * 2000 + b"\xc0",  # deep nesting
        b"\xdf\xff\xff\xff\xff",  # four billion entries
        b"\xdd\xff\xff\xff\xff",
        b"\xa1\xff",  # text that is not UTF-8
        b"\x01\x02",  # two values
        b"",
    ],
)
def test_what_is_not_canonical(data: bytes) -> None:
    with pytest.raises(CanonicalError):
        canonical.unpack(data)


def a_frame(kind: FrameType, body: bytes, cookie: bytes = bytes([9]) * 16) -> Frame:
    return Frame(
        type=kind,
        txid=bytes(range(8)),
        sender=NODE.id,
        nonce=bytes(8),
        to=bytes(OTHER.id),
        cookie=cookie if kind is FrameType.REQUEST else NO_COOKIE,
        body=body,
    )


@FEW
@given(st.sampled_from([FrameType.REQUEST, FrameType.REPLY, FrameType.REFUSAL]), st.data())
def test_frames_survive_and_no_byte_of_them_can_change(
    kind: FrameType, data: st.DataObject
) -> None:
    body = data.draw(st.binary(min_size=1, max_size=MAX_BODY))
    datagram = a_frame(kind, body).signed(NODE, NET)
    frame = Frame.parse(datagram)
    frame.verify(NET)
    assert frame.encode() == datagram
    at = data.draw(st.integers(0, len(datagram) - 1))
    changed = bytearray(datagram)
    changed[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(FrameError):
        Frame.parse(bytes(changed)).verify(NET)
    with pytest.raises(FrameError):
        frame.verify(Network.named("another"))


def test_every_single_byte_of_a_frame_counts() -> None:
    datagram = a_frame(FrameType.REPLY, b"\x91\x01").signed(NODE, NET)
    for at in range(len(datagram)):
        changed = bytearray(datagram)
        changed[at] ^= 1
        with pytest.raises(FrameError):
            Frame.parse(bytes(changed)).verify(NET)


@pytest.mark.parametrize("record", every_kind(), ids=lambda r: f"{r.kind.name}-{r.is_tombstone}")
def test_every_single_byte_of_a_record_counts(record: Record) -> None:
    for at in range(len(record.envelope)):
        changed = bytearray(record.envelope)
        changed[at] ^= 0x10
        with pytest.raises(RecordError):
            Record.decode(bytes(changed), NET)


@FEW
@given(st.binary(max_size=1300))
def test_random_bytes_raise_the_one_error(data: bytes) -> None:
    for parse in (
        Frame.parse,
        lambda d: Frame.parse(b"\x08\x01" + d),
        messages.parse_part,
        messages.parse_challenge,
        messages.parse_refusal,
        lambda d: messages.parse_request(d, padded_to_minimum=True),
    ):
        try:
            parse(data)
        except FrameError:
            continue
    with pytest.raises(RecordError):
        Record.decode(data, NET)


@FEW
@given(values)
def test_any_canonical_body_is_read_or_refused(value: canonical.Value) -> None:
    body = canonical.pack(value)
    for parse in (
        messages.parse_part,
        messages.parse_challenge,
        messages.parse_refusal,
        lambda d: messages.parse_request(d, padded_to_minimum=False),
    ):
        try:
            parse(body)
        except FrameError:
            continue


@FEW
@given(requests, st.booleans())
def test_requests_survive(request: messages.Request, padded: bool) -> None:
    body = canonical.pack(request.body()) + bytes(7 if padded else 0)
    assert messages.parse_request(body, padded_to_minimum=padded) == request
    if padded:
        with pytest.raises(FrameError, match="padding"):
            messages.parse_request(body, padded_to_minimum=False)


@FEW
@given(requests, st.integers(0, 3))
def test_later_versions_may_append_fields(request: messages.Request, more: int) -> None:
    body = canonical.pack([*request.body(), *[None] * more])
    assert messages.parse_request(body, padded_to_minimum=False) == request


@FEW
@given(answers, observed, st.integers(300, MAX_BODY), st.integers(1, 3))
def test_answers_fit_their_room(
    answer: messages.Answer, seen: Observed, room: int, most: int
) -> None:
    """However little room there is, each part fits, and what arrives was there."""
    bodies = in_parts(answer, seen, room=room, most=most)
    assert 1 <= len(bodies) <= most
    assert all(len(body) <= room for body in bodies)
    parts = {part.part: part for part in map(messages.parse_part, bodies)}
    assert {part.parts for part in parts.values()} == {len(bodies)}
    whole = joined(parts)
    if isinstance(answer, Records) and isinstance(whole, Records):
        assert set(whole.envelopes) <= set(answer.envelopes)
        assert whole.contacts == answer.contacts[: len(whole.contacts)]
    elif isinstance(answer, Nodes) and isinstance(whole, Nodes):
        assert whole.contacts == answer.contacts[: len(whole.contacts)]
    else:
        assert whole == answer


def test_twenty_contacts_fit_one_datagram_and_eight_claims_three() -> None:
    seen = Observed(Endpoint("2001:db8::1", 7060), bytes([1]) * 16)
    entry = ContactEntry(OverlayId(bytes(32)), Endpoint("192.0.2.1", 65535), 255)
    assert joined(
        {0: messages.parse_part(in_parts(Nodes((entry,) * 20), seen, room=MAX_BODY, most=1)[0])}
    ) == Nodes((entry,) * 20)
    claims = Records(tuple(bytes([n]) * 350 for n in range(8)), ())
    bodies = in_parts(claims, seen, room=MAX_BODY - 28, most=3)
    assert joined(dict(enumerate(map(messages.parse_part, bodies)))) == Records(
        claims.envelopes[:6], ()
    )


def test_requests_without_a_cookie_fill_the_minimum() -> None:
    short = a_frame(FrameType.REQUEST, bytes(UNPROVEN_REQUEST - OVERHEAD - 1), NO_COOKIE)
    with pytest.raises(FrameError, match="400"):
        Frame.parse(short.signed(NODE, NET))
    enough = a_frame(FrameType.REQUEST, bytes(UNPROVEN_REQUEST - OVERHEAD), NO_COOKIE)
    assert len(enough.signed(NODE, NET)) == UNPROVEN_REQUEST
    Frame.parse(enough.signed(NODE, NET)).verify(NET)


def test_only_challenges_are_unsigned() -> None:
    challenge = a_frame(FrameType.CHALLENGE, messages.challenge_body(bytes([5]) * 16))
    assert messages.parse_challenge(Frame.parse(challenge.encode()).body) == bytes([5]) * 16
    with pytest.raises(FrameError):
        Frame.parse(challenge.encode()).verify(NET)
    with pytest.raises(FrameError):
        Frame.parse(a_frame(FrameType.REPLY, b"\x90").encode())
    with pytest.raises(FrameError):
        Frame.parse(challenge.signed(NODE, NET))


@FEW
@given(st.binary(max_size=900), st.binary(max_size=900), st.integers(0, 2**32))
def test_sealed_bodies_open_for_the_recipient_only(body: bytes, answer: bytes, seed: int) -> None:
    entropy = SeededEntropy(seed)
    recipient, other = SealingKey(entropy=entropy), SealingKey(entropy=entropy)
    exchange = RequestSeal(recipient.public, entropy=entropy)
    header = bytes(HEADER_BYTES)
    sealed = exchange.seal(body, header)
    opened, keys = recipient.open(sealed, header)
    assert opened == body
    back = seal_answer(keys, answer, header, entropy=entropy)
    assert exchange.open_answer(back, header) == answer
    for wrong in (
        lambda: other.open(sealed, header),
        lambda: recipient.open(sealed, header + b"x"),
        lambda: recipient.open(sealed[:-1], header),
        lambda: recipient.open(sealed[:20], header),
        lambda: exchange.open_answer(back[:-1], header),
        lambda: exchange.open_answer(sealed, header),
        lambda: recipient.open(bytes(80), header),
        lambda: RequestSeal(bytes(32), entropy=entropy),
    ):
        with pytest.raises(FrameError):
            wrong()


@FEW
@given(st.floats(0, 1e6), st.floats(0, 700))
def test_cookies_hold_for_an_epoch_or_two(start: float, later: float) -> None:
    jar = CookieJar(entropy=SeededEntropy(1))
    source = Endpoint("192.0.2.1", 7060)
    cookie = jar.cookie(source, NODE.id, now=Monotonic(start))
    accepted = jar.accepts(cookie, source, NODE.id, now=Monotonic(start + later))
    assert accepted == (int((start + later) // 300) - int(start // 300) <= 1)
    fresh = jar.cookie(source, NODE.id, now=Monotonic(start + later))
    at = Monotonic(start + later)
    assert jar.accepts(fresh, source, NODE.id, now=at)
    assert not jar.accepts(fresh, Endpoint("192.0.2.1", 7061), NODE.id, now=at)
    assert not jar.accepts(fresh, Endpoint("192.0.2.2", 7060), NODE.id, now=at)
    assert not jar.accepts(fresh, source, OTHER.id, now=at)
    assert not jar.accepts(NO_COOKIE, source, NODE.id, now=at)
