"""Dialogs as a proxy in their middle sees them (RFC 3261 section 12).

One dialog-forming request (INVITE, SUBSCRIBE or REFER) opens a `DialogSet`; each To-tag that
answers it is one `Dialog` in the set. A dialog has two sides: a phone that sends over a flow, or
another node that is reached over its link. The caller sent the dialog-forming request, the
callee answered it.
"""

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from federation.model.address import Endpoint
from federation.model.clocks import Monotonic, UnixTime
from federation.model.identity import NodeId
from node.edge.media import CallMedia
from node.sip.flow import Flow

DIALOG_METHODS = frozenset({"INVITE", "SUBSCRIBE", "REFER"})


@dataclass(slots=True)
class PhoneSide:
    """A device reached over its own flow."""

    flow: Flow
    login: str
    server: str
    "Host (and port) under which this device knows the node."
    contact: str = ""
    "Its remote target: the URI in its Contact."
    routes: list[str] = field(default_factory=list)
    "Route set between us and the device, nearest first; empty for most phones."


@dataclass(slots=True)
class NodeSide:
    """A party behind another node."""

    node: NodeId
    hints: tuple[Endpoint, ...] = ()
    contact: str = ""
    routes: list[str] = field(default_factory=list)
    "Route set beyond us on that side: the other node's Record-Route values."


@dataclass(slots=True)
class ServiceSide:
    """A service that this node answers itself."""

    name: str
    contact: str = ""
    routes: list[str] = field(default_factory=list)


Side = PhoneSide | NodeSide | ServiceSide


class DialogState(enum.Enum):
    """How far a dialog has come."""

    EARLY = "early"
    CONFIRMED = "confirmed"
    ENDING = "ending"
    "A BYE passed; what it held is freed with its final response."


@dataclass(slots=True)
class Dialog:
    """One dialog: the tags, the targets and the last CSeq of each side."""

    group: "DialogSet"
    callee_tag: str
    callee: Side
    shown_from: str
    "The From value (without tag) as the callee sees it."
    branch: int
    "The branch of the dialog-forming request that this To-tag came over."
    state: DialogState = DialogState.EARLY
    caller_cseq: int = 0
    callee_cseq: int = 0
    awaiting_ack: bool = False
    "A 2xx to an INVITE passed and its ACK has not come by."
    offered_by_callee: bool = False
    "The callee made the offer (late offer): the answer comes with PRACK or ACK."
    answered_at: UnixTime | None = None

    def side(self, *, of_caller: bool) -> Side:
        """The caller's side, or the callee's."""
        return self.group.caller if of_caller else self.callee

    def note_cseq(self, number: int, *, by_caller: bool) -> None:
        """Remember the highest CSeq number sent by one side."""
        if by_caller:
            self.caller_cseq = max(self.caller_cseq, number)
        else:
            self.callee_cseq = max(self.callee_cseq, number)


@dataclass(slots=True)
class DialogSet:
    """Everything that one dialog-forming request opened."""

    id: int
    "A number for people and for storage, unique in this node's life."
    call_id: str
    method: str
    caller_tag: str
    caller: Side
    from_value: str
    "The From value (without tag) as the caller sent it."
    to_value: str
    "The To value (without tag) as the caller sent it."
    created: Monotonic
    created_at: UnixTime
    media: CallMedia | None = None
    dialogs: dict[str, Dialog] = field(default_factory=dict)
    by_branch: dict[int, tuple[Side, str]] = field(default_factory=dict)
    "Where each branch went and which From it was shown, for To-tags still to come."
    progress: str = "trying"
    "trying, ringing or up: for people."
    ended: bool = False
    abort: Callable[[], None] | None = None
    "Ends the dialog-forming request while it is unanswered."
    peer: NodeId | None = None
    "The other node of a call between nodes, for people."
    expires: Monotonic | None = None
    "SUBSCRIBE and REFER: when the dialog is forgotten without a terminating NOTIFY."

    @property
    def confirmed(self) -> Dialog | None:
        """The first confirmed dialog, if one is."""
        for dialog in self.dialogs.values():
            if dialog.state is not DialogState.EARLY:
                return dialog
        return None


@dataclass(frozen=True, slots=True)
class Match:
    """A dialog found for a request, and which of its sides sent it."""

    dialog: Dialog
    from_caller: bool

    @property
    def sender(self) -> Side:
        """The side that the request came from."""
        return self.dialog.side(of_caller=self.from_caller)

    @property
    def receiver(self) -> Side:
        """The side that the request goes to."""
        return self.dialog.side(of_caller=not self.from_caller)


class DialogTable:
    """Every dialog set of the node, by Call-ID and caller's tag."""

    def __init__(self) -> None:
        self._sets: dict[tuple[str, str], DialogSet] = {}
        self._next_id = 1

    def __len__(self) -> int:
        return len(self._sets)

    def __iter__(self) -> Iterator[DialogSet]:
        return iter(list(self._sets.values()))

    def new_id(self) -> int:
        """A fresh `DialogSet.id`."""
        self._next_id += 1
        return self._next_id - 1

    def add(self, group: DialogSet) -> None:
        """Keep a set; a later one with the same Call-ID and tag takes its place."""
        self._sets[(group.call_id, group.caller_tag)] = group

    def remove(self, group: DialogSet) -> None:
        """Forget a set and all its dialogs."""
        key = (group.call_id, group.caller_tag)
        if self._sets.get(key) is group:
            del self._sets[key]

    def get(self, call_id: str, caller_tag: str) -> DialogSet | None:
        """The set that this caller's dialog-forming request opened."""
        return self._sets.get((call_id, caller_tag))

    def find(self, call_id: str, from_tag: str, to_tag: str) -> Match | None:
        """The dialog of an in-dialog request with these tags.

        A callee's request may overtake the response that carries its tag (RFC 6665 4.1.4 for
        NOTIFY); then the set has exactly one branch it can have come from, and the dialog is
        made here.
        """
        group = self._sets.get((call_id, from_tag))
        if group is not None and (dialog := group.dialogs.get(to_tag)) is not None:
            return Match(dialog, from_caller=True)
        group = self._sets.get((call_id, to_tag))
        if group is None:
            return None
        if (dialog := group.dialogs.get(from_tag)) is not None:
            return Match(dialog, from_caller=False)
        if group.method != "INVITE" and len(group.by_branch) == 1 and from_tag:
            return Match(self.open(group, from_tag, next(iter(group.by_branch))), from_caller=False)
        return None

    def open(self, group: DialogSet, callee_tag: str, branch: int) -> Dialog:
        """The dialog of this To-tag, made when it is new."""
        dialog = group.dialogs.get(callee_tag)
        if dialog is None:
            side, shown = group.by_branch[branch]
            dialog = group.dialogs[callee_tag] = Dialog(
                group, callee_tag, _own_copy(side), shown, branch
            )
        return dialog


def _own_copy(side: Side) -> Side:
    """Two To-tags of one branch have targets of their own."""
    match side:
        case PhoneSide(flow, login, server, contact, routes):
            return PhoneSide(flow, login, server, contact, list(routes))
        case NodeSide(node, hints, contact, routes):
            return NodeSide(node, hints, contact, list(routes))
        case ServiceSide(name, contact, routes):
            return ServiceSide(name, contact, list(routes))
