"""The tables of the state machines: whole, reachable, and as the README shows them."""

from pathlib import Path

import pytest

from node.sip.states import MACHINES, Event, Machine, State, diagram

README = Path(__file__).parents[3] / "node" / "sip" / "transactions.md"


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
def test_every_state_is_reachable_timed_and_left(machine: Machine) -> None:
    reached = {machine.start}
    for _ in machine.rules:
        known = [machine.rules[state] for state in reached if state in machine.rules]
        reached |= {rule.target for rules in known for rule in rules.values()}
    assert reached == {*machine.rules, State.TERMINATED}
    assert set(machine.timing) == set(machine.rules)
    assert machine.done < set(machine.rules)
    for state, timing in machine.timing.items():
        rules = machine.rules[state]
        if timing.end is not None:
            assert Event.GIVE_UP in rules, "an end timer leads somewhere"
        if timing.resend is not None:
            assert Event.RESEND in rules
        assert any(rule.target is not state for rule in rules.values()), "each state is left"


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
def test_the_readme_shows_the_table(machine: Machine) -> None:
    assert f"```mermaid\n{diagram(machine)}\n```" in README.read_text()
