"""From what a person asks for to accounts: every rule is checked before anything is made."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from federation.model.clocks import Entropy, UnixTime
from federation.model.identity import KEY_BYTES, AccountKey
from node.accounts.account import Account, AccountKind, hash_password
from node.accounts.book import AccountBook
from node.accounts.login import (
    AccountError,
    Reserved,
    check_extension,
    check_login,
    check_name,
    check_password,
)
from node.accounts.password import generate_password
from node.sip.digest import DigestPreference

MAX_BATCH = 100_000
"Accounts added in one go; they are committed together."


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedAccount:
    """An account that somebody asks for."""

    login: str
    kind: AccountKind = AccountKind.USER
    password: str | None = field(default=None, repr=False)
    "`None` has one generated."
    extension: str | None = None
    name: str = ""
    digest: DigestPreference = DigestPreference.BOTH
    place: str = ""
    "What complaints begin with, such as `line 7, `."


@dataclass(frozen=True, slots=True)
class MadeAccount:
    """An account and its password, which is shown now and never again."""

    account: Account
    password: str = field(repr=False)


def make_accounts(
    wanted: Sequence[WantedAccount],
    book: AccountBook,
    *,
    domains: Sequence[str],
    reserved: Reserved,
    entropy: Entropy,
    now: UnixTime,
) -> list[MadeAccount]:
    """Make all wanted accounts beside those in `book`, each with a new key, none stored yet.

    `domains` are the names that devices may put after the login; a digest with `login@domain` will
    be understood for these.

    Raises:
        AccountError: one of them cannot be; the text names its place and what would do.
    """
    if len(wanted) > MAX_BATCH:
        raise AccountError(f"{len(wanted)} accounts in one go; add at most {MAX_BATCH} at a time")
    users: dict[str, str] = {}
    "Who has a login or extension within this batch."
    for account in wanted:
        try:
            check_wanted(account, book, users, reserved)
        except AccountError as error:
            raise AccountError(f"{account.place}{error}") from error
    return [make_account(account, domains, entropy, now) for account in wanted]


def check_wanted(
    wanted: WantedAccount, book: AccountBook, users: dict[str, str], reserved: Reserved
) -> None:
    """Check one account against the rules, `book`, and `users` of the same batch, which it joins.

    Raises:
        AccountError: it cannot be; the text says what would do.
    """
    check_login(wanted.login, reserved)
    check_name(wanted.name)
    if wanted.password is not None:
        check_password(wanted.password, wanted.login)
    if book.by_login(wanted.login) is not None or users.get(wanted.login) == wanted.login:
        raise AccountError(
            f"login {wanted.login!r}: there is one already; choose another, "
            "or remove that account first"
        )
    names = [wanted.login]
    if wanted.extension is not None:
        check_extension(wanted.extension, reserved)
        if wanted.extension != wanted.login:
            names.append(wanted.extension)
    for name in names:
        found = book.find(name)
        owner = found.login if found is not None else users.get(name)
        if owner is not None:
            kind = "login" if name == wanted.login else "extension"
            raise AccountError(
                f"{kind} {name!r}: account {owner} is called by it already; choose another"
            )
        users[name] = wanted.login


def make_account(
    wanted: WantedAccount,
    domains: Iterable[str],
    entropy: Entropy,
    now: UnixTime,
    key: AccountKey | None = None,
) -> MadeAccount:
    """An account that was checked, with the key it has or a new one; its number is not derived."""
    password = wanted.password or generate_password(entropy)
    key = key or AccountKey(entropy.token(KEY_BYTES))
    hashes, aliases = hash_password(wanted.login, password, domains)
    account = Account(
        login=wanted.login,
        kind=wanted.kind,
        name=wanted.name,
        id=key.id,
        seed=key.seed,
        number=None,
        extension=wanted.extension,
        hashes=hashes,
        aliases=aliases,
        digest=wanted.digest,
        created_at=now,
    )
    return MadeAccount(account, password)


def with_password(
    account: Account, password: str | None, *, domains: Sequence[str], entropy: Entropy
) -> MadeAccount:
    """The account with another password, a generated one for `None`.

    Raises:
        AccountError: the password will not do; the text says what would.
    """
    if password is None:
        password = generate_password(entropy)
    else:
        check_password(password, account.login)
    hashes, aliases = hash_password(account.login, password, domains)
    return MadeAccount(replace(account, hashes=hashes, aliases=aliases), password)


def existing_account(book: AccountBook, login: str) -> Account:
    """The account of that login.

    Raises:
        AccountError: there is none; the text says how to see which there are.
    """
    account = book.by_login(login)
    if account is None:
        raise AccountError(f"no account {login!r} here; `ringmesh user list` shows which there are")
    return account
