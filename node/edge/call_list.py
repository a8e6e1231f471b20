"""The calls under way, as people are told of them."""

from collections.abc import Iterable
from dataclasses import dataclass

from federation.model.clocks import UnixTime
from federation.model.identity import NodeId
from node.edge.dialog import DialogSet
from node.edge.journal import name_of, plain, quality_of
from node.storage.call_records import StreamQuality


@dataclass(frozen=True, slots=True)
class CallInfo:
    """One call under way."""

    id: str
    caller: str
    target: str
    state: str
    since: float
    "Seconds since it was answered; since it began, where it was not."
    peer: NodeId | None
    codec: str | None = None
    from_caller: StreamQuality | None = None
    "How the caller's main stream arrives, at most a second ago; `None` without one."
    from_callee: StreamQuality | None = None


def call_id_of(dialogs: Iterable[DialogSet], call: str) -> str | None:
    """The Call-ID of the call under way that people know by this id."""
    return next((group.call_id for group in dialogs if str(group.id) == call), None)


def states_of(dialogs: Iterable[DialogSet]) -> list[str]:
    """The state of every call of these sets that is not over; cheaper than all of it."""
    return [
        "ringing" if group.confirmed is None else "up"
        for group in dialogs
        if group.method == "INVITE" and not group.is_over
    ]


def calls_of(dialogs: Iterable[DialogSet], *, now: UnixTime) -> list[CallInfo]:
    """Every call of these sets that is not over."""
    found = []
    for group in dialogs:
        if group.method != "INVITE" or group.is_over:
            continue
        dialog = group.confirmed
        since = group.created_at
        if dialog is not None and dialog.answered_at is not None:
            since = dialog.answered_at
        state = "up" if dialog is not None else "ringing"
        who, target = name_of(group), plain(group.to_value)
        media = group.media
        caller, callee = (None, None) if media is None else map(quality_of, media.quality()[:2])
        found.append(
            CallInfo(
                id=str(group.id),
                caller=who,
                target=target,
                state=state,
                since=now - since,
                peer=group.peer,
                codec=None if media is None else media.codec,
                from_caller=caller,
                from_callee=callee,
            )
        )
    return found
