"""A pool that serves TURN on loopback, with an account, and a certificate to show."""

import contextlib
import datetime
import ipaddress
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from federation.model.address import Endpoint
from media_relay.pool import RelayPool
from media_relay.turn.credentials import account_of
from media_relay.turn_config import TurnAccount, TurnSettings
from tests.support.ports import free_port
from tests.support.relay_wire import a_pool

LOGIN, PASSWORD, REALM = "alice", "alice's password", "ringmesh"
LOOPBACK = ("127.0.0.0/8", "::1/128")


def turn_account(login: str = LOGIN, password: str = PASSWORD) -> TurnAccount:
    account = account_of(login, REALM, password)
    return TurnAccount(login, account.md5, account.sha256)


def certificate_in(folder: Path) -> tuple[str, str]:
    """A self-signed certificate for loopback: paths of certificate and key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    names = [
        x509.DNSName("localhost"),
        *(x509.IPAddress(ipaddress.ip_address(host)) for host in ("127.0.0.1", "::1")),
    ]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=36500))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return str(paths[0]), str(paths[1])


@contextlib.asynccontextmanager
async def a_turn_pool(
    folder: Path | None = None, *, workers: int = 1, **settings: Any
) -> AsyncIterator[RelayPool]:
    """Serve TURN on 127.0.0.1 and ::1; with `folder` TLS as well."""
    if folder is not None:
        certificate, private_key = certificate_in(folder)
        settings |= {
            "certificate": certificate,
            "private_key": private_key,
            "tls_port": free_port(),
        }
    chosen: dict[str, Any] = {
        "hosts": ("127.0.0.1", "::1"),
        "port": free_port(),
        "allow_peers": LOOPBACK,
        **settings,
    }
    async with a_pool(workers=workers) as pool:
        pool.turn_listen(TurnSettings(**chosen))
        pool.turn_accounts([turn_account()])
        yield pool


def serving(pool: RelayPool, name: str = "udp", *, ipv6: bool = False) -> Endpoint:
    """Where a pool serves one transport."""
    return next(
        endpoint
        for transport, endpoint in pool.turn_endpoints()
        if transport == name and endpoint.is_ipv6 is ipv6
    )
