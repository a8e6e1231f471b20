"""Small things the edge says and reads in messages."""

from node.edge.dialog import Side
from node.edge.hub import Hub
from node.sip.line import Line, written
from node.sip.message import Request, Response
from node.sip.multipart import Place, description_place

MAX_REASON_TEXT = 120


def reply(
    hub: Hub, request: Request, status: int, reason: str | None = None, **headers: str
) -> Response:
    """A response of this node's own; header names are given with `_` for `-`."""
    fields = [(name.replace("_", "-"), value) for name, value in headers.items()]
    tag = None if status == 100 else hub.tag()  # taken where To has none, or cannot be read
    return Response.answering(request, status, reason, to_tag=tag, headers=fields)


def reason_header(status: int, text: str) -> str:
    """A Reason value (RFC 3326) with a text for people."""
    plain = "".join(c for c in text if c.isprintable() and c not in '"\\')[:MAX_REASON_TEXT]
    return f'SIP;cause={status};text="{plain}"'


def from_line(value: str, tag: str | None) -> Line:
    """A From that names somebody else than the sender did."""
    return written("From", f"{value};tag={tag}" if tag else value)


def is_sdp(message: Request | Response) -> bool:
    """Whether the body is, or holds among other parts, a session description."""
    return bool(message.body) and _description(message) is not None


def _description(message: Request | Response) -> Place | None:
    return description_place(message.get("Content-Type") or "", message.body)


def description_of(message: Request | Response) -> bytes:
    """The session description of a message that `is_sdp`."""
    place = _description(message)
    return message.body if place is None else message.body[place.start : place.end]


def with_description(message: Request | Response, description: bytes) -> bytes:
    """The body of a message that `is_sdp`, with another description in its place."""
    place = _description(message)
    if place is None:
        return description
    return message.body[: place.start] + description + message.body[place.end :]


def note_target(side: Side, message: Request | Response) -> None:
    """Remember the remote target that a dialog's message names (RFC 3261 12.2)."""
    contacts = message.contacts
    if len(contacts) == 1:
        side.contact = str(contacts[0].uri)
