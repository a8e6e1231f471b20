"""The messages of RFC 5769 and RFC 8489 appendix B.1, read, checked and written again."""

import hashlib
from pathlib import Path

import pytest

from media_relay.stun.attributes import Attribute, Family, MessageClass, Method
from media_relay.stun.message import Key, Message, StunError
from media_relay.stun.values import read_xor_address

VECTORS = {
    name: bytes.fromhex(text)
    for name, _, text in (
        line.partition(":")
        for line in (Path(__file__).parents[3] / "vectors/stun/vectors.txt")
        .read_text()
        .splitlines()
    )
}
SHORT_TERM = b"VOkJxbRl1RmTxUk/WvJxBt"
LONG_TERM = "マトリックス:example.org:TheMatrIX".encode()
MD5 = hashlib.md5(LONG_TERM).digest()
SHA256 = hashlib.sha256(LONG_TERM).digest()
KEYS = {
    "request": Key(SHORT_TERM, is_sha256=False),
    "response-ipv4": Key(SHORT_TERM, is_sha256=False),
    "response-ipv6": Key(SHORT_TERM, is_sha256=False),
    "request-long-term": Key(MD5, is_sha256=False),
    "request-sha256": Key(SHA256, is_sha256=True),
}


@pytest.mark.parametrize("name", VECTORS)
def test_integrity_holds_with_the_right_key_alone(name: str) -> None:
    message, key = Message.decode(VECTORS[name]), KEYS[name]
    assert message.is_signed_by(key)
    assert not message.is_signed_by(Key(key.secret + b"!", is_sha256=key.is_sha256))
    assert not message.is_signed_by(Key(key.secret, is_sha256=not key.is_sha256))


@pytest.mark.parametrize("name", VECTORS)
def test_every_changed_byte_is_noticed(name: str) -> None:
    """Any flipped bit makes the message unreadable or its integrity wrong."""
    data, key = VECTORS[name], KEYS[name]
    fingerprint = 8 if Message.decode(data).has_fingerprint else 0
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1
        try:
            message = Message.decode(bytes(changed))
        except StunError:
            continue
        if at < len(data) - fingerprint:
            assert not message.is_signed_by(key), at
        else:
            assert not message.has_fingerprint, at


@pytest.mark.parametrize("name", ["request-long-term", "request-sha256"])
def test_writing_gives_the_same_bytes(name: str) -> None:
    """Those of the vectors whose padding is zero."""
    assert Message.decode(VECTORS[name]).encode(KEYS[name]) == VECTORS[name]


def test_addresses() -> None:
    expected = {
        "response-ipv4": (Family.IPV4, ("192.0.2.1", 32853)),
        "response-ipv6": (Family.IPV6, ("2001:db8:1234:5678:11:2233:4455:6677", 32853)),
    }
    for name, address in expected.items():
        message = Message.decode(VECTORS[name])
        assert (message.method, message.kind) == (Method.BINDING, MessageClass.SUCCESS)
        value = message.get(Attribute.XOR_MAPPED_ADDRESS)
        assert value is not None
        assert read_xor_address(value, message.transaction_id) == address
        assert message.get(Attribute.SOFTWARE) == b"test vector"


def test_userhash_and_texts() -> None:
    message = Message.decode(VECTORS["request-sha256"])
    userhash = hashlib.sha256("マトリックス:example.org".encode()).digest()
    assert message.get(Attribute.USERHASH) == userhash
    assert message.get(Attribute.NONCE) == b"obMatJos2AAACf//499k954d6OL34oL9FSTvy64sA"
    assert message.get(Attribute.PASSWORD_ALGORITHM) == b"\0\2\0\0"
