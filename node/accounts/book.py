"""Every account in memory, found by login, number or extension without asking the database."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from federation.model.errors import UsageError
from federation.model.identity import AccountId
from node.accounts.account import Account
from node.sip.digest import StoredCredential


@dataclass(frozen=True, slots=True)
class AccountAdded:
    """An account exists that did not before."""

    account: Account


@dataclass(frozen=True, slots=True)
class AccountChanged:
    """An account has another number, password, name or extension than before."""

    before: Account
    after: Account


@dataclass(frozen=True, slots=True)
class AccountRemoved:
    """An account is gone."""

    account: Account


AccountChange = AccountAdded | AccountChanged | AccountRemoved
Listener = Callable[[AccountChange], None]


class AccountBook:
    """The accounts of a node. It answers for the SIP path and tells listeners what changes.

    It does not store: whoever changes an account commits first, then tells the book.
    """

    def __init__(self, accounts: Iterable[Account] = ()) -> None:
        self._by_login: dict[str, Account] = {}
        self._by_number: dict[str, Account] = {}
        self._by_extension: dict[str, Account] = {}
        self._by_id: dict[AccountId, Account] = {}
        self._listeners: list[Listener] = []
        for account in accounts:
            self._insert(account)

    def __len__(self) -> int:
        return len(self._by_login)

    def __iter__(self) -> Iterator[Account]:
        return iter(tuple(self._by_login.values()))

    def by_login(self, login: str) -> Account | None:
        """The account with this login, in any case."""
        return self._by_login.get(login) or self._by_login.get(login.lower())

    def by_number(self, number: str) -> Account | None:
        """The account with this number of 15 digits."""
        return self._by_number.get(number)

    def by_extension(self, extension: str) -> Account | None:
        """The account with this short number."""
        return self._by_extension.get(extension)

    def by_id(self, account: AccountId) -> Account | None:
        """The account with this public key."""
        return self._by_id.get(account)

    def find(self, user: str) -> Account | None:
        """The account that a user part names: by login, then extension, then number."""
        return self.by_login(user) or self._by_extension.get(user) or self._by_number.get(user)

    def credential(self, username: str) -> StoredCredential | None:
        """What a digest under this user name is checked against; `login@domain` is one too."""
        account = self._by_login.get(username.partition("@")[0])
        return account.credential(username) if account is not None else None

    def listen(self, listener: Listener) -> None:
        """Have `listener` called after each change, in the thread that makes it."""
        self._listeners.append(listener)

    def add(self, account: Account) -> None:
        """Take a new account in.

        Raises:
            UsageError: its login, number, extension or key is taken.
        """
        self._insert(account)
        self._tell(AccountAdded(account))

    def change(self, account: Account) -> None:
        """Replace the account of the same login.

        Raises:
            UsageError: there is none, or a number or extension is taken.
        """
        before = self._remove(account.login)
        try:
            self._insert(account)
        except UsageError:
            self._insert(before)
            raise
        self._tell(AccountChanged(before, account))

    def remove(self, login: str) -> Account:
        """Drop an account and return it.

        Raises:
            UsageError: there is none.
        """
        account = self._remove(login)
        self._tell(AccountRemoved(account))
        return account

    def _insert(self, account: Account) -> None:
        if (
            account.login in self._by_login
            or account.id in self._by_id
            or (account.number is not None and account.number in self._by_number)
            or (account.extension is not None and account.extension in self._by_extension)
        ):
            raise UsageError(f"account {account.login}: login, number, extension or key is taken")
        self._by_login[account.login] = account
        self._by_id[account.id] = account
        if account.number is not None:
            self._by_number[account.number] = account
        if account.extension is not None:
            self._by_extension[account.extension] = account

    def _remove(self, login: str) -> Account:
        account = self._by_login.pop(login, None)
        if account is None:
            raise UsageError(f"no account {login}")
        del self._by_id[account.id]
        if account.number is not None:
            del self._by_number[account.number]
        if account.extension is not None:
            del self._by_extension[account.extension]
        return account

    def _tell(self, change: AccountChange) -> None:
        for listener in self._listeners:
            listener(change)
