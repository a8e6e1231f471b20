"""Which numbers of the telephone network a trunk offers to reach, by prefix.

Nobody can prove that a prefix is theirs to serve. So such a record is an offer and no claim: it is
looked up under the key of a node that the seeker's operator has allowed, and under no other.
"""

from dataclasses import dataclass
from typing import NamedTuple, Self

from dht.canonical import CanonicalError, Value, read_array, read_int, read_text

MAX_PREFIXES = 28
"Offers of one trunk."
MAX_PREFIX_DIGITS = 15
"As many as an international number has (ITU-T E.164 6)."
MAX_PREFIX_PRIORITY = 65_535


class PrefixOffer(NamedTuple):
    """Numbers that a trunk reaches."""

    prefix: str
    "The first digits, country code first and without `+`; empty: every number."
    priority: int = 0
    "Among offers for the same prefix the lower is tried first."
    weight: int = 0


@dataclass(frozen=True, slots=True)
class PrefixPayload:
    """What a trunk offers: `[[prefix, priority, weight], ...]`, ascending, each prefix once.

    Raises:
        CanonicalError: none or too many, not in order, or a prefix that is not digits.
    """

    offers: tuple[PrefixOffer, ...]

    def __post_init__(self) -> None:
        if not 0 < len(self.offers) <= MAX_PREFIXES:
            raise CanonicalError(f"a trunk offers 1 to {MAX_PREFIXES} prefixes")
        prefixes = [offer.prefix for offer in self.offers]
        if prefixes != sorted(set(prefixes)):
            raise CanonicalError("prefixes ascend, and none comes twice")
        if not all(map(_is_prefix, prefixes)):
            raise CanonicalError(f"a prefix is up to {MAX_PREFIX_DIGITS} digits")

    def value(self) -> Value:
        """The canonical form."""
        return [list[Value](offer) for offer in self.offers]

    @classmethod
    def read(cls, value: Value) -> Self:
        """Read the canonical form.

        Raises:
            CanonicalError: it is not.
        """
        offers = []
        for item in read_array(value, 1, MAX_PREFIXES):
            prefix, priority, weight = read_array(item, 3, 3)
            offers.append(
                PrefixOffer(
                    read_text(prefix, MAX_PREFIX_DIGITS),
                    read_int(priority, 0, MAX_PREFIX_PRIORITY),
                    read_int(weight, 0, MAX_PREFIX_PRIORITY),
                )
            )
        return cls(tuple(offers))

    def offer_for(self, number: str) -> PrefixOffer | None:
        """The offer with the longest prefix of a number (digits, country code first)."""
        fitting = [offer for offer in self.offers if number.startswith(offer.prefix)]
        return max(fitting, key=lambda offer: len(offer.prefix), default=None)


def _is_prefix(text: str) -> bool:
    return not text or (text.isascii() and text.isdigit() and len(text) <= MAX_PREFIX_DIGITS)
