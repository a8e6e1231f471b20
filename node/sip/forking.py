"""One request forked to several branches: which responses go back (RFC 3261 section 16.7).

A `ForkingContext` belongs to one server transaction. It is told what each branch (one client
transaction, or one link to another node) answers, and decides what is forwarded and what is
cancelled. At most one final response other than a 2xx goes back, chosen when every branch has
ended; each 2xx to an INVITE goes back at once. Responses handed in have had our own Via removed;
those handed out are for the server transaction as they are.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from federation.model.clocks import Monotonic
from federation.model.errors import UsageError
from node.sip.message import Request, Response
from node.sip.timers import TIMER_C

MAX_BRANCHES = 32
"Branches of one request; each costs a client transaction (RFC 5393 bounds the whole tree)."

_CHALLENGES = ("WWW-Authenticate", "Proxy-Authenticate")
_PREFERRED = (401, 407, 415, 420, 484)
"Among 4xx these tell the caller how to do better (RFC 3261 section 16.7 step 6)."
_SAYS_LITTLE = (404, 480, 481, 408, 487)
"Among 4xx these go back only if no branch knew better, the first of them rather than the last."

B = TypeVar("B", bound=Hashable)


class Forward(NamedTuple, Generic[B]):
    """Answer the request with this response."""

    response: Response
    branch: B | None
    "Where it came from; `None` if it was made here."


class CancelBranch(NamedTuple, Generic[B]):
    """Cancel this branch; its final response is still awaited."""

    branch: B


Decision = Forward[B] | CancelBranch[B]


@dataclass(slots=True)
class _Branch:
    timer_c: Monotonic | None
    provisional: bool = False
    "Whether it has answered at all, with 100 if nothing else."
    cancelled: bool = False
    final: Response | None = None
    over: bool = False
    "Whether nothing but a 2xx can follow."


class ForkingContext(Generic[B]):
    """The response context of one request.

    The final answer is given when every branch is over, so add the branches known from the start
    before any of them answers; while more may come (a lookup is under way, branches are tried
    one after another), keep it open with `hold` and `release`.
    """

    def __init__(self, request: Request, *, to_tag: str, timer_c: float = TIMER_C) -> None:
        self._request = request
        self._to_tag = to_tag
        self._timer_c = timer_c
        self._is_invite = request.method == "INVITE"
        self._branches: dict[B, _Branch] = {}
        self._holds = 0
        self._cancelled = False
        self._declined = False
        self._answered: int | None = None

    @property
    def answered(self) -> int | None:
        """Status of the first final response forwarded; `None` before."""
        return self._answered

    @property
    def pending(self) -> tuple[B, ...]:
        """Branches that are not over."""
        return tuple(name for name, branch in self._branches.items() if not branch.over)

    @property
    def takes_branches(self) -> bool:
        """Whether a further branch makes sense: unanswered, not cancelled, no 6xx, not too many."""
        return (
            self._answered is None
            and not self._cancelled
            and not self._declined
            and len(self._branches) < MAX_BRANCHES
        )

    # Branches

    def add_branch(self, name: B, *, now: Monotonic) -> None:
        """Count on an answer from this branch.

        Raises:
            UsageError: there is one of that name, or no further branch may be made
                (see `takes_branches`).
        """
        if name in self._branches or not self.takes_branches:
            raise UsageError(f"no branch {name!r} can be added here")
        timer_c = Monotonic(now + self._timer_c) if self._is_invite else None
        self._branches[name] = _Branch(timer_c)

    def hold(self) -> None:
        """More branches may come: give no final answer but a 2xx before as many `release`."""
        self._holds += 1

    def release(self) -> list[Decision[B]]:
        """One reason for `hold` is gone."""
        if self._holds == 0:
            raise UsageError("released more often than held")
        self._holds -= 1
        return self._conclude()

    def drop_branch(self, name: B) -> list[Decision[B]]:
        """Forget a branch whose answer does not count, a 3xx that is followed for instance."""
        self._branches.pop(name, None)
        return self._conclude()

    # What branches answer

    def response(self, name: B, response: Response, *, now: Monotonic) -> list[Decision[B]]:
        """Take a response of a branch."""
        branch = self._branches.get(name)
        if branch is None:
            return []
        if response.status < 200:
            return self._provisional(name, branch, response, now)
        if response.status < 300:
            return self._success(name, branch, response)
        if branch.over:
            return []
        branch.over, branch.timer_c, branch.final = True, None, response
        decisions: list[Decision[B]] = []
        if response.status >= 600:
            self._declined = True
            decisions += self._cancel_pending()
        return decisions + self._conclude()

    def branch_timed_out(self, name: B) -> list[Decision[B]]:
        """A branch gave no final response in time (RFC 3261 section 16.9 by way of 17): 408."""
        return self.branch_failed(name, 408)

    def branch_failed(
        self, name: B, status: int = 480, *, reason: str | None = None, text: str | None = None
    ) -> list[Decision[B]]:
        """A branch cannot be reached or ended without an answer; count this in its place.

        `text` says why, in a Reason header field (RFC 3326).
        """
        branch = self._branches.get(name)
        if branch is None or branch.over:
            return []
        branch.over, branch.timer_c = True, None
        branch.final = self._made(status, reason=reason, text=text)
        return self._conclude()

    # What the caller and time bring

    def cancel(self) -> list[Decision[B]]:
        """The caller cancelled (RFC 3261 section 16.10); the answer will be 487 or a 2xx."""
        if self._answered is not None or not self._is_invite:
            return []
        self._cancelled = True
        return self._cancel_pending() + self._conclude()

    def next_timer(self) -> Monotonic | None:
        """When Timer C of a branch fires next; `None` while none runs."""
        return min(
            (b.timer_c for b in self._branches.values() if b.timer_c is not None), default=None
        )

    def handle_timer(self, *, now: Monotonic) -> list[Decision[B]]:
        """End branches that rang too long without news (RFC 3261 section 16.8)."""
        decisions: list[Decision[B]] = []
        for name, branch in tuple(self._branches.items()):
            if branch.timer_c is None or branch.timer_c > now:
                continue
            branch.timer_c = None
            if branch.provisional:
                if not branch.cancelled:
                    branch.cancelled = True
                    decisions.append(CancelBranch(name))
            else:
                decisions += self.branch_timed_out(name)
        return decisions

    # Inside

    def _provisional(
        self, name: B, branch: _Branch, response: Response, now: Monotonic
    ) -> list[Decision[B]]:
        if branch.over:
            return []
        branch.provisional = True
        if response.status == 100:
            return []
        if branch.timer_c is not None:
            branch.timer_c = Monotonic(now + self._timer_c)
        if self._answered is not None or not self._is_invite:
            return []
        return [Forward(response, name)]

    def _success(self, name: B, branch: _Branch, response: Response) -> list[Decision[B]]:
        branch.over, branch.timer_c, branch.final = True, None, response
        if self._answered is not None and not self._is_invite:
            return []
        if self._answered is None:
            self._answered = response.status
        decisions: list[Decision[B]] = [Forward(response, name)]
        return decisions + (self._cancel_pending() if self._is_invite else [])

    def _cancel_pending(self) -> list[Decision[B]]:
        if not self._is_invite:
            return []
        decisions: list[Decision[B]] = []
        for name, branch in self._branches.items():
            if not branch.over and not branch.cancelled:
                branch.cancelled = True
                decisions.append(CancelBranch(name))
        return decisions

    def _conclude(self) -> list[Decision[B]]:
        """Give the final answer if it is time for it (step 6)."""
        held = self._holds > 0 and not self._cancelled and not self._declined
        if self._answered is not None or held:
            return []
        if any(not branch.over for branch in self._branches.values()):
            return []
        name, best = self._best()
        if self._cancelled and best.status != 487:
            name, best = self._cancelled_answer()
        elif best.status in (401, 407):
            best = self._with_all_challenges(best)
        elif best.status == 503:
            best = self._softened(best)
        self._answered = best.status
        return [Forward(best, name)]

    def _best(self) -> tuple[B | None, Response]:
        """The response that helps the caller most (RFC 3261 section 16.7 step 6)."""
        finals = [(n, b.final) for n, b in self._branches.items() if b.final is not None]
        if not finals:
            return None, self._made(487 if self._cancelled else 480)
        return min(finals, key=lambda item: _rank(item[1].status))

    def _cancelled_answer(self) -> tuple[B | None, Response]:
        for name, branch in self._branches.items():
            if branch.final is not None and branch.final.status == 487:
                return name, branch.final
        return None, self._made(487)

    def _with_all_challenges(self, best: Response) -> Response:
        """Every challenge of every branch, so that one retry can answer them all (step 7)."""
        merged = best.copy()
        for header in _CHALLENGES:
            merged.remove(header)
        for branch in self._branches.values():
            if branch.final is not None and branch.final.status in (401, 407):
                for header in _CHALLENGES:
                    for challenge in branch.final.get_all(header):
                        merged.append(header, challenge)
        return merged

    def _softened(self, best: Response) -> Response:
        """480 for a 503 from elsewhere, at which a phone would leave its server."""
        text = "the called side is overloaded or unreachable"
        later = best.get("Retry-After")
        headers = [] if later is None else [("Retry-After", later)]
        return self._made(480, text=text, cause=503, headers=headers)

    def _made(
        self,
        status: int,
        *,
        reason: str | None = None,
        text: str | None = None,
        cause: int | None = None,
        headers: list[tuple[str, str]] | None = None,
    ) -> Response:
        lines = list(headers or ())
        if text is not None:
            quoted = text.replace("\\", "\\\\").replace('"', '\\"')
            lines.append(("Reason", f'SIP;cause={cause or status};text="{quoted}"'))
        return Response.answering(self._request, status, reason, to_tag=self._to_tag, headers=lines)


def _rank(status: int) -> tuple[int, int]:
    """Lower is better; `min` keeps the first of equals."""
    if status >= 600:
        return (0, 0)
    if status == 503:
        return (status // 100, 1)  # avoided within its class
    if status // 100 == 4:
        if status in _PREFERRED:
            return (4, -2)
        if status in _SAYS_LITTLE:
            return (4, _SAYS_LITTLE.index(status))
        return (4, -1)
    return (status // 100, 0)
