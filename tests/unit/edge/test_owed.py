"""Ends of calls that another node could not be told at once."""

from federation.messages import Bye
from federation.model.clocks import Monotonic
from federation.model.identity import NodeId, NodeKey
from node.edge.owed import KEPT, MAX_OWED, OwedBye, OwedByes

HERE, THERE = (NodeKey(bytes([n]) * 32).id for n in (1, 2))


def owed(n: int, node: NodeId = HERE, at: float = 0.0) -> OwedBye:
    frame = Bye(call_id=str(n), sender_tag="a", receiver_tag="b")
    return OwedBye(node, frame, Monotonic(at + KEPT))


def test_a_node_without_a_link_is_tried_with_one_and_a_linked_one_with_all() -> None:
    byes = OwedByes()
    for each in (owed(1), owed(2), owed(3, THERE), owed(4, THERE)):
        byes.add(each)
    taken = byes.take(lambda node: node == THERE, now=Monotonic(1.0))
    assert taken == [owed(1), owed(3, THERE), owed(4, THERE)]
    assert list(byes) == [owed(2)]
    byes.add(taken[0])
    assert byes.take(lambda node: True, now=Monotonic(2.0)) == [owed(2), owed(1)]
    assert len(byes) == 0


def test_what_the_other_node_must_have_noticed_is_dropped() -> None:
    byes = OwedByes()
    byes.add(owed(1))
    byes.add(owed(2, at=1.0))
    assert byes.take(lambda node: True, now=Monotonic(KEPT)) == [owed(2, at=1.0)]
    assert len(byes) == 0


def test_they_are_bounded_and_each_is_kept_once() -> None:
    byes = OwedByes()
    for n in range(MAX_OWED + 5):
        byes.add(owed(n))
        byes.add(owed(n))
    assert [int(each.frame.call_id) for each in byes] == list(range(5, MAX_OWED + 5))
