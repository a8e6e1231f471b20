"""Who is at each end of a call, as counts name peers."""

from dataclasses import dataclass

from node.edge.dialog import DialogSet, NodeSide, PhoneSide, ServiceSide, Side
from node.tracing.counts import OTHERS, Peer
from node.trunks.book import TrunkBook
from node.trunks.trunk import PROVIDER_SIDE


@dataclass(frozen=True, slots=True)
class PeerNames:
    """Tells peers by the sides of dialogs; `book` says which logins are trunks."""

    book: TrunkBook

    def ends_of(self, group: DialogSet) -> tuple[Peer | None, Peer | None]:
        """The caller's peer and that of who answered; `None` for a service of this node."""
        dialog = group.confirmed
        return self._of(group.caller), None if dialog is None else self._of(dialog.callee)

    def _of(self, side: Side) -> Peer | None:
        match side:
            case NodeSide(node=node):
                return Peer("node", node.text)
            case PhoneSide(login=login):
                name = login.removeprefix(PROVIDER_SIDE)
                return OTHERS if self.book.get(name) is None else Peer("trunk", name)
            case ServiceSide():
                return None
