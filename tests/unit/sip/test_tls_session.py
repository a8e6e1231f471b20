"""One TLS connection without sockets: both ends in memory."""

import ssl
from pathlib import Path

import pytest
from cryptography import x509

from node.certificates import server_context
from node.sip.transports.tls_session import SLICE, TlsFailed, TlsSession
from tests.support.tls_material import Authority, Contexts

MESSAGE = b"OPTIONS sip:x SIP/2.0\r\n\r\n" * 3_000
"Many slices and several records."


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> Contexts:
    authority = Authority.make()
    shown = authority.issue(x509.DNSName("example.org"))
    return Contexts(tmp_path_factory.mktemp("tls"), shown, authority)


def ends(contexts: Contexts, client: ssl.SSLContext | None = None) -> tuple[TlsSession, TlsSession]:
    return (
        TlsSession(client or contexts.client, server_side=False, server_name="example.org"),
        TlsSession(contexts.server, server_side=True),
    )


def shake(client: TlsSession, server: TlsSession, step: int = 1 << 20) -> None:
    """Carry bytes to and fro, in pieces of `step`, until both ends are silent."""
    to_server = client.start()
    assert server.start() == b""
    while to_server:
        to_client = b"".join(server.receive(piece)[1] for piece in pieces(to_server, step))
        to_server = b"".join(client.receive(piece)[1] for piece in pieces(to_client, step))


def pieces(data: bytes, step: int) -> list[bytes]:
    return [data[start : start + step] for start in range(0, len(data), step)]


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_what_one_end_sends_the_other_reads_however_it_is_cut(
    contexts: Contexts, step: int
) -> None:
    client, server = ends(contexts)
    shake(client, server, step)
    assert client.is_established
    assert server.is_established
    assert client.version == "TLSv1.3"
    assert client.certificate()["subjectAltName"] == (("DNS", "example.org"),)
    assert server.certificate() == {}
    message = MESSAGE if step > 1 else MESSAGE[:5_000]
    for one, other in ((client, server), (server, client)):
        sealed = one.send(message)
        assert message[:20] not in sealed
        got = [other.receive(piece) for piece in pieces(sealed, step)]
        assert b"".join(plain for plain, _ in got) == message


def test_an_end_is_told_once_and_nothing_is_read_after_it(contexts: Contexts) -> None:
    client, server = ends(contexts)
    shake(client, server)
    last = client.send(b"last") + client.close()
    assert server.receive(last)[0] == b"last"
    assert server.is_closed
    assert server.receive(b"anything") == (b"", b"")


def test_what_is_no_tls_fails_with_an_alert(contexts: Contexts) -> None:
    server = TlsSession(contexts.server, server_side=True)
    with pytest.raises(TlsFailed) as failed:
        server.receive(b"REGISTER sip:example.org SIP/2.0\r\n")
    assert failed.value.reason.startswith("TLS: ")


def test_a_damaged_record_ends_the_connection(contexts: Contexts) -> None:
    client, server = ends(contexts)
    shake(client, server)
    sealed = bytearray(client.send(b"hello"))
    sealed[-1] ^= 1
    with pytest.raises(TlsFailed) as failed:
        server.receive(bytes(sealed))
    assert failed.value.alert


def test_an_issuer_that_is_not_trusted_is_told_in_words(contexts: Contexts, tmp_path: Path) -> None:
    stranger = Authority.make("a stranger")
    client, server = ends(Contexts(tmp_path, stranger.issue(), stranger), contexts.client)
    with pytest.raises(TlsFailed, match="its certificate is not trusted: "):
        shake(client, server)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_versions_are_refused(contexts: Contexts, version: ssl.TLSVersion) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        old.minimum_version = old.maximum_version = version
    client, server = ends(contexts, old)
    with pytest.raises(TlsFailed):
        shake(client, server)


def test_renegotiation_and_compression_are_off() -> None:
    context = server_context()
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.options & ssl.OP_NO_COMPRESSION


def test_version_1_2_is_spoken_where_the_other_end_knows_no_newer(contexts: Contexts) -> None:
    older = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    older.check_hostname, older.verify_mode = False, ssl.CERT_NONE
    older.maximum_version = ssl.TLSVersion.TLSv1_2
    client, server = ends(contexts, older)
    shake(client, server)
    assert server.version == "TLSv1.2"
    assert server.receive(client.send(b"x" * (SLICE + 1)))[0] == b"x" * (SLICE + 1)
