"""The number that follows from an account key."""

import pytest

from federation.model.identity import AccountKey
from federation.model.number import Number, NumberError, derive_number


@pytest.mark.parametrize("digits", ["020000000000000", "099999999999999", "054321098765432"])
def test_numbers_of_the_form_are_taken(digits: str) -> None:
    assert Number(digits) == digits


@pytest.mark.parametrize(
    "digits",
    [
        "", "000000000000000", "010000000000000", "120000000000000", "02000000000000",
        "0200000000000000", "02000000000000x", " 20000000000000", "02000000000000\n",
        "٠٢٠٠٠٠٠٠٠٠٠٠٠٠٠",
    ],
)  # fmt: skip
def test_anything_else_is_refused(digits: str) -> None:
    assert not Number.fits(digits)
    with pytest.raises(NumberError):
        Number(digits)


def test_numbers_are_spoken_in_groups() -> None:
    assert Number("023456789012345").spoken == "0234 5678 9012 345"


def test_derivation_is_stable_and_of_the_form() -> None:
    """The same key has the same number for ever; this one was computed when the form was fixed."""
    number = derive_number(AccountKey(bytes(range(32))).id)
    assert number == "079735863655444"
    assert Number.fits(number)
