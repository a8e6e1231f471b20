"""Whatever strangers send to a TLS port, however it is cut: silence, an alert, or the message."""

from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from node.sip.transports.tls_session import TlsFailed, TlsSession
from tests.support.tls_material import Authority, Contexts

MOST_ANSWERED = 64
"Bytes that garbage may earn: an alert, and no more than a small multiple of what was sent."


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> Contexts:
    authority = Authority.make()
    folder: Path = tmp_path_factory.mktemp("tls")
    return Contexts(folder, authority.issue(x509.DNSName("example.org")), authority)


def pair(contexts: Contexts) -> tuple[TlsSession, TlsSession]:
    client = TlsSession(contexts.client, server_side=False, server_name="example.org")
    server = TlsSession(contexts.server, server_side=True)
    data = client.start()
    while data:
        data = client.receive(server.receive(data)[1])[1]
    return client, server


@settings(deadline=None, max_examples=200)
@given(pieces=st.lists(st.binary(min_size=1, max_size=3_000), min_size=1, max_size=6))
def test_garbage_gets_an_alert_at_most(contexts: Contexts, pieces: list[bytes]) -> None:
    server = TlsSession(contexts.server, server_side=True)
    answered = 0
    for piece in pieces:
        try:
            plain, answer = server.receive(piece)
        except TlsFailed as failed:
            answered += len(failed.alert)
            break
        assert plain == b""
        answered += len(answer)
    assert answered <= MOST_ANSWERED


@settings(deadline=None, max_examples=60)
@given(
    start=st.integers(0, 4_000),
    change=st.integers(1, 255),
    cut=st.integers(1, 4_000),
)
def test_a_flipped_byte_is_never_read(
    contexts: Contexts, start: int, change: int, cut: int
) -> None:
    """The rest of a record that was changed does not reach the framer."""
    client, server = pair(contexts)
    message = bytes(range(256)) * 12
    sealed = bytearray(client.send(message))
    sealed[start % len(sealed)] ^= change
    got = b""
    try:
        for at in range(0, len(sealed), cut):
            got += server.receive(bytes(sealed[at : at + cut]))[0]
    except TlsFailed:
        pass
    assert message.startswith(got)
    assert got != message


@settings(deadline=None, max_examples=60)
@given(
    messages=st.lists(st.binary(min_size=1, max_size=70_000), min_size=1, max_size=4),
    cuts=st.lists(st.integers(1, 20_000), min_size=1, max_size=8),
)
def test_every_byte_arrives_once_and_in_order(
    contexts: Contexts, messages: list[bytes], cuts: list[int]
) -> None:
    client, server = pair(contexts)
    sealed = b"".join(client.send(message) for message in messages)
    got, at, turn = b"", 0, 0
    while at < len(sealed):
        cut = cuts[turn % len(cuts)]
        got += server.receive(sealed[at : at + cut])[0]
        at, turn = at + cut, turn + 1
    assert got == b"".join(messages)
