"""Dialogs as a proxy in their middle sees them (RFC 3261 section 12).

One dialog-forming request (INVITE, SUBSCRIBE or REFER) opens a `DialogSet`; each To-tag that
answers it is one `Dialog` in the set. A dialog has two sides: a phone that sends over a flow, or
another node that is reached over its link. The caller sent the dialog-forming request, the
callee answered it.
"""

import enum
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from federation.model.address import AddressError, Endpoint, network_group, parse_ip
from federation.model.clocks import Monotonic, UnixTime
from federation.model.identity import NodeId
from node.edge.alarms import Alarm
from node.edge.media import CallMedia
from node.sip.digest_client import DigestClient
from node.sip.flow import Flow
from node.sip.locate import Hop, Target

DIALOG_METHODS = frozenset({"INVITE", "SUBSCRIBE", "REFER"})
MAX_SETS = 65_536
"Dialog sets of this node at a time; further requests that would open one are refused."
MAX_SETS_OF_NODE = 8_192
"The same for those that one other node opened."
MAX_SETS_OF_STRANGERS = 1_024
"The same for those that plain SIP from elsewhere opened, all networks together."
MAX_SETS_OF_NETWORK = 32
"The same for plain SIP from one network: a /24, in IPv6 a /48."
LONG_AGO = Monotonic(0.0)
MAX_DIALOGS = 32
"To-tags one request may be answered with; further ones are not passed on."


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
class PlainSide(PhoneSide):
    """A party of another SIP network, which proved nothing; `login` is empty."""

    hosts: set[str] = field(default_factory=set)
    "IP addresses that its requests may come from."
    network: bytes = b""
    "The network it is counted with, where it opened the dialog."
    named: dict[Target, Hop | None] = field(default_factory=dict)
    "The server that each name in its targets led to; `None`: the one it has, or nowhere."

    @classmethod
    def from_flow(cls, flow: Flow, server: str) -> "PlainSide":
        """The sender of a request outside dialogs."""
        host = flow.remote.host
        return cls(flow, "", server, hosts={host}, network=network_of(host))


@dataclass(slots=True)
class TrunkSide(PhoneSide):
    """A server of a trunk: a provider's, or a PBX that does not register."""

    credentials: DigestClient | None = None
    "How a provider's challenges are answered."
    hosts: frozenset[str] = frozenset()
    "IP addresses that its requests may come from."
    cseq_shift: int = 0
    "What is added to the CSeq of requests to it: answers to its challenges took some numbers."
    invite_credentials: tuple[tuple[str, str], ...] = ()
    "The credentials of the last INVITE to it: the ACK to its 2xx has the same (13.2.2.4)."


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
    ack_due: bool | None = None
    "Whose ACK to a 2xx has not come by: the caller's (`True`) or the callee's (`False`)."
    ack_alarm: Alarm | None = None
    "Rings when that ACK is overdue."
    ack_cseq: int = 0
    "CSeq of the INVITE whose 2xx came last: its ACK has the same."
    offer_in_response: bool = False
    "The open offer came in a response (late offer): its answer comes with PRACK or ACK."
    answered_at: UnixTime | None = None
    heard: Monotonic = LONG_AGO
    "When it was answered, or the last request inside it passed."
    session_ends: Monotonic | None = None
    "When the phones' own session timer is over; `None` where they agreed on none."

    def side(self, *, of_caller: bool) -> Side:
        """The caller's side, or the callee's."""
        return self.group.caller if of_caller else self.callee

    def note_cseq(self, number: int, *, by_caller: bool) -> None:
        """Remember the highest CSeq number sent by one side."""
        if by_caller:
            self.caller_cseq = max(self.caller_cseq, number)
        else:
            self.callee_cseq = max(self.callee_cseq, number)


@dataclass(slots=True, eq=False)
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
    ends_with_ack: str = ""
    "Why it ends as soon as the 2xx that is under way was acknowledged."
    pending: bool = False
    "The dialog-forming request has no final answer yet."
    abort: Callable[[], None] | None = None
    "Ends the dialog-forming request while it is unanswered."
    peer: NodeId | None = None
    "The other node of a call between nodes, for people."
    called: str | None = None
    "The account here that the call was for."
    forwarder: str | None = None
    "The account here that the call was for and that sent it on."
    expires: Monotonic | None = None
    "SUBSCRIBE and REFER: when the dialog is forgotten without a terminating NOTIFY."

    @property
    def confirmed(self) -> Dialog | None:
        """The first dialog that was confirmed, even if it is ending."""
        for dialog in self.dialogs.values():
            if dialog.answered_at is not None:
                return dialog
        return None

    def let_go(self) -> None:
        """The set is over: what its dialogs may still be asked leads back to none of them.

        A late answer still finds its dialog here, and all of it goes without the collector, for
        which tens of thousands of calls are a long pause.
        """
        husk = replace(self, dialogs={}, by_branch={})
        for dialog in self.dialogs.values():
            dialog.group = husk

    def without_call(self, new_id: int, dialog: "Dialog") -> "DialogSet":
        """The subscriptions that go on in `dialog` when the call in it is over."""
        group = replace(
            self, id=new_id, method="SUBSCRIBE", media=None, dialogs={}, ended=False, abort=None
        )
        group.dialogs[dialog.callee_tag] = replace(
            dialog, group=group, state=DialogState.CONFIRMED, ack_due=None, ack_alarm=None
        )
        return group

    @property
    def takes_dialogs(self) -> bool:
        """Whether a further To-tag may make a dialog."""
        return len(self.dialogs) < MAX_DIALOGS

    @property
    def is_over(self) -> bool:
        """Whether nothing of it can go on: answered, and no dialog is up."""
        if self.pending:
            return False
        for dialog in self.dialogs.values():  # noqa: SIM110 - asked for several times a call
            if dialog.state is DialogState.CONFIRMED:
                return False
        return True


@dataclass(slots=True, init=False)
class Match:
    """A dialog found for a request, and which of its sides sent it."""

    dialog: Dialog
    from_caller: bool

    def __init__(self, dialog: Dialog, from_caller: bool) -> None:
        self.dialog = dialog
        self.from_caller = from_caller

    @property
    def sender(self) -> Side:
        """The side that the request came from."""
        return self.dialog.side(of_caller=self.from_caller)

    @property
    def receiver(self) -> Side:
        """The side that the request goes to."""
        return self.dialog.side(of_caller=not self.from_caller)


class DialogTable:
    """Every dialog set of the node, by Call-ID and caller's tag.

    A request that comes round to this node again (a spiral, RFC 3261 16.3) opens a second set with
    the same Call-ID and tag; which of them a later request is for, its sender tells.
    """

    def __init__(self) -> None:
        self._sets: dict[tuple[str, str], list[DialogSet]] = {}
        self._count = 0
        self._of_node: Counter[bytes] = Counter()
        "Sets opened by each node (its key), each network of strangers, and all strangers."
        self._next_id = 1

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[DialogSet]:
        return iter([group for groups in self._sets.values() for group in groups])

    def new_id(self) -> int:
        """A fresh `DialogSet.id`."""
        self._next_id += 1
        return self._next_id - 1

    def add(self, group: DialogSet) -> None:
        """Keep a set until it is removed."""
        self._sets.setdefault((group.call_id, group.caller_tag), []).append(group)
        self._count += 1
        for opener, _ in _openers(group.caller):
            self._of_node[opener] += 1

    def has_room_for(self, sender: Side) -> bool:
        """Whether one more set of this sender is within the bounds."""
        for opener, bound in _openers(sender):
            if self._of_node[opener] >= bound:
                return False
        return self._count < MAX_SETS

    def remove(self, group: DialogSet) -> None:
        """Forget a set and all its dialogs."""
        key = (group.call_id, group.caller_tag)
        groups = self._sets.get(key, [])
        if group not in groups:
            return
        groups.remove(group)
        if not groups:
            del self._sets[key]
        self._count -= 1
        for opener, _ in _openers(group.caller):
            self._of_node[opener] -= 1
            if not self._of_node[opener]:
                del self._of_node[opener]

    def has_from(self, call_id: str, caller_tag: str, sent_by: Callable[[Side], bool]) -> bool:
        """Whether such a sender has opened a set of this Call-ID and tag before."""
        return any(sent_by(group.caller) for group in self._sets.get((call_id, caller_tag), ()))

    def find(
        self, call_id: str, from_tag: str, to_tag: str, sent_by: Callable[[Side], bool]
    ) -> Match | None:
        """The dialog of a request with these tags; `sent_by` says which side may have sent it.

        A callee's request may overtake the response that carries its tag (RFC 6665 4.1.4 for
        NOTIFY); then the set has exactly one branch it can have come from, and the dialog is
        made here.
        """
        for group in self._sets.get((call_id, from_tag), ()):
            dialog = group.dialogs.get(to_tag)
            if dialog is not None and sent_by(group.caller):
                return Match(dialog, from_caller=True)
        for group in self._sets.get((call_id, to_tag), ()):
            dialog = group.dialogs.get(from_tag)
            if dialog is not None and sent_by(dialog.callee):
                return Match(dialog, from_caller=False)
            if dialog is None and from_tag and group.method != "INVITE":
                branches = [*group.by_branch.items()]
                if len(branches) == 1 and sent_by(branches[0][1][0]) and group.takes_dialogs:
                    return Match(self.open(group, from_tag, branches[0][0]), from_caller=False)
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


_STRANGERS = b"strangers"


def _openers(side: Side) -> tuple[tuple[bytes, int], ...]:
    """By whom the sets of a caller are counted, with the bound of each."""
    if isinstance(side, NodeSide):
        return ((side.node, MAX_SETS_OF_NODE),)
    if isinstance(side, PlainSide):
        return ((_STRANGERS, MAX_SETS_OF_STRANGERS), (side.network, MAX_SETS_OF_NETWORK))
    return ()


def network_of(host: str) -> bytes:
    """The network that an IP address is counted with."""
    try:
        return network_group(parse_ip(host))
    except AddressError:
        return host.encode()


def _own_copy(side: Side) -> Side:
    """Two To-tags of one branch have targets of their own."""
    match side:
        case PlainSide(flow, login, server, contact, routes, hosts=hosts, network=network):
            return PlainSide(flow, login, server, contact, list(routes), set(hosts), network)
        case TrunkSide(routes=routes):
            return replace(side, routes=list(routes))
        case PhoneSide(flow, login, server, contact, routes):
            return PhoneSide(flow, login, server, contact, list(routes))
        case NodeSide(node, hints, contact, routes):
            return NodeSide(node, hints, contact, list(routes))
        case ServiceSide(name, contact, routes):
            return ServiceSide(name, contact, list(routes))
