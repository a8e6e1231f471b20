"""Generated passwords."""

from node.accounts.password import PASSWORD_ALPHABET, PASSWORD_LENGTH, generate_password
from tests.support.sip_exchange import SeededEntropy


class FixedEntropy:
    """Bytes from a list, over and over."""

    def __init__(self, *values: int) -> None:
        self._values = values

    def token(self, size: int) -> bytes:
        return bytes(self._values[n % len(self._values)] for n in range(size))


def test_a_password_can_be_typed_on_a_phone() -> None:
    entropy = SeededEntropy()
    passwords = [generate_password(entropy) for _ in range(300)]
    assert len(set(passwords)) == 300
    assert {len(password) for password in passwords} == {PASSWORD_LENGTH}
    letters = set("".join(passwords))
    assert letters == set(PASSWORD_ALPHABET)
    assert not letters & set("il1o0ABCDEFGHIJKLMNOPQRSTUVWXYZ")


def test_no_letter_is_likelier_than_another() -> None:
    """Bytes that would wrap around unevenly are left out."""
    assert generate_password(FixedEntropy(0, 255, 248, 30, 31)) == "a9aa9aa9aaa9aa9a"
