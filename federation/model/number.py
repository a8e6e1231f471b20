"""The dialable number that follows from an account key, without a registry.

tag = Argon2id v1.3(public key, salt "ringmesh number 1", 64 MiB, t=3, p=1, 32 bytes);
n = 2*10^13 + tag mod 8*10^13; the number is `0` followed by the 14 digits of n. The second digit
is 2-9, so no international prefix and no E.164 number collides with it.
"""

import re
from typing import Self

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from federation.model.errors import PeerError
from federation.model.identity import AccountId

NUMBER_DIGITS = 15
ARGON2_MEMORY_KIB = 65536
ARGON2_PASSES = 3
_SALT = b"ringmesh number 1"
_LOWEST = 2 * 10**13
_SPAN = 8 * 10**13
_NUMBER = re.compile(r"0[2-9][0-9]{13}")


class NumberError(PeerError):
    """Not a number of this network."""


class Number(str):
    """Fifteen digits, the first `0`, the second 2-9."""

    __slots__ = ()

    def __new__(cls, digits: str) -> Self:
        """Check and wrap.

        Raises:
            NumberError: not fifteen digits of that form.
        """
        if not cls.fits(digits):
            raise NumberError(f"{digits!r} is not a number: 15 digits, beginning with 02 to 09")
        return super().__new__(cls, digits)

    @staticmethod
    def fits(digits: str) -> bool:
        """Whether these digits have the form of a number."""
        return _NUMBER.fullmatch(digits) is not None

    @property
    def spoken(self) -> str:
        """The form shown to people: `0ddd dddd dddd ddd`."""
        return f"{self[:4]} {self[4:8]} {self[8:12]} {self[12:]}"


def derive_number(account: AccountId) -> Number:
    """Compute the number of an account key: 64 MiB and about 0.25 s of one core.

    The GIL is released meanwhile, so call it in a thread.
    """
    tag = Argon2id(
        salt=_SALT, length=32, iterations=ARGON2_PASSES, lanes=1, memory_cost=ARGON2_MEMORY_KIB
    ).derive(bytes(account))
    return Number(f"0{_LOWEST + int.from_bytes(tag, 'big') % _SPAN}")
