"""Passwords that a person can type on a telephone's keypad."""

from federation.model.clocks import Entropy

PASSWORD_LENGTH = 16
PASSWORD_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # noqa: S105 - the letters, not a password
"Lower case only, so no shift key; without `i`, `l`, `o`, `0` and `1`, which look alike."
_FAIR = 256 - 256 % len(PASSWORD_ALPHABET)
"Bytes from here on would favour the first letters."


def generate_password(entropy: Entropy) -> str:
    """Make a password of 16 characters, which is 79 bits."""
    characters: list[str] = []
    while len(characters) < PASSWORD_LENGTH:
        fair = (byte for byte in entropy.token(PASSWORD_LENGTH) if byte < _FAIR)
        characters += (PASSWORD_ALPHABET[byte % len(PASSWORD_ALPHABET)] for byte in fair)
    return "".join(characters[:PASSWORD_LENGTH])
