"""The TLS of one connection, without its socket: records in, bytes of the application out.

Python's own TLS transports keep a read buffer of 256 KiB a connection for as long as it lasts. Here
bytes pass through two memory BIOs in slices, since a BIO keeps the largest size it ever had; what
OpenSSL itself holds while records are on their way it frees in between (`SSL_MODE_RELEASE_BUFFERS`,
which Python sets for every context).
"""

import contextlib
import ssl

SLICE = 2048
"Bytes handed to OpenSSL at once, either way; bounds what an idle connection keeps."
_READ = 16_384
"A whole record (RFC 8446 section 5.1), so that one read empties it."


class TlsFailed(Exception):
    """The other end broke the protocol, or nothing was agreed on; `alert` is still to be sent."""

    def __init__(self, reason: str, alert: bytes) -> None:
        super().__init__(reason)
        self.reason = reason
        self.alert = alert


class TlsSession:
    """One end of a TLS connection. After `TlsFailed` it is of no further use."""

    __slots__ = ("_incoming", "_outgoing", "_tls", "is_closed", "is_established")

    def __init__(
        self, context: ssl.SSLContext, *, server_side: bool, server_name: str | None = None
    ) -> None:
        """Begin as one of both sides; `server_name` is what a client asks for (RFC 6066)."""
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_name
        )
        self.is_established = False
        "The handshake is done."
        self.is_closed = False
        "The other end said that it will send no more."

    def start(self) -> bytes:
        """What to send first: the hello of a client, nothing of a server."""
        self._shake()
        return self._outgoing.read()

    def receive(self, data: bytes) -> tuple[bytes, bytes]:
        """Take what came; returns what the application reads, and what is to be sent.

        Raises:
            TlsFailed: the connection is at its end.
        """
        plain: list[bytes] = []
        answers: list[bytes] = []
        view = memoryview(data)
        for start in range(0, len(data), SLICE):
            if self.is_closed:
                break
            self._incoming.write(view[start : start + SLICE])
            if self.is_established or self._shake():
                self._read_into(plain)
            if self._outgoing.pending:
                answers.append(self._outgoing.read())
        return b"".join(plain), b"".join(answers)

    def send(self, data: bytes) -> bytes:
        """What to send so that the other end reads `data`; only once established.

        Raises:
            TlsFailed: the connection is at its end.
        """
        records: list[bytes] = []
        view = memoryview(data)
        try:
            for start in range(0, len(data), SLICE):
                self._tls.write(view[start : start + SLICE])
                records.append(self._outgoing.read())
        except ssl.SSLError as error:
            raise self._failed(error) from error
        return b"".join(records)

    def close(self) -> bytes:
        """The word that nothing more follows (close_notify), where it can still be said."""
        with contextlib.suppress(ssl.SSLError, ValueError):  # its own close is not waited for
            self._tls.unwrap()
        return self._outgoing.read()

    def certificate(self) -> dict[str, object]:
        """The other end's certificate as `ssl.SSLSocket.getpeercert` shows it; empty: none."""
        return dict(self._tls.getpeercert() or {})

    @property
    def version(self) -> str:
        """What was agreed on, `TLSv1.3` for example; empty before."""
        return self._tls.version() or ""

    def _shake(self) -> bool:
        """Go on with the handshake; whether it is done."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            raise self._failed(error) from error
        self.is_established = True
        return True

    def _read_into(self, plain: list[bytes]) -> None:
        try:
            while data := self._tls.read(_READ):
                plain.append(data)
            self.is_closed = True
        except ssl.SSLWantReadError:
            return
        except ssl.SSLZeroReturnError:
            self.is_closed = True
        except ssl.SSLError as error:
            raise self._failed(error) from error

    def _failed(self, error: ssl.SSLError) -> TlsFailed:
        return TlsFailed(_words(error), self._outgoing.read())


def _words(error: ssl.SSLError) -> str:
    """What OpenSSL says, without its numbers: a certificate's fault as a sentence."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    reason = str(error.reason or error.args[-1])
    return "TLS: " + reason.lower().replace("_", " ")
