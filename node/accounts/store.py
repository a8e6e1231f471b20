"""The accounts of a node that is not running, changed directly in its database."""

from collections.abc import Callable, Sequence
from concurrent.futures import as_completed
from dataclasses import replace

from federation.model.clocks import Clock, Entropy
from federation.model.number import Number
from node.accounts.account import Account
from node.accounts.book import AccountBook
from node.accounts.login import Reserved
from node.accounts.moved import Arrival, MovedAccount, arrived_account
from node.accounts.numbers import NumberDeriver
from node.accounts.rows import (
    delete_account,
    insert_accounts,
    load_accounts,
    store_number,
    update_account,
)
from node.accounts.wanted import (
    MadeAccount,
    WantedAccount,
    existing_account,
    make_accounts,
    with_password,
)
from node.storage.database import Database

Progress = Callable[[int, int], None]
"Called with how many are done, and of how many."


class AccountStore:
    """Adds, changes and removes accounts, each committed before the call returns.

    Every method may raise `StorageError`, and `AccountError` with a sentence for the person.
    """

    def __init__(
        self,
        database: Database,
        *,
        clock: Clock,
        entropy: Entropy,
        domains: Sequence[str] = (),
        reserved: Reserved | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._entropy = entropy
        self._domains = domains
        self._reserved = reserved or Reserved()
        with database.read() as connection:
            self.book = AccountBook(load_accounts(connection))
        "All accounts as they are stored."

    def get(self, login: str) -> Account:
        """The account of that login."""
        return existing_account(self.book, login)

    def add(self, wanted: Sequence[WantedAccount]) -> list[MadeAccount]:
        """Add all of them or none. They can be used at once; `derive_numbers` gives numbers."""
        made = make_accounts(
            wanted,
            self.book,
            domains=self._domains,
            reserved=self._reserved,
            entropy=self._entropy,
            now=self._clock.unix(),
        )
        with self._database.write() as connection:
            insert_accounts(connection, (each.account for each in made))
        for each in made:
            self.book.add(each.account)
        return made

    def take_in(self, moved: MovedAccount, arrival: Arrival) -> tuple[Account, str | None]:
        """Add an account of another node; also its password where it has a new one."""
        account, password = arrived_account(
            moved,
            arrival,
            self.book,
            domains=self._domains,
            reserved=self._reserved,
            entropy=self._entropy,
            now=self._clock.unix(),
        )
        with self._database.write() as connection:
            insert_accounts(connection, [account])
        self.book.add(account)
        return account, password

    def set_password(self, login: str, password: str | None = None) -> MadeAccount:
        """Give an account another password, a generated one by default."""
        made = with_password(
            self.get(login), password, domains=self._domains, entropy=self._entropy
        )
        with self._database.write() as connection:
            update_account(connection, made.account)
        self.book.change(made.account)
        return made

    def remove(self, login: str) -> Account:
        """Remove an account and its registrations."""
        account = self.get(login)
        with self._database.write() as connection:
            delete_account(connection, account.login)
        return self.book.remove(account.login)

    def derive_numbers(
        self, on_progress: Progress | None = None, *, deriver: NumberDeriver | None = None
    ) -> dict[str, Number]:
        """Derive and store every number that is missing, on all cores; returned by login.

        Each is stored as it comes, so nothing is lost when this is interrupted.
        """
        missing = [account for account in self.book if account.number is None]
        numbers: dict[str, Number] = {}
        if not missing:
            return numbers
        own = deriver or NumberDeriver()
        try:
            waiting = {own.submit(account.id): account for account in missing}
            for future in as_completed(waiting):
                account, number = waiting[future], future.result()
                with self._database.write(durable=False) as connection:
                    store_number(connection, account.id, number)
                self.book.change(replace(account, number=number))
                numbers[account.login] = number
                if on_progress is not None:
                    on_progress(len(numbers), len(missing))
        finally:
            own.close()
        return numbers
