"""The pure parts of the edge: tokens, callers' names, legs, the dialog table, stored dialogs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.messages import LegAddress, LegAnswer, LegOffer
from federation.model.address import Endpoint
from federation.model.clocks import Monotonic, UnixTime
from federation.model.identity import NodeKey
from federation.model.number import Number
from node.edge.dialog import Dialog, DialogSet, DialogState, DialogTable, NodeSide, PhoneSide
from node.edge.identity import Caller, display_of
from node.edge.legs import BLOCK, LegEnd, LegError, NoIndex
from node.edge.memory import StoredDialogError, pack_dialog, unpack_dialog
from node.edge.token import MESH_SIDE, PHONE_SIDE, RouteTokens
from node.sip.flow import Flow
from node.sip.headers import NameAddr
from node.sip.uri import Uri
from tests.support.edge_relay import MediaMap, RecordingRelay
from tests.support.sip_exchange import SeededEntropy

NODE = NodeKey(bytes(range(32))).id
FLOW = Flow("UDP", Endpoint("10.0.0.1", 5060), Endpoint("10.0.0.9", 5070))
NOW, UNIX = Monotonic(5.0), UnixTime(1_900_000_000.0)


def test_a_token_is_known_in_its_own_call_only() -> None:
    tokens, others = RouteTokens(b"k" * 32), RouteTokens(b"o" * 32)
    for side in (PHONE_SIDE, MESH_SIDE):
        uri = Uri.parse(f"sip:{tokens.issue(side, 'call-1')}@10.0.0.1;lr")
        assert tokens.is_ours(uri, "call-1")
        assert not tokens.is_ours(uri, "call-2")
        assert not others.is_ours(uri, "call-1")
    assert not tokens.is_ours(Uri.parse("sip:alice@10.0.0.1"), "call-1")
    assert not tokens.is_ours(Uri.parse("sip:10.0.0.1"), "call-1")


def test_nobody_names_himself_verified_or_unverified() -> None:
    forged = NameAddr.parse('"unverified: UNVERIFIED:  Bank" <sip:x@y>')
    assert display_of(forged) == "Bank"
    caller = Caller("Bank", None, "x@y", verified=False)
    assert caller.shown_from("node") == '"unverified: Bank" <sip:x@y>'
    assert caller.asserted_identity("node") is None
    quoted = Caller('A "B" \\', Number("023456789012345"), "a@b", verified=True)
    assert quoted.shown_from("node") == '"A \\"B\\" \\\\" <sip:023456789012345@node>'


# Legs


def ends() -> tuple[LegEnd, LegEnd]:
    media = MediaMap()
    return tuple(  # type: ignore[return-value]
        LegEnd(RecordingRelay(media).session("c"), SeededEntropy(n), f"192.0.2.{n}", "192.0.2.9")
        for n in (1, 2)
    )


def test_an_answer_takes_a_leg_of_the_block_and_is_repeated() -> None:
    offerer, answerer = ends()
    offer = offerer.give(0, "", is_offer=True, forming=True)
    assert isinstance(offer, LegOffer)
    assert offer.count == BLOCK
    assert offerer.give(0, "", is_offer=True, forming=True) == offer
    answerer.take(0, "", offer, "192.0.2.1")
    answer = answerer.give(0, "bob", is_offer=False, forming=True)
    assert isinstance(answer, LegAnswer)
    assert answerer.give(0, "bob", is_offer=False, forming=True) == answer
    assert answerer.give(0, "bob", is_offer=False, forming=False) is None
    offerer.take(0, "bob", answer, "192.0.2.2")
    assert offerer.handle(0, "bob") == offer.first_id + answer.index


def test_the_last_leg_of_a_block_is_kept_for_a_final_answer() -> None:
    offerer, answerer = ends()
    answerer.take(0, "", offerer.give(0, "", is_offer=True, forming=True), "192.0.2.1")
    for number in range(BLOCK - 1):
        answerer.give(0, f"tag{number}", is_offer=False, forming=True)
    with pytest.raises(NoIndex):
        answerer.give(0, "one more", is_offer=False, forming=True)
    answerer.take_last_index("final")
    last = answerer.give(0, "final", is_offer=False, forming=True)
    assert isinstance(last, LegAnswer)
    assert last.index == BLOCK - 1
    with pytest.raises(NoIndex):
        answerer.take_last_index("second final")


@pytest.mark.parametrize("index", [-1, BLOCK])
def test_an_answer_outside_the_block_is_refused(index: int) -> None:
    offerer, _ = ends()
    offerer.give(0, "", is_offer=True, forming=True)
    with pytest.raises(LegError):
        offerer.take(0, "bob", leg_answer(index), "192.0.2.2")


def test_an_answer_that_was_not_asked_for_or_takes_anothers_leg_is_refused() -> None:
    offerer, _ = ends()
    with pytest.raises(LegError):
        offerer.take(0, "bob", leg_answer(0), "192.0.2.2")
    offerer.give(0, "", is_offer=True, forming=True)
    offerer.take(0, "bob", leg_answer(3), "192.0.2.2")
    with pytest.raises(LegError):
        offerer.take(0, "eve", leg_answer(3), "192.0.2.2")


def leg_answer(index: int) -> LegAnswer:
    return LegAnswer(address=LegAddress(None, 19000), own_id=77, index=index, secret=bytes(32))


# Dialogs


def a_set(caller: PhoneSide | NodeSide, callee: PhoneSide | NodeSide) -> DialogSet:
    group = DialogSet(
        id=1,
        call_id="c",
        method="INVITE",
        caller_tag="a",
        caller=caller,
        from_value="<sip:a@x>",
        to_value="<sip:b@x>",
        created=NOW,
        created_at=UNIX,
    )
    group.by_branch[1] = (callee, "<sip:023456789012345@n>")
    return group


def test_of_two_sets_with_the_same_names_the_sender_tells_which() -> None:
    table = DialogTable()
    phone, other = PhoneSide(FLOW, "alice", "n"), PhoneSide(FLOW, "carol", "n")
    out, back = a_set(phone, NodeSide(NODE)), a_set(NodeSide(NODE), other)
    for group in (out, back):
        table.add(group)
        table.open(group, "b", 1)
    from_phone = table.find("c", "a", "b", lambda side: isinstance(side, PhoneSide))
    from_node = table.find("c", "a", "b", lambda side: isinstance(side, NodeSide))
    assert from_phone is not None
    assert from_node is not None
    assert (from_phone.dialog.group, from_node.dialog.group) == (out, back)
    table.remove(out)
    assert [*table] == [back]
    table.remove(back)
    assert len(table) == 0
    assert table.find("c", "a", "b", lambda side: True) is None


TEXT = st.text(st.characters(max_codepoint=0x2000, exclude_characters="\r\n"), max_size=20)


@given(call_id=TEXT, shown=TEXT, routes=st.lists(TEXT, max_size=3), cseq=st.integers(0, 2**31))
def test_a_stored_dialog_comes_back(call_id: str, shown: str, routes: list[str], cseq: int) -> None:
    group = a_set(NodeSide(NODE), PhoneSide(FLOW, "bob", "n", "sip:b@c", routes))
    group.call_id = call_id
    dialog = Dialog(group, "b", group.by_branch[1][0], shown, 1, caller_cseq=cseq)
    back = unpack_dialog(pack_dialog(dialog), 9, now=NOW, unix=UNIX)
    again = back.dialogs["b"]
    assert (back.id, back.call_id, back.caller) == (9, call_id, group.caller)
    assert (again.callee, again.shown_from) == (dialog.callee, shown)
    assert again.state is DialogState.CONFIRMED
    assert again.caller_cseq > cseq


@given(st.binary(max_size=60))
def test_a_damaged_row_is_refused(data: bytes) -> None:
    with pytest.raises(StoredDialogError):
        unpack_dialog(data, 1, now=NOW, unix=UNIX)
