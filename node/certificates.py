"""Which certificate this node shows over TLS, and whom it believes; kept up to date while it runs.

Either the operator's PEM files, read again when they change, or a certificate of the node's own in
the state folder, made again before it expires and when the node's names change. Authorities are
read again likewise. A change holds for connections that begin after it; those that stand are left
alone.
"""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

import structlog

from federation.model.clocks import Clock
from federation.model.errors import ConfigError
from node.config import TlsConfig
from node.own_certificate import CertificateNames, expiry_of, issue, reason_to_renew
from node.sheet import ServedAt
from node.state import StateFolder

LOOK_INTERVAL = 10.0
"Seconds between two looks at files, names and time."
EXPIRY_WARNING = 14 * 86_400.0
"Seconds before the operator's certificate expires from which on the log says so."
WARNING_INTERVAL = 86_400.0
"Seconds between two such lines."
MAX_PEM_BYTES = 1 << 20
_Seen = tuple[tuple[int, int, int], ...]
log = structlog.get_logger("node")


class Certificates:
    """The node's TLS contexts (`TlsContexts`): `open` makes them, `watch` keeps them right."""

    def __init__(
        self,
        config: TlsConfig,
        state: StateFolder,
        names: Callable[[], CertificateNames],
        clock: Clock,
    ) -> None:
        """`names` are those that the node's own certificate is for."""
        self._config = config
        self._state = state
        self._names = names
        self._clock = clock
        self._server: ssl.SSLContext | None = None
        self._client: ssl.SSLContext | None = None
        self._seen: _Seen = ()
        self._warned = 0.0
        self._told = ""

    @property
    def server(self) -> ssl.SSLContext:
        """Shows the node's certificate and asks for none."""
        assert self._server is not None
        return self._server

    @property
    def client(self) -> ssl.SSLContext:
        """Believes the system's authorities, or those that were set; names are checked elsewhere.

        Made when it is first needed: the system's authorities take a moment and some memory.
        """
        if self._client is None:
            self._client = self._client_context()
        return self._client

    def open(self) -> None:
        """Load what is there, and make what is not.

        Raises:
            ConfigError: a file of the operator's will not do, or the state folder is not writable.
        """
        if self._config.certificate is None:
            self._renew_own()
        self._load()
        if self._config.authorities is not None:
            self._client = self._client_context()

    def check(self) -> None:
        """Make sure that the operator's files will do, without a change to the node's own.

        Raises:
            ConfigError: one will not.
        """
        if self._config.certificate is not None:
            self._load()
        if self._config.authorities is not None:
            self._client_context()

    def look(self, *, again: bool = False) -> None:
        """See whether anything changed; with `again`, load the files even if they did not.

        Nothing is raised: what will not do is logged, and what was loaded before stays.
        """
        try:
            if self._config.certificate is None:
                again = self._renew_own() or again
            if again or self._fingerprint() != self._seen:
                self._load()
                log.info("certificate_loaded", file=str(self._files[0]))
                self._told = ""
        except ConfigError as error:
            if again or str(error) != self._told:
                log.error("certificate_kept", reason=str(error), kept="the one loaded before")
            self._told = str(error)
        self._warn_of_expiry()

    async def watch(self) -> None:
        """Look from time to time, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_INTERVAL)
            self.look()

    @property
    def pair(self) -> tuple[Path, Path]:
        """The PEM files of the certificate and its key, which may be one."""
        return self._files[0], self._files[-1]

    @property
    def _files(self) -> tuple[Path, ...]:
        """What holds the certificate and its key."""
        if self._config.certificate is None:
            return (self._state.certificate,)
        key = self._config.key
        return (Path(self._config.certificate), *(() if key is None else (Path(key),)))

    def _renew_own(self) -> bool:
        """Make the node's own certificate if it is time to; whether it was."""
        pem, names, now = self._state.own_certificate(), self._names(), self._clock.unix()
        reason = reason_to_renew(pem, names, now=now)
        if not reason:
            return False
        self._state.keep_own_certificate(issue(names, now=now, previous=pem))
        log.info("certificate_made", file=str(self._state.certificate), reason=reason)
        return True

    def _load(self) -> None:
        self._seen = self._fingerprint()
        certificate, key = self._files[0], self._files[-1]
        context = server_context()
        _load_chain(context, certificate, key)
        self._server = context
        self._warned = 0.0
        if self._client is not None:
            self._client = self._client_context()

    def _client_context(self) -> ssl.SSLContext:
        context = client_context(self._config.authorities)
        if self._config.certificate is not None:  # for servers that ask; our own would tell nothing
            _load_chain(context, self._files[0], self._files[-1])
        return context

    def _fingerprint(self) -> _Seen:
        """What changes with a file; a link is followed. A file that is gone has none."""
        seen = []
        authorities = self._config.authorities
        for file in (*self._files, *(() if authorities is None else (Path(authorities),))):
            try:
                status = file.stat()
                seen.append((status.st_mtime_ns, status.st_size, status.st_ino))
            except OSError:
                seen.append((0, 0, 0))
        return tuple(seen)

    def _warn_of_expiry(self) -> None:
        if self._config.certificate is None:
            return
        now = self._clock.monotonic()
        if self._warned and now - self._warned < WARNING_INTERVAL:
            return
        try:
            expiry = expiry_of(_read(self._files[0], "tls.certificate"))
        except ConfigError:
            return
        left = None if expiry is None else expiry - self._clock.unix()
        if left is not None and left < EXPIRY_WARNING:
            self._warned = now
            log.warning("certificate_expires", file=str(self._files[0]), days=round(left / 86_400))


def names_in_certificate(served: Callable[[], ServedAt]) -> Callable[[], CertificateNames]:
    """What a node's own certificate names: its addresses, proven domains and key name."""

    def names() -> CertificateNames:
        now = served()
        proven = now.domains[: now.proven]
        return CertificateNames(
            f"ringmesh {now.key_name[:16]}", now.reached_at, (*proven, now.key_name)
        )

    return names


def server_context() -> ssl.SSLContext:
    """How TLS is spoken with whoever connects: 1.2 or newer, no renegotiation, no compression."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    return context


def client_context(authorities: str | None) -> ssl.SSLContext:
    """How TLS is spoken with whom we connect to; `authorities` (PEM) replace the system's.

    Raises:
        ConfigError: that file will not do.
    """
    try:
        context = ssl.create_default_context(cafile=authorities)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"tls.authorities: {authorities} holds no certificates that can be read "
            f"({_reason(error)}): give a PEM file"
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.check_hostname = False  # RFC 5922 has a rule of its own: `certificate_names.proves`
    return context


def _load_chain(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """Put a certificate and its key into a context, or say what is wrong with them.

    Raises:
        ConfigError: one of the files is missing, unreadable, encrypted, or they do not belong.
    """
    shown = _read(certificate, "tls.certificate")
    if b"-----BEGIN CERTIFICATE-----" not in shown:
        raise ConfigError(f"tls.certificate: {certificate} holds no certificate in PEM form")
    held = shown if key == certificate else _read(key, "tls.key")
    if b"PRIVATE KEY-----" not in held:
        raise ConfigError(
            f"{key} holds no private key in PEM form: name the file that does in tls.key"
        )
    if b"ENCRYPTED" in held:
        raise ConfigError(f"tls.key: {key} is encrypted: give a key without a passphrase")
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"tls.certificate: {certificate} and the key in {key} cannot be used "
            f"together ({_reason(error)})"
        ) from error


def _read(file: Path, setting: str) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(MAX_PEM_BYTES)
    except OSError as error:
        raise ConfigError(f"{setting}: {file} cannot be read: {error.strerror}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return str(error.reason or error).lower().replace("_", " ")
    return str(getattr(error, "strerror", None) or error)
