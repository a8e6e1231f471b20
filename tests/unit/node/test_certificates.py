"""The node's own certificate, the operator's files, and what happens when either changes."""

import asyncio
import contextlib
import ipaddress
import os
import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from cryptography import x509

from federation.model.clocks import Monotonic, UnixTime
from federation.model.errors import ConfigError
from node import certificates
from node.certificates import Certificates
from node.config import TlsConfig
from node.own_certificate import LIFETIME, MAX_NAMES, RENEWED_BEFORE, CertificateNames, issue
from node.sheet import ServedAt
from node.sip.transports.certificate_names import proves
from node.sip.transports.tls_session import TlsFailed, TlsSession
from node.state import StateFolder
from tests.support.tls_material import Authority

START = datetime.now(UTC).timestamp()
NAMES = CertificateNames(
    "ringmesh test", ("192.0.2.7", "2001:db8::7"), ("example.org", "k.ringmesh.alt")
)
DAY = 86_400.0


class Time:
    """Both clocks, stepped by hand."""

    def __init__(self) -> None:
        self.passed = 0.0

    def monotonic(self) -> Monotonic:
        return Monotonic(1_000.0 + self.passed)

    def unix(self) -> UnixTime:
        return UnixTime(START + self.passed)


class Node:
    """`Certificates` of a node in a folder of its own."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.state = StateFolder.open(folder / "state")
        self.time = Time()
        self.names = NAMES
        self.held = Certificates(
            TlsConfig(**settings),
            self.state,
            lambda: self.names,
            self.time,
        )

    def open(self) -> "Node":
        self.held.open()
        return self

    def pem(self) -> bytes:
        return self.state.certificate.read_bytes()

    def look(self) -> list[Any]:
        with structlog.testing.capture_logs() as logs:
            self.held.look()
        return logs


def shown(context: ssl.SSLContext, trusted: bytes) -> dict[str, Any]:
    """What a client that trusts `trusted` sees of a server's certificate."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.load_verify_locations(cadata=certificate_of(trusted))
    one = TlsSession(client, server_side=False)
    other = TlsSession(context, server_side=True)
    data = one.start()
    while data:
        data = one.receive(other.receive(data)[1])[1]
    assert one.is_established
    return one.certificate()


def certificate_of(pem: bytes) -> str:
    text = pem.decode()
    return text[text.index("-----BEGIN CERTIFICATE") :]


def key_of(pem: bytes) -> bytes:
    return pem[: pem.index(b"-----BEGIN CERTIFICATE")]


def expiry(pem: bytes) -> datetime:
    return x509.load_pem_x509_certificate(pem).not_valid_after_utc


# Its own


def test_the_first_start_makes_a_certificate_for_all_names(tmp_path: Path) -> None:
    node = Node(tmp_path).open()
    assert stat.S_IMODE(node.state.certificate.stat().st_mode) == 0o600
    seen = shown(node.held.server, node.pem())
    for name in (*NAMES.addresses, *NAMES.domains):
        assert proves(seen, name)
    assert ("URI", "sip:example.org") in seen["subjectAltName"]
    assert seen["subject"] == ((("commonName", "ringmesh test"),),)
    assert expiry(node.pem()) > datetime.now(UTC) + LIFETIME - timedelta(hours=1)


def test_its_names_are_those_the_node_is_served_at() -> None:
    """Domains that are not proven may be anybody's."""
    served = ServedAt(
        key_name="abcdefghijklmnopqrstuvwxyz.ringmesh.alt",
        addresses=("192.0.2.7",),
        sip_port=5060,
        domains=("proven.example", "wished.example"),
        proven=1,
    )
    assert certificates.names_in_certificate(lambda: served)() == CertificateNames(
        "ringmesh abcdefghijklmnop",
        ("192.0.2.7",),
        ("proven.example", "abcdefghijklmnopqrstuvwxyz.ringmesh.alt"),
    )


def test_python_believes_it_for_its_names_once_it_is_told_to(tmp_path: Path) -> None:
    """Another reader than ours, with its own rule for host names."""
    node = Node(tmp_path).open()
    client = ssl.create_default_context(cadata=certificate_of(node.pem()))
    for name in (*NAMES.addresses, *NAMES.domains):
        assert handshake(client, node.held.server, name)
    with pytest.raises(TlsFailed, match="not trusted"):
        handshake(client, node.held.server, "other.example")
    with pytest.raises(TlsFailed, match="not trusted"):
        handshake(ssl.create_default_context(), node.held.server, "example.org")


def handshake(client: ssl.SSLContext, server: ssl.SSLContext, name: str) -> bool:
    one = TlsSession(client, server_side=False, server_name=name)
    other = TlsSession(server, server_side=True)
    data = one.start()
    while data:
        data = one.receive(other.receive(data)[1])[1]
    return one.is_established


def test_later_starts_show_the_same(tmp_path: Path) -> None:
    before = Node(tmp_path).open().pem()
    node = Node(tmp_path).open()
    assert node.pem() == before
    assert node.look() == []


@pytest.mark.parametrize(
    ("days", "renewed"),
    [
        ((LIFETIME - RENEWED_BEFORE).days - 1, False),
        ((LIFETIME - RENEWED_BEFORE).days + 1, True),
        (LIFETIME.days + 1, True),
        (-2, True),
    ],
)
def test_it_is_made_again_before_it_expires_for_the_same_key(
    tmp_path: Path, days: int, renewed: bool
) -> None:
    node = Node(tmp_path).open()
    before, context = node.pem(), node.held.server
    node.time.passed = days * DAY
    logs = node.look()
    assert (node.pem() != before) == (node.held.server is not context) == renewed
    events = ["certificate_made", "certificate_loaded"] if renewed else []
    assert [line["event"] for line in logs] == events
    assert key_of(node.pem()) == key_of(before)


def test_new_names_make_another_for_the_same_key(tmp_path: Path) -> None:
    node = Node(tmp_path).open()
    before = node.pem()
    node.names = CertificateNames("ringmesh test", ("192.0.2.8",), ("new.example",))
    logs = node.look()
    assert logs[0]["reason"] == "the names of this node have changed"
    seen = shown(node.held.server, node.pem())
    assert proves(seen, "new.example")
    assert proves(seen, "192.0.2.8")
    assert not proves(seen, "example.org")
    assert key_of(node.pem()) == key_of(before)


@pytest.mark.parametrize(
    "content", [b"", b"nothing of use", b"-----BEGIN PRIVATE KEY-----\nAAAA\n"]
)
def test_a_damaged_file_is_replaced_and_that_is_told(tmp_path: Path, content: bytes) -> None:
    node = Node(tmp_path)
    node.state.keep_own_certificate(content)
    with structlog.testing.capture_logs() as logs:
        node.open()
    assert logs[0]["event"] == "certificate_made"
    assert logs[0]["reason"] == "the file cannot be read"
    assert proves(shown(node.held.server, node.pem()), "example.org")


def test_a_certificate_without_its_key_is_replaced(tmp_path: Path) -> None:
    node = Node(tmp_path).open()
    node.state.keep_own_certificate(certificate_of(node.pem()).encode())
    assert node.look()[0]["reason"] == "its key cannot be read"
    assert proves(shown(node.held.server, node.pem()), "example.org")


def test_names_in_one_certificate_are_bounded() -> None:
    many = CertificateNames(
        "many",
        tuple(str(ipaddress.ip_address(0x0A000000 + n)) for n in range(MAX_NAMES + 9)),
        tuple(f"d{n}.example" for n in range(MAX_NAMES + 9)),
    )
    pem = issue(many, now=UnixTime(START), previous=None)
    extension = x509.load_pem_x509_certificate(pem).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert len(list(extension.value)) == 3 * MAX_NAMES


# The operator's


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.make()


def operators(folder: Path, pem: bytes, *, apart: bool = True) -> dict[str, str]:
    """Files with a key and certificate, replaced as certbot does; the settings that name them."""
    parts = {"key": key_of(pem), "certificate": certificate_of(pem).encode()}
    if not apart:
        parts = {"certificate": pem}
    for name, content in parts.items():
        fresh = folder / f"{name}.new"
        fresh.write_bytes(content)
        os.replace(fresh, folder / f"{name}.pem")
    return {name: str(folder / f"{name}.pem") for name in parts}


@pytest.mark.parametrize("apart", [True, False])
def test_the_operators_certificate_is_shown_and_none_made(
    tmp_path: Path, authority: Authority, apart: bool
) -> None:
    pem = authority.issue(x509.DNSName("voice.example"))
    node = Node(tmp_path, **operators(tmp_path, pem, apart=apart)).open()
    assert proves(shown(node.held.server, authority.pem), "voice.example")
    assert not node.state.certificate.exists()


def test_changed_files_are_loaded_without_a_restart(tmp_path: Path, authority: Authority) -> None:
    first = authority.issue(x509.DNSName("one.example"))
    node = Node(tmp_path, **operators(tmp_path, first)).open()
    assert node.look() == []
    operators(tmp_path, authority.issue(x509.DNSName("two.example")))
    assert [line["event"] for line in node.look()] == ["certificate_loaded"]
    assert proves(shown(node.held.server, authority.pem), "two.example")
    assert node.look() == []


def test_broken_files_leave_the_old_one_and_are_told_once(
    tmp_path: Path, authority: Authority
) -> None:
    """Certificate first, key later: in between they do not belong together."""
    node = Node(tmp_path, **operators(tmp_path, authority.issue(x509.DNSName("one.example"))))
    node.open()
    second = authority.issue(x509.DNSName("two.example"))
    (tmp_path / "certificate.pem").write_bytes(certificate_of(second).encode())
    (line,) = node.look()
    assert line["event"] == "certificate_kept"
    assert "key.pem cannot be used together" in line["reason"]
    assert node.look() == []
    assert proves(shown(node.held.server, authority.pem), "one.example")
    (tmp_path / "certificate.pem").unlink()
    (line,) = node.look()
    assert "cannot be read: No such file" in line["reason"]
    operators(tmp_path, second)
    assert [line["event"] for line in node.look()] == ["certificate_loaded"]
    assert proves(shown(node.held.server, authority.pem), "two.example")


@pytest.mark.parametrize(
    ("certificate", "key", "sentence"),
    [
        (None, None, "cannot be read: No such file"),
        (b"hello", None, "holds no certificate in PEM form"),
        ("good", b"hello", "holds no private key in PEM form"),
        ("good", b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n", "give a key without a passphrase"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n", "good", "cannot be used together"),
    ],
)
def test_files_that_will_not_do_stop_the_start_with_a_sentence(
    tmp_path: Path,
    authority: Authority,
    certificate: bytes | str | None,
    key: bytes | str | None,
    sentence: str,
) -> None:
    settings = operators(tmp_path, authority.issue(x509.DNSName("one.example")))
    for name, content in (("certificate", certificate), ("key", key)):
        if isinstance(content, bytes):
            (tmp_path / f"{name}.pem").write_bytes(content)
        elif content is None:
            (tmp_path / f"{name}.pem").unlink()
    with pytest.raises(ConfigError, match=sentence):
        Node(tmp_path, **settings).open()


def test_an_encrypted_key_never_asks_at_a_terminal(tmp_path: Path, authority: Authority) -> None:
    pem = authority.issue(x509.DNSName("one.example"))
    settings = operators(tmp_path, pem)
    legacy = key_of(pem).replace(b"KEY-----\n", b"KEY-----\nProc-Type: 4,ENCRYPTED\n", 1)
    (tmp_path / "key.pem").write_bytes(legacy)
    with pytest.raises(ConfigError, match="without a passphrase"):
        Node(tmp_path, **settings).open()


def test_an_expiring_certificate_is_told_daily(tmp_path: Path, authority: Authority) -> None:
    pem = authority.issue(x509.DNSName("one.example"), days=20)
    node = Node(tmp_path, **operators(tmp_path, pem)).open()
    assert node.look() == []
    for days, events in ((7, 1), (7.5, 0), (8.1, 1), (8.2, 0)):
        node.time.passed = days * DAY
        told = [line for line in node.look() if line["event"] == "certificate_expires"]
        assert len(told) == events
    assert told == []


# Whom it believes


def test_authorities_can_be_set(tmp_path: Path, authority: Authority) -> None:
    file = tmp_path / "authorities.pem"
    file.write_bytes(authority.pem)
    node = Node(tmp_path, authorities=str(file)).open()
    server = tmp_path / "server.pem"
    server.write_bytes(authority.issue(x509.DNSName("voice.example")))
    context = certificates.server_context()
    context.load_cert_chain(server)
    assert handshake(node.held.client, context, "voice.example")
    stranger = Node(tmp_path / "other").open().held.server
    with pytest.raises(TlsFailed, match="not trusted"):
        handshake(node.held.client, stranger, "example.org")


def test_changed_authorities_are_believed_without_a_restart(
    tmp_path: Path, authority: Authority
) -> None:
    file = tmp_path / "authorities.pem"
    file.write_bytes(Authority.make("the one before").pem)
    node = Node(tmp_path, authorities=str(file)).open()
    server = tmp_path / "server.pem"
    server.write_bytes(authority.issue(x509.DNSName("voice.example")))
    context = certificates.server_context()
    context.load_cert_chain(server)
    with pytest.raises(TlsFailed, match="not trusted"):
        handshake(node.held.client, context, "voice.example")
    file.write_bytes(b"broken")
    assert [line["event"] for line in node.look()] == ["certificate_kept"]
    file.write_bytes(authority.pem)
    assert [line["event"] for line in node.look()] == ["certificate_loaded"]
    assert handshake(node.held.client, context, "voice.example")


def test_authorities_that_cannot_be_read_stop_the_start(tmp_path: Path) -> None:
    file = tmp_path / "authorities.pem"
    file.write_text("nobody")
    with pytest.raises(ConfigError, match=r"tls\.authorities: .* give a PEM file"):
        Node(tmp_path, authorities=str(file)).open()


def test_an_operators_certificate_is_shown_to_servers_that_ask(
    tmp_path: Path, authority: Authority
) -> None:
    trusted = tmp_path / "authorities.pem"
    trusted.write_bytes(authority.pem)
    own = operators(tmp_path, authority.issue(x509.DNSName("own.example")))
    node = Node(tmp_path, authorities=str(trusted), **own).open()
    server = tmp_path / "server.pem"
    server.write_bytes(authority.issue(x509.DNSName("voice.example")))
    asking = certificates.server_context()
    asking.load_cert_chain(server)
    asking.load_verify_locations(trusted)
    asking.verify_mode = ssl.CERT_REQUIRED
    one = TlsSession(node.held.client, server_side=False, server_name="voice.example")
    other = TlsSession(asking, server_side=True)
    data = one.start()
    while data:
        data = one.receive(other.receive(data)[1])[1]
    assert other.is_established
    assert proves(other.certificate(), "own.example")


async def test_watching_looks_from_time_to_time(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificates, "LOOK_INTERVAL", 0.01)
    first = authority.issue(x509.DNSName("one.example"))
    node = Node(tmp_path, **operators(tmp_path, first)).open()
    watching = asyncio.create_task(node.held.watch())
    before = node.held.server
    operators(tmp_path, authority.issue(x509.DNSName("two.example")))
    async with asyncio.timeout(5):
        while node.held.server is before:
            await asyncio.sleep(0.01)
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching
