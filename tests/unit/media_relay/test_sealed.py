import hashlib
import hmac

import pytest

from media_relay.sealed import REPLAY_WINDOW, ReplayWindow, derive_leg_keys


def hkdf_sha256(material: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869 with an empty salt, written out."""
    extracted = hmac.new(bytes(32), material, hashlib.sha256).digest()
    return hmac.new(extracted, info + b"\x01", hashlib.sha256).digest()[:length]


def test_leg_keys_are_those_of_rfc_5869() -> None:
    offer, answer = bytes(range(32)), bytes(range(32, 64))
    there, back = derive_leg_keys(offer, answer, 0x01020304, 0xA0B0C0D0)
    ids = bytes.fromhex("01020304a0b0c0d0")
    assert there == hkdf_sha256(offer + answer, b"leg1\x00" + ids, 16)
    assert back == hkdf_sha256(offer + answer, b"leg1\x01" + ids, 16)


def test_leg_keys_never_change_between_versions() -> None:
    """Other nodes derive the same ones, so these bytes are part of the wire format."""
    there, back = derive_leg_keys(b"o" * 32, b"a" * 32, 1, 2)
    assert there.hex() == "998dbdb7d9525a536577d07703900dce"
    assert back.hex() == "7f3ae54695e9f7a3549a3746e66c02ab"


@pytest.mark.parametrize("jump", [1, 5, 127, 128, 129, 1 << 48, 0xFFFF << 48])
def test_any_jump_forward_is_taken(jump: int) -> None:
    window = ReplayWindow()
    assert window.record(0)
    assert window.admits(jump)
    assert window.record(jump)
    assert not window.admits(jump)


def test_each_counter_is_taken_once_within_the_window() -> None:
    window = ReplayWindow()
    window.record(1000)
    oldest = 1000 - REPLAY_WINDOW + 1
    assert window.admits(oldest)
    assert not window.admits(oldest - 1)
    assert not window.record(oldest), "an old one is not the highest"
    assert not window.admits(oldest)
    assert window.admits(oldest + 1)


def test_after_a_reinstallation_only_newer_counters_are_taken() -> None:
    window = ReplayWindow(highest=500)
    assert not any(window.admits(counter) for counter in range(501))
    assert window.admits(501)
