"""Keys that name nodes and accounts."""

import pytest

from federation.model.errors import SignatureError
from federation.model.identity import (
    AccountId,
    AccountKey,
    KeyFormatError,
    NodeId,
    NodeKey,
    PublicKey,
)

SEED = bytes(range(32))
PRIME = 2**255 - 19
SMALL_ORDER = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
]


@pytest.mark.parametrize("raw", SMALL_ORDER)
def test_small_order_keys_are_refused(raw: str) -> None:
    """With one of these as key, one signature would hold over many messages."""
    with pytest.raises(KeyFormatError):
        PublicKey(bytes.fromhex(raw))


@pytest.mark.parametrize("y", [PRIME, PRIME + 1, PRIME + 5, 2**255 - 1])
@pytest.mark.parametrize("sign", [0, 1 << 255])
def test_non_canonical_keys_are_refused(y: int, sign: int) -> None:
    with pytest.raises(KeyFormatError):
        NodeId((y | sign).to_bytes(32, "little"))


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_key_has_32_bytes(length: int) -> None:
    with pytest.raises(KeyFormatError):
        NodeId(b"k" * length)


def test_the_text_form_round_trips_and_is_the_only_one() -> None:
    node = NodeKey(SEED).id
    assert len(node.text) == 52
    assert NodeId.from_text(node.text) == node
    for other in (node.text.upper(), node.text + "=", node.text[:-1], "1" * 52, "ü" * 52):
        with pytest.raises(KeyFormatError):
            NodeId.from_text(other)


def test_spare_bits_of_the_last_character_must_be_zero() -> None:
    node = NodeKey(SEED).id
    alphabet = "abcdefghijklmnopqrstuvwxyz234567"
    last = alphabet.index(node.text[-1])
    with pytest.raises(KeyFormatError):
        NodeId.from_text(node.text[:-1] + alphabet[last | 1])


def test_a_key_name_is_read_in_any_case_and_with_a_final_dot() -> None:
    node = NodeKey(SEED).id
    assert NodeId.from_key_name(node.key_name) == node
    assert NodeId.from_key_name(node.key_name.upper() + ".") == node
    with pytest.raises(KeyFormatError):
        NodeId.from_key_name(node.text + ".example.org")


def test_signatures_hold_for_their_key_and_message_only() -> None:
    key, other = NodeKey(SEED), AccountKey(bytes(32))
    signature = key.sign(b"message")
    key.id.verify(signature, b"message")
    for wrong_key, text, wrong in (
        (key.id, b"massage", signature),
        (other.id, b"message", signature),
        (key.id, b"message", bytes(64)),
        (key.id, b"message", b""),
    ):
        with pytest.raises(SignatureError):
            wrong_key.verify(wrong, text)


def test_a_key_that_is_no_point_of_the_curve_verifies_nothing() -> None:
    with pytest.raises(SignatureError):
        PublicKey((2).to_bytes(32, "little")).verify(bytes(64), b"message")


def test_the_secret_is_not_in_the_representation() -> None:
    key = NodeKey(SEED)
    assert key.seed == SEED
    assert SEED.hex() not in repr(key)
    with pytest.raises(KeyFormatError):
        NodeKey(b"short")


def test_node_and_account_ids_are_the_public_keys() -> None:
    assert isinstance(AccountKey(SEED).id, AccountId)
    assert bytes(NodeKey(SEED).id) == bytes(AccountKey(SEED).id)
