"""A request on its way to a trunk's server, which may ask us who we are.

A provider challenges what we send; the answer is a new request with a higher CSeq (RFC 3261 22.2).
The phone that called knows nothing of that, so from then on the CSeq of whatever goes to that side
of the dialog is higher by `TrunkSide.cseq_shift`, and what comes back has the phone's own again.
"""

from dataclasses import dataclass
from typing import Final

from node.edge.branches import PhoneBranch
from node.edge.dialog import PhoneSide, TrunkSide
from node.sip.digest_client import is_stale
from node.sip.message import Request, Response

MAX_ANSWERS: Final = 2
"Challenges to one request that are answered: the first, and one that says the nonce was stale."


CREDENTIALS: Final = ("Authorization", "Proxy-Authorization")


def shift_cseq(request: Request, shift: int) -> None:
    """Raise the CSeq of a request, and that of the INVITE which a PRACK names (RFC 3262 7.2)."""
    if not shift:
        return
    cseq = request.cseq
    request.set("CSeq", f"{cseq.number + shift} {cseq.method}")
    if cseq.method == "PRACK":
        parts = (request.get("RAck") or "").split()
        if len(parts) == 3 and parts[1].isascii() and parts[1].isdigit():
            request.set("RAck", f"{parts[0]} {int(parts[1]) + shift} {parts[2]}")


def fit_ack(side: PhoneSide, ack: Request) -> None:
    """Give an ACK the CSeq that `side` expects, and the credentials of its INVITE."""
    if isinstance(side, TrunkSide):
        shift_cseq(ack, side.cseq_shift)
        for name in CREDENTIALS:
            ack.remove(name)  # those of the phone that went on with the INVITE are among its own
        for name, value in side.invite_credentials:
            ack.append(name, value)


@dataclass(slots=True)
class TrunkBranch(PhoneBranch):
    """A `PhoneBranch` that answers 401 and 407. Its request has the phone's own CSeq at first."""

    side: PhoneSide | None = None
    cseq: str = ""
    "As the phone sent it."
    answers: int = 0
    heard: bool = False
    "Any response came."
    was_cancelled: bool = False

    def start(self) -> None:
        """Send the request, with what the server asked for before."""
        self.cseq = self.request.get("CSeq") or ""
        side = self.side
        if isinstance(side, TrunkSide):
            shift_cseq(self.request, side.cseq_shift)
            self._add_credentials(self.request, side)
        PhoneBranch.start(self)

    def _add_credentials(self, request: Request, side: TrunkSide) -> None:
        if side.credentials is not None:
            side.credentials.prove(request, self.hub.entropy)
        if request.method == "INVITE":
            side.invite_credentials = tuple(
                (name, value) for name in CREDENTIALS for value in request.get_all(name)
            )

    def cancel(self) -> None:
        """Send CANCEL, and answer no further challenge."""
        self.was_cancelled = True
        PhoneBranch.cancel(self)

    def on_response(self, response: Response) -> None:
        """Answer a challenge; all else goes to the owner, with the phone's CSeq."""
        self.heard = True
        if response.status in (401, 407):
            if self.was_cancelled:
                self.owner.on_failure(self.id, 487, "Request Terminated")
                return
            if self._prove(response):
                return
        if response.get("CSeq") != self.cseq:
            response = response.copy()
            response.set("CSeq", self.cseq)
        PhoneBranch.on_response(self, response)

    def _prove(self, response: Response) -> bool:
        """Send the request again with credentials; `False` where that cannot help."""
        side = self.side
        if (
            not isinstance(side, TrunkSide)
            or side.credentials is None
            or self.answers >= MAX_ANSWERS
        ):
            return False
        if self.answers and not is_stale(response):
            return False
        if not side.credentials.take(response):
            return False
        self.answers += 1
        side.cseq_shift += 1
        again = self.request.copy()
        for name in CREDENTIALS:
            again.remove(name)
        shift_cseq(again, 1)
        if again.method == "PRACK":
            again.set("RAck", self.request.get("RAck") or "")  # the INVITE's number is what it was
        again.pop_first_value("Via")
        self.hub.forwarder.push_via(again, side)
        self._add_credentials(again, side)
        self.request = again
        PhoneBranch.start(self)
        return True
