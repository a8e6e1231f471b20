"""The certificate that a node makes for itself: self-signed, for the names it is reached by.

Nobody vouches for it: a phone encrypts with it, and knows who is at the other end only if it was
told to trust this very certificate. The key stays the same when the names change or the time is
over, so that what was pinned to the key goes on to hold.
"""

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from federation.model.clocks import UnixTime

LIFETIME = timedelta(days=397)
"As long as browsers believe any certificate."
RENEWED_BEFORE = timedelta(days=30)
"Left of its lifetime when the next one is made."
BACKDATED = timedelta(days=1)
"For phones whose clock is behind."
MAX_NAMES = 64
"Addresses, and domains, in one certificate; more are left out."


@dataclass(frozen=True, slots=True)
class CertificateNames:
    """What a node is reached by."""

    label: str
    "What people see as the certificate's common name."
    addresses: tuple[str, ...]
    "IP addresses, best first."
    domains: tuple[str, ...]
    "Host names, each also named as a SIP domain (RFC 5922 section 7.1)."

    def general_names(self) -> Iterator[x509.GeneralName]:
        """The entries of the certificate's subjectAltName."""
        for domain in self.domains[:MAX_NAMES]:
            yield x509.DNSName(domain)
            yield x509.UniformResourceIdentifier(f"sip:{domain}")
        for address in self.addresses[:MAX_NAMES]:
            yield x509.IPAddress(ipaddress.ip_address(address))


def issue(names: CertificateNames, *, now: UnixTime, previous: bytes | None) -> bytes:
    """A fresh key and certificate as PEM, or a certificate for the key of a `previous` one."""
    key = _key_of(previous) or ec.generate_private_key(ec.SECP256R1())
    today = datetime.fromtimestamp(now, UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names.label)])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    usage = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - BACKDATED)
        .not_valid_after(today + LIFETIME)
        .add_extension(x509.SubjectAlternativeName(names.general_names()), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_signing_only(), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usage), critical=False)
        .add_extension(identifier, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
            critical=False,
        )
    )
    certificate = builder.sign(key, hashes.SHA256())
    plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return plain + certificate.public_bytes(Encoding.PEM)


def reason_to_renew(pem: bytes | None, names: CertificateNames, *, now: UnixTime) -> str:
    """Why another certificate is needed; empty: it is not."""
    if pem is None:
        return "there was none"
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (ValueError, x509.ExtensionNotFound):
        return "the file cannot be read"
    if _key_of(pem) is None:
        return "its key cannot be read"
    today = datetime.fromtimestamp(now, UTC)
    if not certificate.not_valid_before_utc <= today:
        return "it is not valid yet"
    if today > certificate.not_valid_after_utc - RENEWED_BEFORE:
        return "it is about to expire"
    if not _same(extension.value, names.general_names()):
        return "the names of this node have changed"
    return ""


def expiry_of(pem: bytes) -> UnixTime | None:
    """When the first certificate in a PEM text expires; `None` if there is none to be read."""
    try:
        return UnixTime(x509.load_pem_x509_certificate(pem).not_valid_after_utc.timestamp())
    except ValueError:
        return None


def _same(one: Iterable[x509.GeneralName], other: Iterable[x509.GeneralName]) -> bool:
    return set(one) == set(other)


def _signing_only() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _key_of(pem: bytes | None) -> ec.EllipticCurvePrivateKey | None:
    if pem is None:
        return None
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError):
        return None
    return key if isinstance(key, ec.EllipticCurvePrivateKey) else None
