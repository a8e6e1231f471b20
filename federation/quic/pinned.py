"""The one file that knows aioquic's private names. Each has a canary test.

aioquic has no public way to ask a client for its certificate, to judge a certificate inside the
handshake, to allow more than 128 streams, or to see how much a peer makes us hold. The version is
pinned in `pyproject.toml`; when it changes, the canaries say what moved.
"""

from typing import Any

from aioquic import tls
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from federation.model.identity import KeyFormatError, NodeId

MAX_STREAMS = 4_096
"Streams a peer may have open, of each kind. aioquic's 128 leave the 129th call waiting in silence."


class PinnedConnection(QuicConnection):
    """A connection that asks for the peer's key inside the handshake and pins it.

    Only a single Ed25519 certificate passes, in both roles; with `expected` set, only that key.
    """

    expected: NodeId | None = None
    _peer: NodeId | None = None

    @property
    def peer(self) -> NodeId | None:
        """The key the peer has proven to hold; `None` before the handshake is over."""
        return self._peer if self._handshake_complete else None

    @property
    def termination(self) -> ConnectionTerminated | None:
        """Why the connection is over, as soon as that is known.

        aioquic tells by an event only after its closing period.
        """
        return self._close_event

    @property
    def stream_count(self) -> int:
        """Streams that hold memory here, also those opened by leaving ids out."""
        return len(self._streams)

    @property
    def claimed_bytes(self) -> int:
        """Sum of the highest offsets the peer has sent on its streams, gaps included."""
        return self._local_max_data.used

    def backlog(self) -> int:
        """Bytes we have written and the peer has not acknowledged. Walks all streams."""
        return sum(len(stream.sender._buffer) for stream in self._streams.values())

    # -- aioquic calls these --------------------------------------------------------------

    def _initialize(self, peer_cid: bytes) -> None:
        self._local_max_streams_bidi.value = self._local_max_streams_bidi.sent = MAX_STREAMS
        self._local_max_streams_uni.value = self._local_max_streams_uni.sent = MAX_STREAMS
        super()._initialize(peer_cid)
        context: Any = self.tls
        context._supported_groups = [tls.Group.X25519]
        context._signature_algorithms = [tls.SignatureAlgorithm.ED25519]
        keep_certificate = context._set_peer_certificate

        def set_peer_certificate(certificate: Any) -> None:
            keep_certificate(certificate)
            self._peer = self._judge(context)

        context._set_peer_certificate = set_peer_certificate
        if not self._is_client:
            self._ask_for_certificate(context)

    def _ask_for_certificate(self, context: Any) -> None:
        context._request_client_certificate = True
        handle_certificate = context._server_handle_certificate

        def server_handle_certificate(buffer: Any) -> None:
            handle_certificate(buffer)
            if context._peer_certificate is None:
                raise tls.AlertHandshakeFailure("a client certificate is required")

        context._server_handle_certificate = server_handle_certificate

    def _judge(self, context: Any) -> NodeId:
        if context._peer_certificate_chain:
            raise tls.AlertBadCertificate("one certificate only")
        try:
            key = context._peer_certificate.public_key()
        except (UnsupportedAlgorithm, ValueError) as error:
            raise tls.AlertBadCertificate("a certificate without a usable key") from error
        if not isinstance(key, Ed25519PublicKey):
            raise tls.AlertBadCertificate("Ed25519 only")
        try:
            peer = NodeId(key.public_bytes(Encoding.Raw, PublicFormat.Raw))
        except KeyFormatError as error:
            raise tls.AlertBadCertificate("the key is not that of a node") from error
        if self.expected is not None and peer != self.expected:
            raise tls.AlertBadCertificate("not the node that was dialled")
        return peer
