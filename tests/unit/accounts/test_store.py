"""Accounts in a stopped node's database."""

import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from federation.model.identity import AccountId, AccountKey
from federation.model.number import Number, derive_number
from node.accounts.account import AccountKind
from node.accounts.login import AccountError
from node.accounts.numbers import NICENESS, NumberDeriver
from node.accounts.password import PASSWORD_LENGTH
from node.accounts.store import AccountStore
from node.accounts.wanted import MAX_BATCH, WantedAccount
from node.sip.digest import DigestPreference
from node.storage.database import DATABASE_FILE, Database
from tests.support.account_tools import NOW, StandingClock, cheap_number
from tests.support.sip_exchange import SeededEntropy


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database.open(tmp_path)
    yield opened
    opened.close()


def a_store(database: Database, seed: int = 1) -> AccountStore:
    return AccountStore(
        database,
        clock=StandingClock(),
        entropy=SeededEntropy(seed),
        domains=["example.org", "192.0.2.1", "example.org"],
    )


def test_an_account_is_there_for_the_next_process(database: Database) -> None:
    wanted = WantedAccount(
        login="alice", extension="101", name="Alice Müller", digest=DigestPreference.SHA256
    )
    (made,) = a_store(database).add([wanted])
    assert len(made.password) == PASSWORD_LENGTH
    account = a_store(database, seed=2).get("alice")
    assert account == made.account
    assert (account.kind, account.number, account.created_at) == (AccountKind.USER, None, NOW)
    assert [alias.username for alias in account.aliases] == ["alice@192.0.2.1", "alice@example.org"]
    assert account.key.id == account.id


def test_a_password_stands_nowhere_on_disk(database: Database, tmp_path: Path) -> None:
    store = a_store(database)
    (made,) = store.add([WantedAccount(login="alice")])
    again = store.set_password("alice", "another password")
    database.close()
    files = list(tmp_path.iterdir())
    assert [file.name for file in files] == [DATABASE_FILE]
    content = files[0].read_bytes()
    assert b"alice" in content
    for password in (made.password, again.password):
        assert password.encode() not in content
    if os.name == "posix":
        assert stat.S_IMODE(files[0].stat().st_mode) == 0o600


def test_a_new_password_keeps_the_identity(database: Database) -> None:
    store = a_store(database)
    (before,) = store.add([WantedAccount(login="alice")])
    after = store.set_password("alice")
    assert after.password != before.password
    assert after.account.id == before.account.id
    assert after.account.hashes != before.account.hashes
    assert a_store(database).get("alice") == after.account


def test_a_bad_new_password_changes_nothing(database: Database) -> None:
    store = a_store(database)
    (made,) = store.add([WantedAccount(login="alice")])
    with pytest.raises(AccountError, match="use 8 to 128"):
        store.set_password("alice", "short")
    assert a_store(database).get("alice") == made.account


def test_a_removed_account_is_gone_with_all_that_is_its_own(database: Database) -> None:
    store = a_store(database)
    store.add([WantedAccount(login="alice"), WantedAccount(login="bob")])
    store.remove("alice")
    for book in (store.book, a_store(database).book):
        assert [account.login for account in book] == ["bob"]
    store.add([WantedAccount(login="alice")])
    assert len(a_store(database).book) == 2


@pytest.mark.parametrize("verb", ["get", "set_password", "remove"])
def test_an_unknown_login_is_told_where_to_look(database: Database, verb: str) -> None:
    with pytest.raises(AccountError) as refused:
        getattr(a_store(database), verb)("eve")
    assert str(refused.value) == "no account 'eve' here; `ringmesh user list` shows which there are"


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        (
            WantedAccount(login="alice", place="line 3, "),
            "line 3, login 'alice': there is one already; choose another, "
            "or remove that account first",
        ),
        (
            WantedAccount(login="carol", extension="101"),
            "extension '101': account alice is called by it already; choose another",
        ),
        (
            WantedAccount(login="101"),
            "login '101': account alice is called by it already; choose another",
        ),
        (
            WantedAccount(login="carol", extension="200"),
            "extension '200': account 200 is called by it already; choose another",
        ),
        (
            WantedAccount(login="carol", password="short", place="line 9, "),
            "line 9, the password of carol has 5 characters; use 8 to 128, "
            "or leave it out to have a good one generated",
        ),
    ],
)
def test_one_bad_account_keeps_all_of_its_batch_out(
    database: Database, wanted: WantedAccount, sentence: str
) -> None:
    store = a_store(database)
    store.add([WantedAccount(login="alice", extension="101"), WantedAccount(login="200")])
    with pytest.raises(AccountError) as refused:
        store.add([WantedAccount(login="before"), wanted, WantedAccount(login="after")])
    assert str(refused.value) == sentence
    for book in (store.book, a_store(database).book):
        assert sorted(account.login for account in book) == ["200", "alice"]


@pytest.mark.parametrize(
    ("second", "said"),
    [
        (WantedAccount(login="alice"), "there is one already"),
        (WantedAccount(login="bob", extension="101"), "account alice is called by it already"),
        (WantedAccount(login="101"), "account alice is called by it already"),
    ],
)
def test_a_batch_may_not_contradict_itself(
    database: Database, second: WantedAccount, said: str
) -> None:
    with pytest.raises(AccountError, match=said):
        a_store(database).add([WantedAccount(login="alice", extension="101"), second])
    assert len(a_store(database).book) == 0


def test_an_account_may_have_its_login_as_extension(database: Database) -> None:
    a_store(database).add([WantedAccount(login="101", extension="101")])
    assert a_store(database).get("101").extension == "101"


def test_a_batch_is_limited(database: Database) -> None:
    with pytest.raises(AccountError, match="at most 100000"):
        a_store(database).add([WantedAccount(login="a")] * (MAX_BATCH + 1))


def test_numbers_are_derived_for_all_and_stored(database: Database) -> None:
    store = a_store(database)
    store.add([WantedAccount(login=f"user{n}") for n in range(20)])
    progress: list[tuple[int, int]] = []
    numbers = store.derive_numbers(
        lambda done, of: progress.append((done, of)),
        deriver=NumberDeriver(threads=2, derive=cheap_number),
    )
    assert progress == [(n, 20) for n in range(1, 21)]
    reread = a_store(database).book
    assert {account.login: account.number for account in reread} == numbers
    assert all(store.book.by_number(n) is store.get(login) for login, n in numbers.items())
    assert store.derive_numbers(lambda *_: pytest.fail("nothing was missing")) == {}


def test_the_number_is_the_one_of_the_accounts_key(database: Database) -> None:
    store = a_store(database)
    (made,) = store.add([WantedAccount(login="alice")])
    assert store.derive_numbers() == {"alice": derive_number(made.account.id)}


def test_many_accounts_in_one_batch(database: Database) -> None:
    made = a_store(database).add([WantedAccount(login=f"u{n}") for n in range(2000)])
    assert len(made) == len(a_store(database).book) == 2000


@pytest.mark.skipif(not hasattr(os, "setpriority"), reason="this system has no priorities")
def test_deriving_gives_way_to_everything_else() -> None:
    seen: list[int] = []

    def derive(account: AccountId) -> Number:
        seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        return cheap_number(account)

    deriver = NumberDeriver(threads=1, derive=derive)
    deriver.submit(AccountKey(b"k" * 32).id).result(timeout=10)
    deriver.close()
    assert seen == [NICENESS]
    assert os.getpriority(os.PRIO_PROCESS, 0) < NICENESS
