"""One TLS connection that carries SIP: what a TCP connection is, with a `TlsSession` in between."""

import asyncio
import ssl
from typing import Protocol

from federation.model.address import AddressError, parse_ip
from federation.model.clocks import Monotonic
from node.sip.flow import Flow
from node.sip.transports.certificate_names import proves
from node.sip.transports.connection import ConnectionOwner, TcpConnection
from node.sip.transports.tls_session import TlsFailed, TlsSession


class TlsContexts(Protocol):
    """What TLS is spoken with. Asked at each new connection, so a change holds from then on."""

    @property
    def server(self) -> ssl.SSLContext:
        """Shows this node's certificate."""

    @property
    def client(self) -> ssl.SSLContext:
        """Asks for a trusted certificate; names are checked by `proves`."""


class TlsOwner(ConnectionOwner, Protocol):
    """What a TLS connection asks of whoever made it."""

    contexts: TlsContexts


class TlsRefused(ConnectionError):
    """There was no TLS with the other end; the text says why, without a name in front."""


class TlsConnection(TcpConnection):
    """One connection. A client's is usable once its certificate was checked (`shaken`)."""

    def __init__(self, owner: TlsOwner, *, accepted: bool, name: str = "") -> None:
        super().__init__(owner, accepted=accepted, name=name)
        self._contexts = owner.contexts
        self._session: TlsSession | None = None
        self.shaken: asyncio.Future[None] | None = None
        "Of outgoing ones: done when messages may be sent, failed with `TlsRefused`."
        if not accepted:
            self.shaken = asyncio.get_running_loop().create_future()

    def _connected(self, flow: Flow) -> None:
        """TCP is there: begin the handshake."""
        context = self._contexts.server if self.accepted else self._contexts.client
        try:
            self._session = TlsSession(
                context, server_side=self.accepted, server_name=_server_name(self.name)
            )
        except ValueError:
            self._refuse(f"{self.name!r} is no host name", b"")
            return
        self._write(self._session.start())

    def data_received(self, data: bytes) -> None:
        """Open the records that came."""
        session = self._session
        if session is None or self.flow is None:
            return
        try:
            plain, answer = session.receive(data)
        except TlsFailed as failed:
            self._refuse(failed.reason, failed.alert)
            return
        if answer:
            self._write(answer)
        if session.is_established and not self.is_usable and not self._agreed(session, self.flow):
            return
        if plain:
            self._take(plain)
        if session.is_closed:
            self._close_after_all()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the owner, and whoever waits for the handshake."""
        self._session = None
        self._not_shaken("the connection was closed during the TLS handshake")
        super().connection_lost(exc)

    def send(self, data: bytes) -> None:
        """Send a message."""
        session = self._session
        if session is None or not self.is_usable or self._is_closing:
            return
        try:
            self._write(session.send(data))
        except TlsFailed as failed:
            self._refuse(failed.reason, failed.alert)

    def close(self) -> None:
        """Say that it ends, and close after everything is written."""
        session = self._session
        if session is not None and self.is_usable and not self._is_closing:
            self._write(session.close())
        super().close()

    def sweep(self, now: Monotonic) -> None:
        """Close the connection if one of its times has run out."""
        if self.accepted and not self.is_usable:
            if now - self._since > self._owner.limits.handshake_seconds:
                self._owner.noise.complain(self._host, "TLS: no handshake in time")
                self.abort()
            return
        super().sweep(now)

    def _agreed(self, session: TlsSession, flow: Flow) -> bool:
        """The handshake is done: whether the other end is who it should be."""
        if self.name and not proves(session.certificate(), self.name):
            self._refuse(f"its certificate is not one for {self.name}", session.close())
            return False
        super()._connected(flow)
        if self.shaken is not None and not self.shaken.done():
            self.shaken.set_result(None)
        return True

    def _refuse(self, reason: str, last: bytes) -> None:
        """Say a last word and close."""
        if self.accepted:
            self._owner.noise.complain(self._host, reason)
        self._not_shaken(reason)
        if last:
            self._write(last)
        super().close()

    def _not_shaken(self, reason: str) -> None:
        if self.shaken is not None and not self.shaken.done():
            self.shaken.set_exception(TlsRefused(reason))


def _server_name(name: str) -> str | None:
    """What to ask for: a domain; for IP addresses nothing (RFC 6066 section 3)."""
    try:
        parse_ip(name)
    except AddressError:
        return name or None
    return None
