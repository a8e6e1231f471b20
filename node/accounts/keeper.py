"""The accounts of a running node (shell): commits each change, then tells the book.

A new account can be used at once. Its number is derived in a thread meanwhile, and reaches the
book's listeners as a change when it is there.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

import structlog

from federation.model.clocks import Clock, Entropy
from federation.model.number import Number
from node.accounts.account import Account
from node.accounts.book import AccountBook
from node.accounts.login import Reserved
from node.accounts.moved import Arrival, MovedAccount, arrived_account
from node.accounts.numbers import NumberDeriver
from node.accounts.rows import delete_account, insert_accounts, store_number, update_account
from node.accounts.wanted import (
    MadeAccount,
    WantedAccount,
    existing_account,
    make_accounts,
    with_password,
)
from node.storage.errors import StorageError
from node.storage.storage import Storage

log = structlog.get_logger("accounts")


class AccountKeeper:
    """Adds, changes and removes accounts, each committed before the call returns.

    Coroutines may raise `StorageError`, and `AccountError` with a sentence for the person; nothing
    was changed then.
    """

    def __init__(
        self,
        book: AccountBook,
        storage: Storage,
        *,
        clock: Clock,
        entropy: Entropy,
        domains: Callable[[], Sequence[str]],
        reserved: Reserved | None = None,
        deriver: NumberDeriver | None = None,
    ) -> None:
        """`domains` names what devices may put after a login, at the time a password is set."""
        self.book = book
        self._storage = storage
        self._clock = clock
        self._entropy = entropy
        self._domains = domains
        self._reserved = reserved or Reserved()
        self._deriver = deriver or NumberDeriver()
        self._changing = asyncio.Lock()
        self._deriving: dict[str, asyncio.Task[None]] = {}

    def start(self) -> None:
        """Begin to derive the numbers that are still missing."""
        for account in self.book:
            if account.number is None:
                self._derive(account)

    async def close(self) -> None:
        """End the derivations; what is missing then is derived after the next start."""
        tasks = tuple(self._deriving.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._deriver.close()

    @property
    def deriving(self) -> int:
        """How many numbers are still being derived."""
        return len(self._deriving)

    async def number_of(self, login: str) -> Number:
        """The account's number, waited for if it is still being derived."""
        account = existing_account(self.book, login)
        task = self._deriving.get(account.login)
        if account.number is None and task is not None:
            await asyncio.wait((task,))
            account = existing_account(self.book, login)
        if account.number is None:
            raise StorageError(
                f"the number of {login} could not be derived; it will be tried again"
            )
        return account.number

    async def add(self, wanted: Sequence[WantedAccount]) -> list[MadeAccount]:
        """Add all of them or none."""
        async with self._changing:
            made = make_accounts(
                wanted,
                self.book,
                domains=self._domains(),
                reserved=self._reserved,
                entropy=self._entropy,
                now=self._clock.unix(),
            )
            added = [each.account for each in made]
            await self._storage.run(lambda connection: insert_accounts(connection, added))
            for account in added:
                self.book.add(account)
                self._derive(account)
        return made

    async def take_in(self, moved: MovedAccount, arrival: Arrival) -> tuple[Account, str | None]:
        """Add an account of another node; also its password where it has a new one."""
        async with self._changing:
            account, password = arrived_account(
                moved,
                arrival,
                self.book,
                domains=self._domains(),
                reserved=self._reserved,
                entropy=self._entropy,
                now=self._clock.unix(),
            )
            await self._storage.run(lambda connection: insert_accounts(connection, [account]))
            self.book.add(account)
            self._derive(account)
        return account, password

    async def set_password(self, login: str, password: str | None = None) -> MadeAccount:
        """Give an account another password, a generated one by default."""
        async with self._changing:
            made = with_password(
                existing_account(self.book, login),
                password,
                domains=self._domains(),
                entropy=self._entropy,
            )
            await self._storage.run(lambda connection: update_account(connection, made.account))
            # The number may have come meanwhile.
            number = existing_account(self.book, login).number
            changed = replace(made.account, number=number)
            self.book.change(changed)
        return MadeAccount(changed, made.password)

    async def remove(self, login: str) -> Account:
        """Remove an account. Its registrations in memory are the registrar's to drop."""
        async with self._changing:
            account = existing_account(self.book, login)
            await self._storage.run(lambda connection: delete_account(connection, account.login))
            task = self._deriving.pop(account.login, None)
            if task is not None:
                task.cancel()
            return self.book.remove(account.login)

    def _derive(self, account: Account) -> None:
        task = asyncio.get_running_loop().create_task(self._derive_one(account))
        self._deriving[account.login] = task
        task.add_done_callback(lambda _: self._forget(account.login, task))

    def _forget(self, login: str, task: "asyncio.Task[None]") -> None:
        if self._deriving.get(login) is task:
            del self._deriving[login]

    async def _derive_one(self, account: Account) -> None:
        number = await asyncio.wrap_future(self._deriver.submit(account.id))
        try:
            await self._storage.run(lambda connection: store_number(connection, account.id, number))
        except StorageError as error:
            # Usable all the same; derived once more after the next start.
            log.warning("number_not_stored", login=account.login, reason=str(error))
        current = self.book.by_login(account.login)
        if current is not None and current.id == account.id:
            self.book.change(replace(current, number=number))
            log.info("number_derived", login=account.login, number=number)
