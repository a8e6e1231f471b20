"""Who is calling, as a node states it; and what accounts delegate."""

import msgpack
import pytest

from federation import statement
from federation.delegation import CLOCK_SKEW, Delegation, DelegationError
from federation.messages import MAX_STATEMENT_BYTES
from federation.model.clocks import Monotonic, UnixTime
from federation.model.errors import UsageError
from federation.model.identity import AccountKey, NodeKey
from federation.model.network import Network
from federation.model.number import Number
from federation.statement import (
    MAX_AGE,
    MAX_DIVERSIONS,
    Caller,
    ReplayGuard,
    Statement,
    StatementError,
    call_digest,
    issue_statement,
    verify_statement,
)

NETWORK, OTHER_NETWORK = Network.named("test"), Network.named("other")
NODE, FORWARDER = NodeKey(b"n" * 32), NodeKey(b"f" * 32)
ACCOUNT = AccountKey(b"a" * 32)
NOW = UnixTime(1_800_000_000.5)
CALL = call_digest("call@host", "tag")
DEST = "sip:bob@example.org"
NUMBER = Number("023456789012345")


def delegation(publisher: NodeKey = NODE, start: float = -10, end: float = 10) -> bytes:
    return Delegation.issue(
        ACCOUNT,
        publisher=publisher.id,
        label="alice",
        not_before=int(NOW + start),
        not_after=int(NOW + end),
        network=NETWORK,
    ).encode()


def caller(proof: bytes | None = None) -> Caller:
    return Caller(
        uri="sip:alice@example.net",
        number=NUMBER,
        account=ACCOUNT.id,
        delegation=delegation() if proof is None else proof,
    )


def issued(
    key: NodeKey = NODE, who: Caller | None = None, *, div: bytes | None = None, dest: str = DEST
) -> bytes:
    return issue_statement(
        key,
        network=NETWORK,
        caller=who or caller(),
        destination=dest,
        call=CALL,
        now=NOW,
        diverted=div,
    )


def verified(
    data: bytes, *, later: float = 0, peer: NodeKey = NODE, **changes: object
) -> Statement:
    values: dict[str, object] = {"network": NETWORK, "destination": DEST, "call": CALL} | changes
    return verify_statement(data, peer=peer.id, now=UnixTime(NOW + later), **values)  # type: ignore[arg-type]


def test_a_statement_says_who_calls() -> None:
    result = verified(issued())
    assert result.caller == caller()
    assert (result.signer, result.destination, result.diverted) == (NODE.id, DEST, None)
    assert result.issued_at == int(NOW)


def test_a_caller_without_account_may_be_stated() -> None:
    plain = Caller(uri="sip:alice@h", number=None, account=None, delegation=None)
    assert verified(issued(who=plain)).caller == plain


@pytest.mark.parametrize(
    "changes",
    [
        {"peer": FORWARDER},
        {"network": OTHER_NETWORK},
        {"destination": "sip:eve@example.org"},
        {"call": call_digest("call@host", "other")},
        {"later": MAX_AGE + 1},
        {"later": -MAX_AGE - 1},
    ],
)
def test_it_holds_for_its_peer_network_call_destination_and_minute_only(
    changes: dict[str, object],
) -> None:
    verified(issued(), later=MAX_AGE - 1)
    with pytest.raises(StatementError):
        verified(issued(), **changes)  # type: ignore[arg-type]


def test_every_changed_byte_is_noticed() -> None:
    data = issued()
    for place in range(len(data)):
        broken = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        with pytest.raises(StatementError):
            verified(broken)


@pytest.mark.parametrize(
    "proof",
    [
        delegation(publisher=FORWARDER),
        delegation(end=-CLOCK_SKEW - 5),
        delegation(start=CLOCK_SKEW + 5, end=CLOCK_SKEW + 10),
        b"not a delegation",
    ],
    ids=["for another node", "over", "not yet", "garbage"],
)
def test_the_account_must_have_delegated_to_the_signer_for_now(proof: bytes) -> None:
    with pytest.raises(StatementError):
        verified(issued(who=caller(proof)))


def test_an_account_and_its_delegation_come_together() -> None:
    with pytest.raises(UsageError):
        issued(who=Caller(uri="sip:a@b", number=None, account=ACCOUNT.id, delegation=None))


def test_a_forwarded_call_carries_the_first_statement() -> None:
    first = issued(dest="sip:carol@forwarder")
    plain = Caller(uri="sip:carol@forwarder", number=None, account=None, delegation=None)
    result = verified(issued(FORWARDER, plain, div=first), peer=FORWARDER)
    assert result.diverted is not None
    assert result.diverted.caller == caller()
    assert (result.diverted.signer, result.diverted.destination) == (
        NODE.id,
        "sip:carol@forwarder",
    )


def test_the_first_statement_is_of_the_same_call() -> None:
    """What somebody was sent with one call cannot be put into another."""
    plain = Caller(uri="sip:carol@forwarder", number=None, account=None, delegation=None)
    other = issue_statement(
        NODE,
        network=NETWORK,
        caller=caller(),
        destination="sip:carol@forwarder",
        call=call_digest("another@host", "tag"),
        now=NOW,
    )
    with pytest.raises(StatementError):
        verified(issued(FORWARDER, plain, div=other), peer=FORWARDER)


def test_diversions_are_bounded() -> None:
    plain = Caller(uri="sip:a@b", number=None, account=None, delegation=None)
    data = issued(who=plain)
    for _ in range(MAX_DIVERSIONS):
        data = issued(who=plain, div=data)
    verified(data)
    with pytest.raises(StatementError):
        verified(issued(who=plain, div=data))


def test_a_statement_is_bounded() -> None:
    plain = Caller(uri="sip:a@b", number=None, account=None, delegation=None)
    with pytest.raises(UsageError):
        issued(who=plain, div=b"x" * MAX_STATEMENT_BYTES)
    with pytest.raises(StatementError):
        verified(b"\xc6" + bytes(MAX_STATEMENT_BYTES))


def test_another_spelling_of_the_same_claims_is_refused() -> None:
    """Signed bytes have one form; here the array header is longer than it need be."""
    signer, claims, signature = msgpack.unpackb(issued())
    long_form = b"\xdc\x00\x03" + b"".join(map(msgpack.packb, (signer, claims, signature)))
    assert msgpack.unpackb(long_form) == [signer, claims, signature]
    with pytest.raises(StatementError):
        verified(long_form)


def test_a_statement_is_used_once_and_a_resend_is_no_reuse() -> None:
    guard, result, now = ReplayGuard(), verified(issued()), Monotonic(0)
    guard.admit(result, b"1" * 16, now=now)
    guard.admit(result, b"1" * 16, now=now)
    with pytest.raises(StatementError):
        guard.admit(result, b"2" * 16, now=now)
    with pytest.raises(StatementError):
        guard.admit(result, b"2" * 16, now=Monotonic(2 * MAX_AGE - 1))


def test_the_guard_forgets_what_is_too_old_and_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(statement, "REMEMBERED_PER_NODE", 3)
    guard = ReplayGuard()
    results = [verified(issued(dest=f"sip:{n}@h"), destination=f"sip:{n}@h") for n in range(4)]
    for number, result in enumerate(results[:3]):
        guard.admit(result, bytes([number]) * 16, now=Monotonic(0))
    with pytest.raises(StatementError):
        guard.admit(results[3], b"x" * 16, now=Monotonic(1))
    guard.admit(results[3], b"x" * 16, now=Monotonic(2 * MAX_AGE))
    assert len(guard) == 1


def test_a_delegation_round_trips_and_names_its_node_and_time() -> None:
    proof = Delegation.decode(delegation(), account=ACCOUNT.id, network=NETWORK)
    assert (proof.publisher, proof.label) == (NODE.id, "alice")
    assert proof.covers(NODE.id, now=NOW)
    assert not proof.covers(FORWARDER.id, now=NOW)
    assert not proof.covers(NODE.id, now=UnixTime(NOW + 10 + CLOCK_SKEW + 1))


def test_a_delegation_holds_for_its_account_and_network_and_bytes() -> None:
    data = delegation()
    for account, network in ((AccountKey(b"b" * 32), NETWORK), (ACCOUNT, OTHER_NETWORK)):
        with pytest.raises(DelegationError):
            Delegation.decode(data, account=account.id, network=network)
    for place in range(len(data)):
        broken = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        with pytest.raises(DelegationError):
            Delegation.decode(broken, account=ACCOUNT.id, network=NETWORK)
