"""Authorities and certificates for tests, with exactly the names a test wants."""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from node.certificates import client_context, server_context

_ENCODED = Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


@dataclass(frozen=True, slots=True)
class Authority:
    """Somebody who signs certificates."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def make(cls, name: str = "an authority") -> "Authority":
        """A new one, that signs itself."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(name), _name(name), key, days=30).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        return cls(builder.sign(key, hashes.SHA256()), key)

    @property
    def pem(self) -> bytes:
        """What those who trust it are given."""
        return self.certificate.public_bytes(Encoding.PEM)

    def issue(self, *names: x509.GeneralName, common_name: str = "", days: float = 30) -> bytes:
        """A key and certificate for these names, as PEM; negative `days`: expired."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(common_name or "somebody"), self.certificate.subject, key, days)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(self.key, hashes.SHA256())
        return key.private_bytes(*_ENCODED) + certificate.public_bytes(Encoding.PEM)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: float
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=60))
        .not_valid_after(now + timedelta(days=days))
    )


class Contexts:
    """`TlsContexts` of certificates in files: what a node shows, and whom it believes."""

    def __init__(self, folder: Path, shown: bytes, trusted: Authority) -> None:
        self._folder = folder
        authorities = folder / "authorities.pem"
        authorities.write_bytes(trusted.pem)
        self.client = client_context(str(authorities))
        self.show(shown)

    def show(self, shown: bytes) -> None:
        """Show another certificate from now on."""
        file = self._folder / "shown.pem"
        file.write_bytes(shown)
        self.server: ssl.SSLContext = server_context()
        self.server.load_cert_chain(file)
