"""Under which names an account may appear in From, and may register in To."""

from dataclasses import dataclass

from node.accounts.account import Account, AccountKind
from node.accounts.login import MAX_EXTENSION


@dataclass(frozen=True, slots=True)
class Appearance:
    """An account, or one of the people behind a trunk."""

    account: Account
    extension: str | None = None
    "The extension behind a trunk, which appears as `number*extension`."


def appearance_of(account: Account, user: str) -> Appearance | None:
    """How `account` appears under the user part `user`; `None` if it may not.

    A user appears by login, extension or number. Someone behind a trunk also by a short extension,
    bare or after the trunk's login or number and a `*`.
    """
    if user in (account.login, account.extension, account.number):
        return Appearance(account)
    if account.kind is not AccountKind.TRUNK:
        return None
    trunk, star, extension = user.rpartition("*")
    if star and trunk not in (account.login, account.extension, account.number):
        return None
    if extension.isascii() and extension.isdigit() and len(extension) <= MAX_EXTENSION:
        return Appearance(account, extension)
    return None
