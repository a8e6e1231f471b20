"""Rings a PBX behind a trunk, and sends its calls on where its account's forwarding says.

A PBX's own 3xx are followed like a device's. Forwarding when busy acts where the PBX says 486 or
600, or the trunk has as many calls as it may; without answer where it cannot be reached, or nobody
there took the call in time. What rings in what order behind the PBX is the PBX's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from federation.model.errors import PeerError
from media_relay.errors import RelayError
from node.edge.branches import Branch, BranchOwner
from node.edge.context import RequestContext
from node.edge.redirect import Place, Trail, status_of
from node.edge.ringing import Diversion, Hunt, Ringing, Step
from node.routing import LocalTarget
from node.sip.errors import SipParseError
from node.storage.features import RING_SECONDS


@dataclass(frozen=True, slots=True)
class PbxRinging:
    """Starts what rings a PBX."""

    ringing: Ringing

    def __post_init__(self) -> None:
        self.ringing.redirects.ring_pbx = self.ring

    def ring(
        self, context: RequestContext, target: LocalTarget, place: Place, trail: Trail
    ) -> None:
        """Ring the PBX of `target`, the last account of `place`."""
        ringing, features = self.ringing, None
        if context.request.method == "INVITE":
            features = ringing.features.get(target.account.login)
        attempt = _Attempt(ringing, context, target, place, trail)
        if features is None or (features.busy is None and features.no_answer is None):
            context.start(attempt.branches(context))
            return
        divert = _Leaving(ringing, context, place, trail)
        steps: list[Step] = [[]]
        hunt = Hunt(ringing, context, divert, features, False, steps, RING_SECONDS)
        hunt.make = lambda step, owner: attempt.branches(owner, hunt)
        hunt.begin()


@dataclass(slots=True)
class _Leaving(Diversion):
    """Sends a call on that counts no longer as one over the trunk."""

    def to(self, target: str, reason: str) -> None:
        """Send it on to what a person set."""
        trunks = self.ringing.redirects.trunks
        trunk = trunks.book.get(self.place.accounts[-1].login)
        if trunk is not None:
            trunks.left(trunk, self.context)
        Diversion.to(self, target, reason)


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One call to a PBX."""

    ringing: Ringing
    context: RequestContext
    target: LocalTarget
    place: Place
    trail: Trail

    def branches(self, owner: BranchOwner, hunt: Hunt | None = None) -> Sequence[Branch]:
        """Branches that report to `owner`; where there can be none, one that says why."""
        ringing, context, place = self.ringing, self.context, self.place

        def instead(branch: int, other: Branch) -> None:
            self.trail.places[other.id] = place
            if hunt is not None:
                hunt.replace(branch, other)

        try:
            made = ringing.redirects.trunks.to_pbx(
                context,
                self.target,
                self.trail.caller,
                place.diversion(ringing.hub.node.key_name) or None,
                owner=owner,
                instead=instead,
            )
        except SipParseError as refusal:
            return [self._none(refusal.status, refusal.reason, owner)]
        except (PeerError, RelayError) as error:
            return [self._none(status_of(error), str(error), owner)]
        for branch in made:
            self.trail.places[branch.id] = place
        return made

    def _none(self, status: int, text: str, owner: BranchOwner) -> Branch:
        return self.ringing.redirects.nowhere(self.context, text, status, owner)
