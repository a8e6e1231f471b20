"""Telephone numbers of the world: digits with a country code (ITU-T E.164), without the `+`."""

import re

from node.accounts.login import AccountError

MIN_DIGITS = 6
"Fewer are no number that could be called from abroad."
MAX_DIGITS = 15
"What E.164 allows."
MAX_TYPED = 64
"Characters of a number as somebody writes it."
_SEPARATORS = str.maketrans("", "", " \t-./()")
_E164 = re.compile(rf"[1-9][0-9]{{{MIN_DIGITS - 1},{MAX_DIGITS - 1}}}")
_COUNTRY = re.compile(r"[1-9][0-9]{0,2}")


def plain_digits(text: str) -> str:
    """What was dialled, without what people put between digits and without tel parameters."""
    return text.partition(";")[0].translate(_SEPARATORS)


def e164(text: str, country: str | None = None, *, bare: bool = False) -> str | None:
    """The digits of a number with its country code; `None` if it is none.

    `+49 30…` and `0049 30…` are read anywhere, `030…` where `country` says which country's it is,
    and `4930…` with `bare`, as providers write it.
    """
    if len(text) > MAX_TYPED:
        return None
    plain = plain_digits(text)
    if plain.startswith("+"):
        digits = plain[1:]
    elif plain.startswith("00"):
        digits = plain[2:]
    elif plain.startswith("0"):
        digits = "" if country is None else country + plain[1:]
    else:
        digits = plain if bare else ""
    return digits if _E164.fullmatch(digits) else None


def read_number(text: str, country: str | None = None) -> str:
    """The number that a person typed, as digits.

    Raises:
        AccountError: it is none, or its country is not known; the text says what would do.
    """
    found = e164(text, country)
    if found is None:
        raise AccountError(
            f"number {text[:MAX_TYPED]!r}: write it in international form, such as +49 30 1234567"
        )
    return found


def check_country(text: str) -> None:
    """Refuse what is no country calling code.

    Raises:
        AccountError: says what would do.
    """
    if not _COUNTRY.fullmatch(text):
        raise AccountError(f"country {text[:16]!r}: give a calling code of 1 to 3 digits, as in 49")
