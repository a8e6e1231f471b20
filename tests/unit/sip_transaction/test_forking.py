"""Forking: what goes back to the caller (RFC 3261 section 16.7)."""

import pytest

from federation.model.clocks import Monotonic
from federation.model.errors import UsageError
from node.sip.forking import MAX_BRANCHES, CancelBranch, Decision, ForkingContext, Forward
from node.sip.message import Response
from node.sip.timers import TIMER_C
from tests.support.sip_exchange import request, response

NOW = Monotonic(0.0)
REQUEST = request()


def a_context(*branches: str, method: str = "INVITE") -> ForkingContext[str]:
    context: ForkingContext[str] = ForkingContext(request(method), to_tag="ours")
    for branch in branches:
        context.add_branch(branch, now=NOW)
    return context


def answer(
    context: ForkingContext[str], branch: str, status: int, **headers: str
) -> list[tuple[str, object]]:
    """Hand in a response; return what is decided, in short."""
    lines = [(name.replace("_", "-"), value) for name, value in headers.items()]
    message = response(REQUEST, status, tag=branch, headers=lines)
    return short(context.response(branch, message, now=NOW))


def short(decisions: list[Decision[str]]) -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for decision in decisions:
        match decision:
            case Forward(message, branch):
                found.append((f"forward {message.status}", branch))
            case CancelBranch(branch):
                found.append(("cancel", branch))
    return found


def final(decisions: list[Decision[str]]) -> Response:
    (forward,) = (d for d in decisions if isinstance(d, Forward))
    return forward.response


def test_100_stays_here_and_other_provisionals_pass() -> None:
    context = a_context("a", "b")
    assert answer(context, "a", 100) == []
    assert answer(context, "a", 180) == [("forward 180", "a")]
    assert answer(context, "b", 183) == [("forward 183", "b")]


def test_the_first_2xx_goes_back_at_once_and_ends_the_other_branches() -> None:
    context = a_context("a", "b", "c")
    assert answer(context, "c", 486) == []
    assert answer(context, "a", 200) == [("forward 200", "a"), ("cancel", "b")]
    assert context.answered == 200
    assert answer(context, "b", 180) == []
    assert answer(context, "b", 487) == []


def test_every_2xx_goes_back_even_after_another_final() -> None:
    context = a_context("a", "b")
    answer(context, "a", 200)
    assert answer(context, "b", 200) == [("forward 200", "b")]
    assert answer(context, "a", 200) == [("forward 200", "a")]
    refused = a_context("a")
    answer(refused, "a", 486)
    assert answer(refused, "a", 200) == [("forward 200", "a")]


def test_the_best_refusal_waits_for_every_branch() -> None:
    context = a_context("a", "b")
    assert answer(context, "a", 486) == []
    assert context.pending == ("b",)
    assert answer(context, "b", 500) == [("forward 486", "a")]
    assert answer(context, "b", 500) == []


@pytest.mark.parametrize(
    ("statuses", "best"),
    [
        ((486, 302), 302),
        ((500, 404), 404),
        ((486, 407), 407),
        ((486, 484), 484),
        ((404, 486), 486),
        ((408, 480), 480),
        ((487, 408), 408),
        ((481, 486), 486),
        ((503, 500), 500),
        ((486, 603), 603),
    ],
)
def test_which_refusal_is_best(statuses: tuple[int, int], best: int) -> None:
    """RFC 3261 section 16.7 step 6."""
    for first, second in (("a", "b"), ("b", "a")):
        context = a_context("a", "b")
        decided = answer(context, first, statuses[0]) + answer(context, second, statuses[1])
        assert [what for what, _ in decided if what != "cancel"] == [f"forward {best}"]


def test_6xx_cancels_the_rest_and_is_given_when_they_have_ended() -> None:
    context = a_context("a", "b")
    assert answer(context, "a", 600) == [("cancel", "b")]
    assert not context.takes_branches
    assert answer(context, "b", 487) == [("forward 600", "a")]


def test_a_2xx_that_crosses_a_6xx_wins() -> None:
    context = a_context("a", "b")
    answer(context, "a", 603)
    assert answer(context, "b", 200) == [("forward 200", "b")]


def test_challenges_of_all_branches_are_merged() -> None:
    """RFC 3261 section 16.7 step 7: one retry can answer them all."""
    context = a_context("a", "b", "c")
    answer(context, "a", 401, WWW_Authenticate='Digest realm="a"')
    answer(context, "b", 407, Proxy_Authenticate='Digest realm="b"')
    message = response(REQUEST, 401, headers=[("WWW-Authenticate", 'Digest realm="c"')])
    best = final(context.response("c", message, now=NOW))
    assert best.status == 401
    assert best.get_all("WWW-Authenticate") == ['Digest realm="a"', 'Digest realm="c"']
    assert best.get_all("Proxy-Authenticate") == ['Digest realm="b"']


def test_a_503_from_elsewhere_becomes_480() -> None:
    context = a_context("a")
    message = response(REQUEST, 503, headers=[("Retry-After", "120")])
    best = final(context.response("a", message, now=NOW))
    assert best.status == 480
    assert best.get("Retry-After") == "120"
    assert (best.get("Reason") or "").startswith("SIP;cause=503;text=")
    assert best.to.tag == "ours"
    assert [str(via) for via in best.vias] == [str(via) for via in REQUEST.vias]


def test_branches_that_fail_count_as_480_and_those_that_time_out_as_408() -> None:
    context = a_context("a", "b")
    assert context.branch_timed_out("a") == []
    decided = context.branch_failed("b", text='no "way" there')
    assert final(decided).status == 480
    assert final(decided).get("Reason") == 'SIP;cause=480;text="no \\"way\\" there"'
    alone = a_context("a")
    assert final(alone.branch_timed_out("a")).status == 408
    assert alone.branch_failed("a") == []


def test_the_callers_cancel_reaches_every_branch_once_and_is_answered_487() -> None:
    """RFC 3261 section 16.10."""
    context = a_context("a", "b", "c")
    answer(context, "a", 404)
    assert short(context.cancel()) == [("cancel", "b"), ("cancel", "c")]
    assert context.cancel() == []
    assert answer(context, "b", 487) == []
    assert answer(context, "c", 408) == [("forward 487", "b")]


def test_an_answer_that_crosses_the_cancel_wins() -> None:
    context = a_context("a")
    context.cancel()
    assert answer(context, "a", 200) == [("forward 200", "a")]
    assert context.cancel() == []


def test_a_cancelled_search_is_answered_at_once() -> None:
    """Nothing was sent yet: there is nothing to wait for."""
    context = a_context()
    context.hold()
    assert short(context.cancel()) == [("forward 487", None)]
    assert not context.takes_branches
    assert context.release() == []


def test_while_held_a_refusal_waits_and_a_2xx_does_not() -> None:
    context = a_context("a")
    context.hold()
    assert answer(context, "a", 486) == []
    context.add_branch("b", now=NOW)
    assert short(context.release()) == []
    assert answer(context, "b", 404) == [("forward 486", "a")]
    other = a_context("a")
    other.hold()
    assert answer(other, "a", 200) == [("forward 200", "a")]


def test_a_search_without_result_is_480() -> None:
    context = a_context()
    context.hold()
    assert short(context.release()) == [("forward 480", None)]
    with pytest.raises(UsageError):
        context.release()


def test_a_redirection_that_is_followed_leaves_the_context() -> None:
    context = a_context("a")
    context.hold()
    assert context.drop_branch("a") == []
    context.add_branch("target", now=NOW)
    assert context.release() == []
    assert answer(context, "a", 302) == []
    assert answer(context, "target", 200) == [("forward 200", "target")]


def test_timer_c_cancels_who_rings_too_long() -> None:
    """RFC 3261 section 16.8; 101-199 start it anew."""
    context = a_context("a")
    assert context.next_timer() == TIMER_C
    context.response("a", response(REQUEST, 180), now=Monotonic(100.0))
    assert context.next_timer() == 100 + TIMER_C
    assert context.handle_timer(now=Monotonic(TIMER_C)) == []
    assert short(context.handle_timer(now=Monotonic(100 + TIMER_C))) == [("cancel", "a")]
    assert context.next_timer() is None
    assert final(context.branch_timed_out("a")).status == 408


def test_timer_c_ends_who_never_said_anything() -> None:
    context = a_context("a")
    assert short(context.handle_timer(now=Monotonic(TIMER_C))) == [("forward 408", "a")]


def test_non_invite_has_one_final_and_nothing_to_cancel() -> None:
    context = a_context("a", "b", method="OPTIONS")
    assert context.next_timer() is None
    assert answer(context, "a", 180) == []
    assert context.cancel() == []
    assert answer(context, "a", 200) == [("forward 200", "a")]
    assert answer(context, "b", 200) == []
    declined = a_context("a", "b", method="OPTIONS")
    assert answer(declined, "a", 603) == []
    assert answer(declined, "b", 404) == [("forward 603", "a")]


def test_branches_are_bounded_and_named_once() -> None:
    context = a_context(*(f"b{n}" for n in range(MAX_BRANCHES - 1)))
    with pytest.raises(UsageError):
        context.add_branch("b0", now=NOW)
    context.add_branch("last", now=NOW)
    assert not context.takes_branches
    with pytest.raises(UsageError):
        context.add_branch("one more", now=NOW)
