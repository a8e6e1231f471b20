"""Session timers (RFC 4028), seen in passing: a call whose refresh stays out has lost an end.

The edge takes no part in the negotiation: what the two phones agree on passes through it. It reads
`Session-Expires` in each 2xx to an INVITE or UPDATE, and where no further one came when the time is
over, the call is ended on both sides. Without that an end that crashed would hold what the call
has been given for as long as the other one plays along.
"""

from federation.model.clocks import Monotonic
from node.edge.dialog import Dialog
from node.sip.message import Response

LEAST_INTERVAL = 90.0
"Seconds: a lower interval counts as this one, which is the RFC's least (RFC 4028 4)."
MOST_DIGITS = 9
GRACE = 5.0
"Seconds after its end for which a session is given yet: a refresh may be on its way."
REFRESHING = frozenset({"INVITE", "UPDATE"})


def note_refresh(dialog: Dialog, method: str, response: Response, now: Monotonic) -> None:
    """A 2xx passed: the session begins anew, for as long as it says (RFC 4028 8.2).

    Without `Session-Expires`, or with one that cannot be read, it has no end.
    """
    if method not in REFRESHING:
        return
    if not response.has("session-expires"):
        dialog.session_ends = None
        return
    text = (response.get("Session-Expires") or "").partition(";")[0].strip()
    if not (text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS):
        dialog.session_ends = None
        return
    dialog.session_ends = Monotonic(now + max(float(text), LEAST_INTERVAL) + GRACE)
