"""The certificate by which a node shows its key, and how our QUIC is configured.

The key is the identity; name, dates and self-signature of the certificate are there because
X.509 wants them, and nobody reads them.
"""

import datetime
import ssl

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.packet import QuicProtocolVersion
from cryptography import x509
from cryptography.x509.oid import NameOID

from federation.model.identity import NodeKey
from federation.model.network import Network

QUIC_IDLE_TIMEOUT = 60.0
"Seconds without any packet; pings come more often, so this only ends what is dead."
INITIAL_MAX_DATA = 1 << 20
INITIAL_MAX_STREAM_DATA = 1 << 15
"Bytes a stream may send before it is given more; ordinary frames fit at once."
_NOT_BEFORE = datetime.datetime(2025, 1, 1)
_VALIDITY = datetime.timedelta(days=36_500)


def node_certificate(key: NodeKey) -> x509.Certificate:
    """Make the self-signed certificate that carries the node's key."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ringmesh node")])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.private.public_key())
        .serial_number(1)
        .not_valid_before(_NOT_BEFORE)
        .not_valid_after(_NOT_BEFORE + _VALIDITY)
        .sign(key.private, None)
    )


def quic_configuration(
    key: NodeKey, certificate: x509.Certificate, network: Network, *, is_client: bool
) -> QuicConfiguration:
    """Settings of one role. `CERT_NONE` leaves the check to the pin, which is stricter."""
    configuration = QuicConfiguration(
        alpn_protocols=[network.alpn],
        idle_timeout=QUIC_IDLE_TIMEOUT,
        is_client=is_client,
        max_data=INITIAL_MAX_DATA,
        max_stream_data=INITIAL_MAX_STREAM_DATA,
        supported_versions=[QuicProtocolVersion.VERSION_1],
        verify_mode=ssl.CERT_NONE,
    )
    configuration.certificate = certificate
    configuration.private_key = key.private
    return configuration
