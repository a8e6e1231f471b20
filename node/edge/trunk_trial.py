"""The servers that one call over a trunk may go to, tried one after another.

The next one is asked where a server does not answer or says 503, and the next provider of the dial
plan where any 5xx shows that this one cannot carry the call.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from federation.messages import Leg
from federation.model.errors import PeerError
from media_relay.errors import RelayError
from node.accounts.account import Account
from node.edge.branches import BranchOwner
from node.edge.context import RequestContext
from node.edge.hub import Hub
from node.edge.identity import Caller
from node.edge.trunk_branch import TrunkBranch
from node.edge.trunk_lines import Lines
from node.sip.locate import Hop
from node.sip.message import Response
from node.trunks.trunk import Trunk

PATIENCE = 4.0
"Seconds in which a server must say anything before the next one is asked."


class TrialHost(Protocol):
    """Makes the branches, and counts (`node.edge.trunk_calls.TrunkCalls`)."""

    hub: Hub
    lines: Lines

    def branch_to(self, step: "Step", trial: "Trial") -> TrunkBranch:
        """A branch to one server."""

    def is_full(self, trunk: Trunk, *, emergency: bool = False) -> bool:
        """Whether a trunk may carry no further call."""

    def counted(self, trunk: Trunk, context: RequestContext) -> None:
        """A call goes over a trunk from now on."""

    def left(self, trunk: Trunk, context: RequestContext) -> None:
        """It goes another way after all."""


@dataclass(frozen=True, slots=True)
class Step:
    """One server that may be asked, and what for."""

    trunk: Trunk
    uri: str
    hop: Hop


@dataclass(slots=True)
class Trial:
    """The servers of one call, tried in order; reads what they answer before the call does."""

    calls: TrialHost
    context: RequestContext
    account: Account | None
    "Whose call it is; `None`: another node's, by what this one offers."
    caller: Caller
    diversion: str | None
    emergency: bool
    steps: list[Step]
    owner: BranchOwner
    "Hears what comes of the call in the end, as a rule its context."
    instead: Callable[[int, TrunkBranch], None] = lambda branch, other: None
    "Told which branch takes the place of one that was given up."
    current: dict[int, Step] = field(default_factory=dict)
    "The steps under way, by branch."
    given_up: set[int] = field(default_factory=set)

    def next_branch(self) -> TrunkBranch | None:
        """A branch to the next server that may be asked; `None` if there is none left."""
        while self.steps:
            step = self.steps.pop(0)
            is_on_it = any(known.trunk.name == step.trunk.name for known in self.current.values())
            if not is_on_it and self.calls.is_full(step.trunk, emergency=self.emergency):
                continue
            branch = self.calls.branch_to(step, self)
            self.current[branch.id] = step
            if not is_on_it:  # one call, however many servers are asked
                self.calls.counted(step.trunk, self.context)
            if self.steps and self.context.request.method == "INVITE":
                self.calls.hub.later(PATIENCE, partial(self._silent, branch))
            return branch
        return None

    def on_response(
        self, branch: int, response: Response, legs: Sequence[Leg], peer_ip: str
    ) -> None:
        """A server says something."""
        step = self.current.get(branch)
        if branch in self.given_up:
            if 200 <= response.status < 300 and response.cseq.method == "INVITE":
                self.context.end_late(branch, response)
            return
        if step is None:
            return
        if 500 <= response.status < 600:
            if response.status == 503:
                self.calls.lines.failed(step.trunk.name, step.hop, "overloaded (503)")
            if self._go_on(branch, step, same_trunk=response.status == 503):
                return
        elif response.status in (401, 407):
            self.calls.lines.failed(step.trunk.name, step.hop, "the login or password is refused")
            self.on_failure(branch, 403, "the provider refuses our login or password")
            return
        self.owner.on_response(branch, response, legs, peer_ip)

    def on_failure(self, branch: int, status: int, reason: str) -> None:
        """A server could not be reached, or said nothing until the end."""
        step = self.current.get(branch)
        if step is None or branch in self.given_up:
            return
        if status in (403, 408, 480):
            what = f"{step.hop.remote} does not answer" if status == 408 else reason
            if status != 403:
                self.calls.lines.failed(step.trunk.name, step.hop, what)
            if self._go_on(branch, step, same_trunk=status != 403):
                return
            self.owner.on_failure(branch, 480, f"trunk {step.trunk.name}: {what}")
            return
        self.owner.on_failure(branch, status, reason)

    def _silent(self, branch: TrunkBranch) -> None:
        """Nothing was heard of a server in time: ask the next one."""
        step = self.current.get(branch.id)
        if step is None or self.context.done or not self.steps or branch.id in self.given_up:
            return
        if branch.heard:
            return
        self.calls.lines.failed(step.trunk.name, step.hop, f"{step.hop.remote} does not answer")
        if self._go_on(branch.id, step, same_trunk=True):
            branch.cancel()

    def _go_on(self, branch: int, step: Step, *, same_trunk: bool) -> bool:
        """Ask the next server in place of this one; whether there was one."""
        if not same_trunk:
            self.steps = [s for s in self.steps if s.trunk.name != step.trunk.name]
        if not self.context.forking.takes_branches:
            return False
        try:
            other = self.next_branch()
        except (PeerError, RelayError):
            other = None
        if other is None:
            return False
        if self.current[other.id].trunk.name != step.trunk.name:
            self.calls.left(step.trunk, self.context)
        self.given_up.add(branch)
        group = self.context.group
        if group is not None and group.media is not None:
            group.media.drop_branch(branch)
        self.instead(branch, other)
        self.context.start([other])
        self.context.drop(branch)
        return True
