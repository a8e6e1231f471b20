"""Accounts of a running node: committed first, then known; numbers come later."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from node.accounts.book import AccountAdded, AccountBook, AccountChanged, AccountRemoved
from node.accounts.keeper import AccountKeeper
from node.accounts.login import AccountError
from node.accounts.numbers import NumberDeriver
from node.accounts.rows import load_accounts
from node.accounts.wanted import WantedAccount
from node.storage.database import Database
from node.storage.errors import StorageError
from node.storage.storage import Storage
from tests.support.account_tools import GatedNumbers, StandingClock, cheap_number
from tests.support.sip_exchange import SeededEntropy


@asynccontextmanager
async def a_keeper(state: Path, derive: object = cheap_number) -> AsyncIterator[AccountKeeper]:
    storage = Storage(Database.open(state), interval=0.001)
    with storage.database.read() as connection:
        book = AccountBook(load_accounts(connection))
    storage.start()
    keeper = AccountKeeper(
        book,
        storage,
        clock=StandingClock(),
        entropy=SeededEntropy(),
        domains=lambda: ["example.org"],
        deriver=NumberDeriver(threads=2, derive=derive),  # type: ignore[arg-type]
    )
    keeper.start()
    try:
        yield keeper
    finally:
        await keeper.close()
        await storage.close()


def stored(state: Path) -> dict[str, object]:
    database = Database.open(state)
    with database.read() as connection:
        found = {account.login: account.number for account in load_accounts(connection)}
    database.close()
    return found


async def test_an_account_works_before_its_number_is_there(tmp_path: Path) -> None:
    numbers = GatedNumbers()
    async with a_keeper(tmp_path, numbers) as keeper:
        heard: list[type] = []
        keeper.book.listen(lambda change: heard.append(type(change)))
        (made,) = await keeper.add([WantedAccount(login="alice")])
        assert keeper.book.credential("alice@example.org") is not None
        assert (made.account.number, heard, keeper.deriving) == (None, [AccountAdded], 1)
        assert stored(tmp_path) == {"alice": None}
        numbers.gate.set()
        number = await keeper.number_of("alice")
        assert number == cheap_number(made.account.id)
        assert heard == [AccountAdded, AccountChanged]
        assert keeper.book.by_number(number) == keeper.book.by_login("alice")
        assert stored(tmp_path) == {"alice": number}
        assert await keeper.number_of("alice") == number


async def test_a_number_that_was_missing_is_derived_after_the_next_start(tmp_path: Path) -> None:
    numbers = GatedNumbers()
    async with a_keeper(tmp_path, numbers) as keeper:
        await keeper.add([WantedAccount(login="alice"), WantedAccount(login="bob")])
        closing = asyncio.ensure_future(keeper.close())
        await closing
        assert keeper.deriving == 0
        numbers.gate.set()
    assert stored(tmp_path) == {"alice": None, "bob": None}
    async with a_keeper(tmp_path) as keeper:
        expected = {account.login: cheap_number(account.id) for account in keeper.book}
        found = {login: await keeper.number_of(login) for login in expected}
        assert found == expected
    assert stored(tmp_path) == expected


async def test_of_two_at_once_with_one_login_one_is_made(tmp_path: Path) -> None:
    async with a_keeper(tmp_path) as keeper:
        wanted = [WantedAccount(login="alice")]
        results = await asyncio.gather(
            keeper.add(wanted), keeper.add(wanted), return_exceptions=True
        )
        assert [type(result) for result in results] == [list, AccountError]
        assert len(keeper.book) == 1


async def test_a_batch_is_added_as_a_whole_or_not(tmp_path: Path) -> None:
    async with a_keeper(tmp_path) as keeper:
        with pytest.raises(AccountError, match=r"^line 2, login 'Bob'"):
            await keeper.add(
                [WantedAccount(login="alice"), WantedAccount(login="Bob", place="line 2, ")]
            )
        assert len(keeper.book) == 0
    assert stored(tmp_path) == {}


async def test_a_password_set_while_the_number_is_derived_loses_neither(tmp_path: Path) -> None:
    numbers = GatedNumbers()
    async with a_keeper(tmp_path, numbers) as keeper:
        await keeper.add([WantedAccount(login="alice")])
        changing = asyncio.ensure_future(keeper.set_password("alice", "a new password"))
        numbers.gate.set()
        made = await changing
        number = await keeper.number_of("alice")
        account = keeper.book.by_login("alice")
        assert account is not None
        assert (account.number, account.hashes) == (number, made.account.hashes)
        assert made.password == "a new password"
    async with a_keeper(tmp_path) as keeper:
        assert keeper.book.by_login("alice") == account


async def test_a_removed_account_is_not_brought_back_by_its_number(tmp_path: Path) -> None:
    numbers = GatedNumbers()
    async with a_keeper(tmp_path, numbers) as keeper:
        await keeper.add([WantedAccount(login="alice")])
        heard: list[object] = []
        keeper.book.listen(heard.append)
        account = await keeper.remove("alice")
        numbers.gate.set()
        await keeper.add([WantedAccount(login="alice")])
        again = await keeper.number_of("alice")
        assert heard[0] == AccountRemoved(account)
        assert again != cheap_number(account.id)
    assert stored(tmp_path) == {"alice": again}


async def test_what_could_not_be_committed_is_not_known_either(tmp_path: Path) -> None:
    async with a_keeper(tmp_path) as keeper:
        await keeper.add([WantedAccount(login="alice")])
        before = keeper.book.by_login("alice")
        await keeper._storage.close()
        for change in (
            keeper.add([WantedAccount(login="bob")]),
            keeper.set_password("alice"),
            keeper.remove("alice"),
        ):
            with pytest.raises(StorageError, match="closed"):
                await change
        after = keeper.book.by_login("alice")
        assert after is not None
        assert before is not None
        assert (len(keeper.book), after.hashes) == (1, before.hashes)
