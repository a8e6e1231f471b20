"""Whatever order responses come in, a fork keeps its promises to the caller."""

from hypothesis import given, settings
from hypothesis import strategies as st

from federation.model.clocks import Monotonic
from node.sip.forking import CancelBranch, Decision, ForkingContext, Forward
from tests.support.sip_exchange import request, response

NAMES = ("a", "b", "c", "d")
steps = st.lists(
    st.tuples(
        st.sampled_from(NAMES),
        st.sampled_from([100, 180, 183, 200, 202, 302, 401, 407, 404, 408, 480, 486, 487, 500, 503,
                         600, 603])
        | st.sampled_from(["timeout", "failure", "cancel", "drop", "timer"]),
    ),
    max_size=30,
)  # fmt: skip


@settings(deadline=None, max_examples=400)
@given(st.integers(1, 4), steps, st.sampled_from(["INVITE", "OPTIONS"]))
def test_one_refusal_at_most_every_2xx_and_no_branch_forgotten(
    count: int, walk: list[tuple[str, int | str]], method: str
) -> None:
    asked = request(method)
    context: ForkingContext[str] = ForkingContext(asked, to_tag="ours", timer_c=10)
    for name in NAMES[:count]:
        context.add_branch(name, now=Monotonic(0.0))
    alive, dropped, finished = set(NAMES[:count]), set[str](), set[str]()
    refusals, successes, cancels = 0, 0, list[str]()
    time = Monotonic(0.0)
    ending: list[tuple[str, int | str]] = [(name, "timeout") for name in NAMES]
    for name, what in [*walk, *ending]:
        time = Monotonic(time + 1)
        decisions: list[Decision[str]] = []
        match what:
            case int(status):
                message = response(asked, status, tag=name)
                decisions = context.response(name, message, now=time)
                if status >= 200 and name in alive:
                    finished.add(name)
                if 200 <= status < 300 and name in alive and method == "INVITE":
                    assert Forward(message, name) in decisions, "a 2xx always passes"
            case "timeout":
                decisions = context.branch_timed_out(name)
                finished.add(name)
            case "failure":
                decisions = context.branch_failed(name)
                finished.add(name)
            case "cancel":
                decisions = context.cancel()
            case "drop":
                decisions = context.drop_branch(name)
                alive.discard(name)
                dropped.add(name)
            case "timer":
                decisions = context.handle_timer(now=time)
        for decision in decisions:
            match decision:
                case Forward(message, _) if message.status >= 300:
                    assert refusals == 0
                    assert successes == 0
                    assert set(context.pending) == set()
                    assert message.status != 503
                    refusals += 1
                case Forward(message, _) if message.status >= 200:
                    successes += 1
                case Forward(message, _):
                    assert message.status > 100
                    assert refusals + successes == 0
                    assert method == "INVITE"
                case CancelBranch(branch):
                    assert method == "INVITE"
                    assert branch in alive
                    cancels.append(branch)
    assert len(cancels) == len(set(cancels)), "each branch is cancelled once"
    assert refusals + min(successes, 1) >= 1, "the caller is always answered"
    assert context.pending == ()
    if method == "OPTIONS":
        assert refusals + successes == 1
