"""Registrations as rows, written behind so that phones can be called again after a restart."""

from collections.abc import Iterable
from typing import Any

import structlog
from sqlalchemy import Connection, delete, select

from federation.model.address import Endpoint
from federation.model.clocks import UnixTime
from node.sip.binding import Binding, BindingChange, BindingRemoved
from node.sip.errors import SipParseError
from node.sip.flow import WEB_TRANSPORTS, Flow
from node.storage.engines import NUL_STANDIN
from node.storage.schema import bindings
from node.storage.writer import Writer

log = structlog.get_logger("storage")


def load_bindings(connection: Connection, *, now: UnixTime) -> list[Binding]:
    """Every stored binding that has not expired; the others are deleted, as are WebSockets'.

    Needs a connection that may write.
    """
    gone = (bindings.c.expires_at <= now) | bindings.c.transport.in_(WEB_TRANSPORTS)
    connection.execute(delete(bindings).where(gone))
    found = []
    for row in connection.execute(select(bindings)):
        binding = _from_row(row)
        try:
            _ = binding.target
        except SipParseError as error:
            log.warning("stored_binding_skipped", login=binding.aor, reason=str(error))
            continue
        found.append(binding)
    return found


class BindingStore:
    """Writes a registrar's changes behind."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def apply(self, changes: Iterable[BindingChange]) -> None:
        """Have the changes stored, in order."""
        for change in changes:
            binding = change.binding
            key = (binding.aor, _stored(binding.key))
            if isinstance(change, BindingRemoved):
                self._writer.remove("bindings", key)
            else:
                self._writer.put("bindings", key, _row(binding))


def _row(binding: Binding) -> dict[str, Any]:
    flow = binding.flow
    return {
        "login": binding.aor,
        "key": _stored(binding.key),
        "uri": _stored(binding.uri),
        "transport": flow.transport,
        "local_host": flow.local.host,
        "local_port": flow.local.port,
        "remote_host": flow.remote.host,
        "remote_port": flow.remote.port,
        "server": _stored(binding.server),
        "instance": None if binding.instance is None else _stored(binding.instance),
        "reg_id": binding.reg_id,
        "q": binding.q,
        "path": _stored("\n".join(binding.path)),
        "user_agent": _stored(binding.user_agent),
        "call_id": _stored(binding.call_id),
        "cseq": binding.cseq,
        "registered_at": binding.registered_at,
        "expires_at": binding.expires_at,
    }


def _from_row(row: Any) -> Binding:
    flow = Flow(
        row.transport,
        Endpoint(row.local_host, row.local_port),
        Endpoint(row.remote_host, row.remote_port),
    )
    return Binding(
        aor=row.login,
        key=_loaded(row.key),
        uri=_loaded(row.uri),
        flow=flow,
        is_connected=not flow.reliable,
        server=_loaded(row.server),
        instance=None if row.instance is None else _loaded(row.instance),
        reg_id=row.reg_id,
        q=row.q,
        path=tuple(_loaded(row.path).split("\n")) if row.path else (),
        user_agent=_loaded(row.user_agent),
        call_id=_loaded(row.call_id),
        cseq=row.cseq,
        registered_at=UnixTime(row.registered_at),
        expires_at=UnixTime(row.expires_at),
    )


def _stored(text: str) -> str:
    """SIP text as a database takes it: each byte one character, so that any bytes come back."""
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("latin-1")


def _loaded(text: str) -> str:
    if text.isascii():
        return text
    raw = text.replace(NUL_STANDIN, "\0").encode("latin-1")
    return raw.decode("utf-8", "surrogateescape")
