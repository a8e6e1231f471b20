"""Attended transfer across nodes (RFC 3515, RFC 3891).

A Refer-To with Replaces names a dialog; its URI is the contact of that dialog's other party, which
nobody but the two ends can reach. Where the dialog is one of ours, the URI becomes one that any
node can route: the party's number or login at its node's key name.
"""

from urllib.parse import unquote

from federation.model.identity import NodeId
from node.edge.dialog import DialogTable, Match, NodeSide, PhoneSide
from node.sip.errors import SipParseError
from node.sip.headers import NameAddr
from node.sip.message import Request
from node.sip.uri import Uri, UriHeaders

MAX_REPLACES = 1024
"Characters of a Replaces value that is looked at."


def make_refer_to_reachable(request: Request, dialogs: DialogTable, own: NodeId) -> None:
    """Rewrite the Refer-To of a REFER where its Replaces names a dialog of ours."""
    value = request.get("Refer-To")
    if request.method != "REFER" or value is None:
        return
    try:
        target = NameAddr.parse(value)
    except SipParseError:
        return
    named = _replaced_dialog(target.uri.headers, dialogs)
    if named is None:
        return
    uri = _reachable(named, own, target.uri)
    if uri is not None:
        request.set("Refer-To", f"<{uri}>")


def _replaced_dialog(headers: UriHeaders, dialogs: DialogTable) -> Match | None:
    for name, value in headers:
        if name.lower() != "replaces" or len(value) > MAX_REPLACES:
            continue
        call_id, *params = [part.strip() for part in unquote(value).split(";")]
        tags = dict(param.split("=", 1) for param in params if "=" in param)
        return dialogs.find(
            call_id, tags.get("from-tag", ""), tags.get("to-tag", ""), lambda side: True
        )
    return None


def _reachable(named: Match, own: NodeId, written: Uri) -> str | None:
    """The party whose tag is the to-tag, as anybody can dial it."""
    headers = "&".join(f"{name}={value}" for name, value in written.headers)
    match named.receiver:
        case PhoneSide(login=login):
            user, node = login, own
        case NodeSide(node=node):
            group, dialog = named.dialog.group, named.dialog
            value = group.to_value if named.from_caller else dialog.shown_from
            try:
                user = NameAddr.parse(value).uri.user or ""
            except SipParseError:
                return None
        case _:
            return None
    return f"sip:{user}@{node.key_name}?{headers}" if user else None
