"""What is kept of a confirmed dialog, so that a start after a crash can end it.

A row is msgpack [version, call-id, method, caller tag, callee tag, from value, shown from, to
value, caller CSeq, callee CSeq, caller side, callee side]; a side is ["phone", transport, local
host, local port, remote host, remote port, login, server, contact, routes], ["trunk", CSeq shift]
with what a phone has after its kind, ["node", key] or ["service", name, contact].
"""

from typing import Any

import msgpack

from federation.model.address import Endpoint
from federation.model.clocks import Monotonic, UnixTime
from federation.model.errors import PeerError
from federation.model.identity import NodeId
from node.edge.dialog import (
    Dialog,
    DialogSet,
    DialogState,
    NodeSide,
    PhoneSide,
    ServiceSide,
    Side,
    TrunkSide,
)
from node.sip.flow import Flow

VERSION = 1
CSEQ_HEADROOM = 1000
"Added to stored CSeq numbers: requests after the last write may have raised them."


class StoredDialogError(PeerError):
    """A stored row is not of this form; it is dropped."""


def pack_dialog(dialog: Dialog) -> bytes:
    """The row of a confirmed dialog."""
    group = dialog.group
    row = [
        VERSION,
        group.call_id,
        group.method,
        group.caller_tag,
        dialog.callee_tag,
        group.from_value,
        dialog.shown_from,
        group.to_value,
        dialog.caller_cseq,
        dialog.callee_cseq,
        _pack_side(group.caller),
        _pack_side(dialog.callee),
    ]
    return bytes(msgpack.packb(row, unicode_errors="surrogateescape"))


def unpack_dialog(data: bytes, group_id: int, *, now: Monotonic, unix: UnixTime) -> DialogSet:
    """A set with the one dialog that was stored.

    Raises:
        StoredDialogError: the row cannot be read.
    """
    try:
        row = msgpack.unpackb(data, unicode_errors="surrogateescape")
        (version, call_id, method, caller_tag, callee_tag, from_value, shown_from) = row[:7]
        (to_value, caller_cseq, callee_cseq, caller, callee) = row[7:]
        if version != VERSION:
            raise StoredDialogError(f"a dialog of version {version!r}")
        group = DialogSet(
            id=group_id,
            call_id=call_id,
            method=method,
            caller_tag=caller_tag,
            caller=_unpack_side(caller),
            from_value=from_value,
            to_value=to_value,
            created=now,
            created_at=unix,
        )
        group.dialogs[callee_tag] = Dialog(
            group,
            callee_tag,
            _unpack_side(callee),
            shown_from,
            branch=0,
            state=DialogState.CONFIRMED,
            answered_at=unix,
            caller_cseq=caller_cseq + CSEQ_HEADROOM,
            callee_cseq=callee_cseq + CSEQ_HEADROOM,
        )
    except (ValueError, TypeError, IndexError, PeerError) as error:
        raise StoredDialogError(str(error)) from error
    return group


def _pack_side(side: Side) -> list[Any]:
    match side:
        case PhoneSide(flow=flow):
            kind = ["trunk", side.cseq_shift] if isinstance(side, TrunkSide) else ["phone"]
            return [
                *kind,
                flow.transport,
                *flow.local,
                *flow.remote,
                side.login,
                side.server,
                side.contact,
                side.routes,
            ]
        case NodeSide(node=node):
            return ["node", bytes(node)]
        case ServiceSide(name=name):
            return ["service", name, side.contact]


def _unpack_side(row: list[Any]) -> Side:
    match row:
        case ["phone", transport, lhost, lport, rhost, rport, login, server, contact, routes]:
            flow = Flow(transport, Endpoint(lhost, lport), Endpoint(rhost, rport))
            return PhoneSide(flow, login, server, contact, list(routes))
        case ["trunk", int(shift), *phone]:
            like = _unpack_side(["phone", *phone])
            assert isinstance(like, PhoneSide)
            values = (like.flow, like.login, like.server, like.contact, like.routes)
            return TrunkSide(*values, cseq_shift=shift)
        case ["node", key]:
            return NodeSide(NodeId(key))
        case ["service", name, contact]:
            return ServiceSide(name, contact)
    raise StoredDialogError("a side of unknown kind")
