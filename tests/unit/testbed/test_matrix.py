"""Rounds of calls, limits under loss, and what is said of a call."""

import dataclasses

import pytest

from federation.model.errors import RingmeshError
from node.phone.check import CallReport
from node.phone.tones import judge, tone
from testbed.check import wanted_pairs
from testbed.limits import USUAL_LOSS, limits_between, loss_between
from testbed.matrix import Outcome, Pair, all_pairs, rounds, verdict
from testbed.topology import read

HEARD = judge(tone(880, 2), 880, seconds=2)
SILENCE = judge(tone(0, 2), 880, seconds=2)
FINE = CallReport(
    target="0234", status=200, reason="OK", post_dial_delay=0.1, set_up_time=0.3,
    by_caller=HEARD, by_callee=HEARD,
)  # fmt: skip


def test_everybody_calls_everybody_once_and_nobody_is_in_two_calls() -> None:
    pairs = all_pairs(["a", "b", "c", "d", "e"])
    assert len(pairs) == 20
    cut = rounds(pairs, 2)
    assert sorted(map(str, (pair for here in cut for pair in here))) == sorted(map(str, pairs))
    for here in cut:
        assert 1 <= len(here) <= 2
        names = [name for pair in here for name in (pair.caller, pair.callee)]
        assert len(set(names)) == len(names)


def test_a_call_in_a_word_or_two() -> None:
    def said(**changes: object) -> str:
        return verdict(dataclasses.replace(FINE, **changes))  # type: ignore[arg-type]

    assert said() == "300 ms"
    assert said(by_caller=None, by_callee=None, status=480, problems=("x",)) == "480"
    assert said(by_caller=None, by_callee=None, status=0, problems=("x",)) == "no answer"
    assert said(by_callee=SILENCE, problems=("callee: silence",)) == "callee deaf"
    assert said(problems=("callee: loss 12.00% (limit 10.00%)",)) == (
        "callee: loss 12.00% (limit 10.00%)"
    )


def test_an_outcome_is_good_only_if_something_was_called_and_all_of_it_was_heard() -> None:
    outcome = Outcome()
    assert not outcome.ok
    outcome.calls[Pair("a", "b")] = FINE
    assert outcome.ok
    outcome.further["a calls the world"] = dataclasses.replace(FINE, problems=("x",))
    assert not outcome.ok
    outcome.further.clear()
    outcome.problems.append("a node is gone")
    assert outcome.as_json()["ok"] is False


def test_loss_adds_up_along_the_way() -> None:
    """Into the caller's node, into the other node, into the callee's home."""
    topology = read()
    assert loss_between(topology, Pair("alice", "carol"), 0) == 0
    assert loss_between(topology, Pair("alice", "carol"), 5) == pytest.approx(1 - 0.95**3)
    # Both nodes behind one gateway; erin's home behind two, her node behind none.
    assert loss_between(topology, Pair("alice", "bob"), 5) == pytest.approx(1 - 0.95**2)
    assert loss_between(topology, Pair("alice", "erin"), 5) == pytest.approx(1 - 0.95**3)
    # dave is in his node's network: into alice's node, into his.
    assert loss_between(topology, Pair("alice", "dave"), 5) == pytest.approx(1 - 0.95**2)
    assert limits_between(topology, Pair("alice", "carol"), 0).loss == USUAL_LOSS
    assert 0.2 < limits_between(topology, Pair("alice", "carol"), 5).loss < 0.5


def test_pairs_can_be_chosen() -> None:
    topology = read()
    assert wanted_pairs(topology, ["alice-bob"]) == [Pair("alice", "bob")]
    assert len(wanted_pairs(topology, [])) == 20
    with pytest.raises(RingmeshError, match="'alice-mallory' is no pair like alice-bob"):
        wanted_pairs(topology, ["alice-mallory"])
