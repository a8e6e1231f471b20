"""A trace as people and programs are shown it: plain values, with secrets masked."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from federation.model.identity import NodeId
from node.control import JsonObject
from node.sip.flow import Flow
from node.tracing.masking import masked
from node.tracing.tap import FRAME, SENT, Place
from node.tracing.traces import Trace

MAX_SUMMARY = 80


def as_json(
    trace: Trace, *, call: str, under_way: bool, unix_of: Callable[[float], float]
) -> JsonObject:
    """A trace; `unix_of` turns the time of a message into seconds since 1970.

    `parties` are whom the messages came from or went to, in the order of their first one; each
    message names its party by its place in that list.
    """
    parties: list[JsonObject] = []
    index: dict[str, int] = {}
    seen: set[tuple[int, str, bytes]] = set()
    messages = []
    begin = trace.messages[0][0]
    for noted in trace.messages:
        at, way, data, place = noted
        name = _address_of(place)
        if name not in index:
            index[name] = len(parties)
            parties.append({"address": name, "kind": "node" if _is_node(place) else "sip"})
        is_repeated = (way, name, data) in seen
        seen.add((way, name, data))
        messages.append(
            {
                "time": _instant(unix_of(at)),
                "after": round(at - begin, 6),
                "direction": "out" if way == SENT else "in",
                "party": index[name],
                **_way_of(place),
                "summary": summary_of(data),
                "repeated": is_repeated,
                "bytes": len(data),
                "text": masked(data),
            }
        )
    return {
        "call": call,
        "call_id": trace.call_id.decode("utf-8", "replace"),
        "under_way": under_way,
        "whole": trace.is_whole and not trace.left_out,
        "left_out": trace.left_out,
        "parties": parties,
        "messages": messages,
    }


def summary_of(data: bytes) -> str:
    """What a message is, in a few words: method and target, or status and method."""
    line = data.partition(b"\n")[0].decode("utf-8", "replace").strip()
    if data.startswith(FRAME):
        return line
    first, _, rest = line.partition(" ")
    if first.startswith("SIP/"):
        method = _method_of(data)
        return f"{rest} ({method})"[:MAX_SUMMARY] if method else rest[:MAX_SUMMARY]
    return f"{first} {rest.partition(' ')[0]}".strip()[:MAX_SUMMARY]


def _is_node(place: Place) -> bool:
    return isinstance(place, NodeId)


def _address_of(place: Place) -> str:
    return place.text if isinstance(place, NodeId) else str(place.remote)


def _way_of(place: Place) -> dict[str, Any]:
    if isinstance(place, Flow):
        return {
            "transport": place.transport,
            "local": str(place.local),
            "remote": str(place.remote),
        }
    return {"transport": "QUIC", "local": None, "remote": place.text}


def _method_of(data: bytes) -> str:
    """The method of a CSeq, without parsing the message."""
    for line in data.split(b"\n", 64):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"cseq":
            return value.split()[-1].decode("utf-8", "replace") if value.split() else ""
    return ""


def _instant(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
