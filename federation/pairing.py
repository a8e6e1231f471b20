"""Which of two links of one pair of nodes is kept."""

from federation.link import Link
from federation.model.clocks import Monotonic
from federation.model.identity import NodeId

SIMULTANEOUS_WINDOW = 2.0
"Seconds within which two links of one pair count as opened at the same time."


def prefers(existing: Link | None, new: Link, *, own: NodeId, now: Monotonic) -> bool:
    """Whether the existing link is kept and the new one closed.

    Of two opened at the same time both nodes keep the one dialled by the lower key. Otherwise the
    newer link stands: its dialler had a reason, such as that it restarted or hears nothing.
    """
    if existing is None or existing.is_dialler == new.is_dialler or new.peer is None:
        return False
    is_recent = existing.up_at is not None and now - existing.up_at < SIMULTANEOUS_WINDOW
    is_lowers = existing.is_dialler == (bytes(own) < bytes(new.peer))
    return existing.is_up and is_recent and is_lowers
