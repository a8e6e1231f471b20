"""Where a ladder's lanes and arrows stand."""

from typing import Any

from node.web.ladder import MAX_ROWS, draw


def message(party: int, direction: str, summary: str, **more: Any) -> dict[str, Any]:
    return {
        "party": party,
        "direction": direction,
        "summary": summary,
        "after": 0.25,
        "repeated": False,
    } | more


def a_trace(*messages: dict[str, Any], parties: int = 2) -> dict[str, Any]:
    return {
        "parties": [{"address": f"192.0.2.{n}:5060", "kind": "sip"} for n in range(parties)],
        "messages": list(messages),
    }


def test_the_caller_stands_left_of_this_node_and_others_right() -> None:
    ladder = draw(a_trace(message(0, "in", "INVITE sip:b"), message(1, "out", "INVITE sip:b")))
    caller, node, callee = (lane.x for lane in ladder.lanes)
    assert [lane.kind for lane in ladder.lanes] == ["sip", "self", "sip"]
    assert caller < node < callee < ladder.width
    first, second = ladder.arrows
    assert (first.start, first.end) == (caller, node)
    assert (second.start, second.end) == (node, callee)
    assert first.y < second.y < ladder.height


def test_answers_point_back_and_refusals_stand_out() -> None:
    ladder = draw(
        a_trace(
            message(1, "in", "486 Busy Here (INVITE)"),
            message(0, "out", "200 OK (INVITE)", repeated=True),
        )
    )
    refusal, answer = ladder.arrows
    assert refusal.is_error
    assert refusal.end < refusal.start
    assert not answer.is_error
    assert answer.text == "200 OK (INVITE) (again)"
    assert answer.head.startswith(f"{answer.end},")


def test_a_long_call_is_cut_and_says_so() -> None:
    many = [message(0, "in", "INFO sip:" + "x" * 90) for _ in range(MAX_ROWS + 3)]
    ladder = draw(a_trace(*many, parties=1))
    assert (len(ladder.arrows), ladder.left_out) == (MAX_ROWS, 3)
    assert ladder.arrows[0].text.endswith("…")
    assert len(ladder.lanes) == 2
