"""Whatever bytes come: the codec has one error, the server none, and strangers get little."""

from hypothesis import given, settings
from hypothesis import strategies as st

from federation.model.address import Endpoint
from federation.model.clocks import Monotonic
from media_relay.stun.attributes import Attribute, MessageClass, Method
from media_relay.stun.message import MAX_ATTRIBUTES, Key, Message, StunError
from media_relay.stun.values import read_xor_address, xor_address
from media_relay.turn.framing import MAX_TURN_BYTES, StreamFramer
from tests.support.turn_core import PEER, Shell, TurnClient

MANY = settings(max_examples=200, deadline=None)

attributes = st.lists(
    st.tuples(
        st.one_of(st.sampled_from([int(one) for one in Attribute]), st.integers(0, 0xFFFF)),
        st.binary(max_size=40),
    ),
    max_size=12,
).map(tuple)
plain = attributes.map(
    lambda entries: tuple(
        entry
        for entry in entries
        if entry[0]
        not in (
            Attribute.MESSAGE_INTEGRITY,
            Attribute.MESSAGE_INTEGRITY_SHA256,
            Attribute.FINGERPRINT,
        )
    )
)
messages = st.builds(
    Message,
    st.one_of(st.sampled_from([int(one) for one in Method]), st.integers(0, 0xFFF)),
    st.sampled_from(MessageClass),
    st.binary(min_size=12, max_size=12),
    plain,
    has_fingerprint=st.booleans(),
)
wild = st.builds(
    lambda message, entries: Message(
        message.method, message.kind, message.transaction_id, entries
    ).encode(),
    messages,
    attributes,
)


@MANY
@given(st.one_of(st.binary(max_size=200), wild))
def test_any_bytes_are_a_message_or_one_error(data: bytes) -> None:
    try:
        message = Message.decode(data)
    except StunError:
        return
    assert len(message.attributes) <= MAX_ATTRIBUTES


@MANY
@given(messages, st.one_of(st.none(), st.builds(Key, st.binary(max_size=32), st.booleans())))
def test_what_is_written_is_read(message: Message, key: Key | None) -> None:
    read = Message.decode(message.encode(key))
    assert (read.method, read.kind, read.transaction_id) == (
        message.method, message.kind, message.transaction_id,
    )  # fmt: skip
    assert read.attributes == message.attributes
    assert read.has_fingerprint is message.has_fingerprint
    if key is not None:
        assert read.is_signed_by(key)


@MANY
@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)), st.integers(0, 0xFFFF))
def test_addresses_come_back(ip: object, port: int) -> None:
    transaction_id = bytes(range(12))
    value = xor_address(Endpoint(str(ip), port), transaction_id)
    _, read = read_xor_address(value, transaction_id)
    assert (read.ip, read.port) == (Endpoint(str(ip), port).ip, port)


@MANY
@given(st.lists(st.one_of(st.binary(max_size=100), wild), max_size=8))
def test_a_stranger_gets_no_state_and_at_most_thrice_the_bytes(datagrams: list[bytes]) -> None:
    shell = Shell()
    client = TurnClient(shell).client
    for data in datagrams:
        before = len(shell.replies)
        shell.take(data, client)
        assert sum(len(reply.data) for reply in shell.replies[before:]) <= 3 * len(data)
    assert (len(shell.server), shell.pending, shell.sent) == (0, [], [])
    assert shell.server.next_timer() is None


@MANY
@given(st.sampled_from(list(Method)), plain, st.binary(max_size=60))
def test_nothing_a_client_with_a_password_sends_raises(
    method: Method, entries: tuple[tuple[int, bytes], ...], data: bytes
) -> None:
    shell = Shell()
    alice = TurnClient(shell)
    alice.allocate()
    alice.bind(0x4000)
    alice.ask(method, entries)
    while shell.pending:
        shell.open_next()
    shell.take(data, alice.client)
    shell.take(b"\x40\x00" + data, alice.client)
    shell.server.receive_from_peer(1, data, PEER, now=Monotonic(shell.now))
    shell.pass_time(4000)
    assert shell.open == {}


@MANY
@given(st.lists(st.one_of(st.binary(max_size=50), wild), max_size=6))
def test_a_stream_holds_one_message_at_most(chunks: list[bytes]) -> None:
    framer = StreamFramer()
    for chunk in chunks:
        try:
            for message in framer.feed(chunk):
                assert len(message) <= MAX_TURN_BYTES
        except StunError:
            return
        assert len(framer._buffer) <= MAX_TURN_BYTES
