"""An account on its way from one node to another: its key, and so its number, come along."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Self

import msgspec

from federation.model.clocks import Entropy, UnixTime
from federation.model.identity import KEY_BYTES, AccountKey
from node.accounts.account import Account, AccountKind, PasswordHashes
from node.accounts.book import AccountBook
from node.accounts.login import AccountError, Reserved
from node.accounts.wanted import WantedAccount, check_wanted, make_account
from node.sip.digest import DigestPreference

MAX_BYTES = 65536
MAX_ALIASES = 256
_HEX = "0123456789abcdef"


class MovedHashes(msgspec.Struct, frozen=True, kw_only=True):
    """What a password left, for one user name."""

    username: str
    ha1_md5: str
    ha1_sha256: str

    def __post_init__(self) -> None:
        for text, length in ((self.ha1_md5, 32), (self.ha1_sha256, 64)):
            if len(text) != length or text.strip(_HEX):
                raise ValueError("a hash is not one")
        if len(self.username) > 320:
            raise ValueError("a user name is too long")


class MovedAccount(msgspec.Struct, frozen=True, kw_only=True):
    """What an export holds. Later versions may add fields."""

    login: str
    name: str
    extension: str | None
    seed: bytes
    "The 32 secret bytes of the account's key."
    number: str | None
    node: str
    "Text of the key of the node it comes from."
    digest: DigestPreference
    created_at: float
    hashes: tuple[MovedHashes, ...] = ()
    "Of the password, the login's own first; none where the password stays behind."

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.login!r}, from {self.node[:8]}…)"

    def __post_init__(self) -> None:
        if len(self.seed) != KEY_BYTES or len(self.hashes) > MAX_ALIASES:
            raise ValueError("the key is not one, or there are too many user names")

    @classmethod
    def of(cls, account: Account, node: str, *, with_password: bool = True) -> Self:
        """An account of this node.

        Raises:
            AccountError: it is not a user's.
        """
        if account.kind is not AccountKind.USER:
            what = "a trunk" if account.kind is AccountKind.TRUNK else "a ring group"
            raise AccountError(
                f"{account.login} is {what}: only users move alone; ringmesh backup moves the node"
            )
        kept = (account.hashes, *account.aliases) if with_password else ()
        return cls(
            login=account.login,
            name=account.name,
            extension=account.extension,
            seed=account.seed,
            number=None if account.number is None else str(account.number),
            node=node,
            digest=account.digest,
            created_at=account.created_at,
            hashes=tuple(
                MovedHashes(username=one.username, ha1_md5=one.ha1_md5, ha1_sha256=one.ha1_sha256)
                for one in kept
            ),
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read what `encode` wrote.

        Raises:
            AccountError: it is something else.
        """
        try:
            return msgspec.json.decode(data, type=cls)
        except (msgspec.DecodeError, ValueError) as error:
            raise AccountError("the file holds no account that can be read") from error

    def encode(self) -> bytes:
        """As it stands in the file, and in the API."""
        return msgspec.json.encode(self)


class Arrival(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be different at the new node."""

    login: str | None = None
    "`None`: as it was."
    extension: str | None = None
    "`None`: as it was; empty: none."
    password: str | None = None
    "`None`: as it was, or a new one where that stayed behind or the login changes."


def arrived_account(
    moved: MovedAccount,
    arrival: Arrival,
    book: AccountBook,
    *,
    domains: Sequence[str],
    reserved: Reserved,
    entropy: Entropy,
    now: UnixTime,
) -> tuple[Account, str | None]:
    """The account as it will be here, and its password where it has a new one.

    Its number is derived from the key again, whatever the file says.

    Raises:
        AccountError: it cannot be here; the text says why and what would do.
    """
    key = AccountKey(moved.seed)
    if there := book.by_id(key.id):
        raise AccountError(f"this account is here already, as {there.login}")
    extension = moved.extension if arrival.extension is None else arrival.extension or None
    wanted = WantedAccount(
        login=arrival.login or moved.login,
        password=arrival.password,
        extension=extension,
        name=moved.name,
        digest=moved.digest,
    )
    try:
        check_wanted(wanted, book, {}, reserved)
    except AccountError as error:
        raise AccountError(
            f"{error} (--login and --extension give it others here; --extension '' none)"
        ) from error
    made = make_account(wanted, domains, entropy, now, key)
    kept = {one.username: one for one in moved.hashes}
    account = replace(made.account, created_at=UnixTime(moved.created_at))
    if arrival.password is not None or account.login not in kept:
        return account, made.password
    known = {account.login, *(alias.username for alias in account.aliases)}
    hashes = [
        PasswordHashes(username=name, ha1_md5=one.ha1_md5, ha1_sha256=one.ha1_sha256)
        for name, one in kept.items()
        if name in known
    ]
    own = next(one for one in hashes if one.username == account.login)
    aliases = tuple(one for one in hashes if one is not own)
    return replace(account, hashes=own, aliases=aliases), None
