"""Dial plan: which dialled digits go out over which trunk, and as what."""

import re

import msgspec

from node.accounts.login import AccountError
from node.trunks.e164 import plain_digits

MAX_RULES = 64
"Rules of one trunk."
MAX_PART = 24
"Digits of a rule's prefix or replacement."
_PART = re.compile(r"\+?[0-9*#]*")
_DIALLED = re.compile(r"\+?[0-9*#]{1,40}")


class Rule(msgspec.Struct, frozen=True):
    """Numbers that begin with `prefix` go out here, with `replacement` in its place."""

    prefix: str
    "Empty: every number."
    replacement: str | None = None
    "`None`: the number goes out as it was dialled."

    @classmethod
    def parse(cls, text: str) -> "Rule":
        """Read `PREFIX` or `PREFIX=REPLACEMENT`, where the replacement may be empty.

        Raises:
            AccountError: it is none; the text says what would do.
        """
        prefix, equals, replacement = text.partition("=")
        prefix, replacement = plain_digits(prefix), plain_digits(replacement)
        for part in (prefix, replacement):
            if not _PART.fullmatch(part) or len(part) > MAX_PART:
                raise AccountError(
                    f"--prefix {text[:64]!r}: use digits, with a + before them if need be, as in "
                    "0 or 00=+ (00 is replaced by +) or 9= (9 is taken away)"
                )
        return cls(prefix, replacement if equals else None)

    def __str__(self) -> str:
        return self.prefix if self.replacement is None else f"{self.prefix}={self.replacement}"

    def apply(self, dialled: str) -> str | None:
        """What goes out for `dialled`; `None` if the rule is not for it."""
        if not dialled.startswith(self.prefix):
            return None
        if self.replacement is None:
            return dialled
        return self.replacement + dialled[len(self.prefix) :]


def check_rules(name: str, rules: tuple[Rule, ...]) -> None:
    """Refuse too many, and two for one prefix.

    Raises:
        AccountError: names the trunk and the prefix.
    """
    if len(rules) > MAX_RULES:
        raise AccountError(f"trunk {name}: at most {MAX_RULES} rules with --prefix")
    seen: set[str] = set()
    for rule in rules:
        if rule.prefix in seen:
            raise AccountError(f"trunk {name}: --prefix {rule.prefix!r} is given twice; keep one")
        seen.add(rule.prefix)


def read_dialled(user: str) -> str | None:
    """The digits of a user part that a trunk could dial; `None` if it is a name."""
    plain = plain_digits(user)
    return plain if _DIALLED.fullmatch(plain) else None


def best_rule(rules: tuple[Rule, ...], dialled: str) -> tuple[int, str] | None:
    """The length of the longest prefix that fits, and what goes out by it."""
    best: tuple[int, str] | None = None
    for rule in rules:
        outgoing = rule.apply(dialled)
        if outgoing and (best is None or len(rule.prefix) > best[0]):
            best = len(rule.prefix), outgoing
    return best


def is_beginning(rules: tuple[Rule, ...], dialled: str) -> bool:
    """Whether more digits could make `dialled` one for these rules."""
    return any(rule.prefix.startswith(dialled) and rule.prefix != dialled for rule in rules)
