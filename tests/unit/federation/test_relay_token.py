"""Tokens that ask for a relay, and receipts of what was relayed."""

from dataclasses import replace

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.model.clocks import UnixTime
from federation.model.identity import NodeKey
from federation.model.network import Network
from federation.relay_token import (
    CLOCK_SKEW,
    MAX_BYTES,
    MAX_TOKEN_SECONDS,
    RelayReceipt,
    RelayToken,
    RelayTokenError,
)

ASKER, RELAY, OTHER = (NodeKey(bytes([n]) * 32) for n in (1, 2, 3))
NET = Network.named("test")
NOW = UnixTime(1_800_000_000.0)
TOKEN = RelayToken(
    asker=ASKER.id, relay=RELAY.id, nonce=bytes(16), not_after=int(NOW) + 600, quota=1000
)
RECEIPT = RelayReceipt(
    relay=RELAY.id,
    asker=ASKER.id,
    nonce=bytes(16),
    begun=int(NOW),
    ended=int(NOW) + 60,
    bytes_to_peers=5,
    bytes_to_clients=7,
)


def verified(data: bytes, **changes: object) -> RelayToken:
    wanted = {"asker": ASKER.id, "relay": RELAY.id, "network": NET, "now": NOW} | changes
    return RelayToken.verify(data, **wanted)  # type: ignore[arg-type]


def receipt_of(data: bytes, **changes: object) -> RelayReceipt:
    wanted = {"relay": RELAY.id, "asker": ASKER.id, "nonce": bytes(16), "network": NET} | changes
    return RelayReceipt.verify(data, **wanted)  # type: ignore[arg-type]


def test_a_token_is_believed_by_the_relay_it_is_for() -> None:
    assert verified(TOKEN.sign(ASKER, NET)) == TOKEN
    assert receipt_of(RECEIPT.sign(RELAY, NET)) == RECEIPT


@pytest.mark.parametrize(
    "changes",
    [
        {"asker": OTHER.id},
        {"relay": OTHER.id},
        {"network": Network.named("another")},
        {"now": UnixTime(NOW + 600 + CLOCK_SKEW)},
        {"now": UnixTime(NOW - MAX_TOKEN_SECONDS)},
    ],
)
def test_and_by_nobody_else_and_at_no_other_time(changes: dict[str, object]) -> None:
    with pytest.raises(RelayTokenError):
        verified(TOKEN.sign(ASKER, NET), **changes)


@pytest.mark.parametrize(
    "changes", [{"relay": OTHER.id}, {"asker": OTHER.id}, {"nonce": bytes(15) + b"\1"}]
)
def test_a_receipt_of_or_for_somebody_else_is_none(changes: dict[str, object]) -> None:
    with pytest.raises(RelayTokenError):
        receipt_of(RECEIPT.sign(RELAY, NET), **changes)


def test_only_the_author_can_sign() -> None:
    with pytest.raises(RelayTokenError, match="signature does not hold"):
        verified(TOKEN.sign(OTHER, NET))
    with pytest.raises(RelayTokenError, match="signature does not hold"):
        receipt_of(RECEIPT.sign(ASKER, NET))


def test_a_receipt_is_no_token() -> None:
    with pytest.raises(RelayTokenError):
        verified(RECEIPT.sign(RELAY, NET), asker=RELAY.id)


@pytest.mark.parametrize("changes", [{"quota": -1}, {"quota": 2**61}, {"nonce": b"short"}])
def test_values_have_bounds(changes: dict[str, object]) -> None:
    with pytest.raises(RelayTokenError):
        verified(replace(TOKEN, **changes).sign(ASKER, NET))  # type: ignore[arg-type]


def test_there_is_one_encoding() -> None:
    data = TOKEN.sign(ASKER, NET)
    values = msgpack.unpackb(data)
    long = b"\xdc" + len(values).to_bytes(2, "big") + data[1:]
    assert msgpack.unpackb(long) == values
    with pytest.raises(RelayTokenError):
        verified(long)
    with pytest.raises(RelayTokenError):
        verified(data + bytes(MAX_BYTES))


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=600))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(RelayTokenError):
        verified(data)


@settings(max_examples=100, deadline=None)
@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_no_bit_can_be_changed(place: int, bit: int) -> None:
    data = bytearray(TOKEN.sign(ASKER, NET))
    data[place % len(data)] ^= 1 << bit
    with pytest.raises(RelayTokenError):
        verified(bytes(data))
