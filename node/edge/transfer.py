"""Transfer across nodes (RFC 3515, RFC 3891).

A Refer-To with Replaces names a dialog; its URI is the contact of that dialog's other party, which
nobody but the two ends can reach. Where the dialog is one of ours, the URI becomes one that any
node can route: the party's number or login at its node's key name.

Any other Refer-To is what a phone would dial, most often at its own server's address, which to
another node is a stranger's. So it is named anew where a REFER leaves for that node.
"""

from urllib.parse import unquote

from federation.model.identity import NodeId
from federation.model.number import Number
from node.edge.dialog import DialogTable, Match, NodeSide, PhoneSide
from node.names import OwnNames
from node.sip.errors import SipParseError
from node.sip.headers import NameAddr
from node.sip.message import Request
from node.sip.uri import Uri, UriHeaders

MAX_REPLACES = 1024
"Characters of a Replaces value that is looked at."


def make_refer_to_reachable(request: Request, dialogs: DialogTable, own: NodeId) -> None:
    """Rewrite the Refer-To of a REFER where its Replaces names a dialog of ours."""
    target = _refer_to(request)
    if target is None:
        return
    named = _replaced_dialog(target.uri.headers, dialogs)
    if named is None:
        return
    uri = _reachable(named, own, target.uri)
    if uri is not None:
        request.set("Refer-To", f"<{uri}>")


def make_refer_to_dialable(request: Request, names: OwnNames, other: NodeId) -> None:
    """Rewrite the Refer-To of a REFER to `other` where it names this node.

    Numbers are the same everywhere: they become that node's to dial. A login stays one of ours.
    """
    target = _refer_to(request)
    if target is None:
        return
    uri = target.uri
    if not (uri.is_sip and uri.user and names.is_own(uri.host, uri.port)):
        return
    anywhere = uri.user.startswith("+") or Number.fits(uri.user.partition("*")[0])
    host = other.key_name if anywhere else names.key_name
    dialable = Uri(uri.scheme, uri.user, host=host, headers=uri.headers)
    request.set("Refer-To", str(NameAddr(target.display, dialable, target.params)))


def _refer_to(request: Request) -> NameAddr | None:
    value = request.get("Refer-To") if request.method == "REFER" else None
    try:
        return None if value is None else NameAddr.parse(value)
    except SipParseError:
        return None


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
