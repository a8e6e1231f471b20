"""Accounts that move to another node: what comes along, what cannot."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.model.clocks import SystemEntropy, UnixTime
from federation.model.identity import AccountKey
from node.accounts.account import Account, AccountKind
from node.accounts.book import AccountBook
from node.accounts.login import AccountError, Reserved
from node.accounts.moved import Arrival, MovedAccount, arrived_account
from node.accounts.wanted import WantedAccount, make_accounts
from tests.support.account_tools import NOW

NODE = "a" * 52
DOMAINS = ("example.org", "old.example")


def made(login: str = "alice", **more: object) -> Account:
    wanted = WantedAccount(login=login, **more)  # type: ignore[arg-type]
    return make_accounts(
        [wanted],
        AccountBook(),
        domains=DOMAINS,
        reserved=Reserved(),
        entropy=SystemEntropy(),
        now=UnixTime(5.0),
    )[0].account


def arrive(
    moved: MovedAccount, book: AccountBook | None = None, **arrival: str
) -> tuple[Account, str | None]:
    return arrived_account(
        moved,
        Arrival(**arrival),
        AccountBook() if book is None else book,
        domains=("example.org", "new.example"),
        reserved=Reserved(),
        entropy=SystemEntropy(),
        now=NOW,
    )


def travelled(account: Account, *, with_password: bool = True) -> MovedAccount:
    moved = MovedAccount.of(account, NODE, with_password=with_password)
    return MovedAccount.decode(moved.encode())


def test_key_and_password_come_along() -> None:
    account = made(extension="101", name="Alice A.")
    arrived, password = arrive(travelled(account))
    assert password is None
    assert arrived.id == account.id
    assert (arrived.name, arrived.extension, arrived.created_at) == ("Alice A.", "101", 5.0)
    assert arrived.hashes == account.hashes
    assert [alias.username for alias in arrived.aliases] == ["alice@example.org"], (
        "of the names that the password was hashed for, those that this node has"
    )
    assert arrived.number is None, "it is derived again, whatever the file says"


def test_a_password_can_stay_behind() -> None:
    arrived, password = arrive(travelled(made(), with_password=False))
    assert password is not None
    assert arrived.credential("alice@new.example") is not None


@pytest.mark.parametrize("change", [{"login": "alice2"}, {"password": "chosen here"}])
def test_another_login_or_password_makes_new_hashes(change: dict[str, str]) -> None:
    account = made()
    arrived, password = arrive(travelled(account), **change)
    assert password == change.get("password", password) is not None
    assert arrived.hashes != account.hashes
    assert arrived.id == account.id


def test_what_is_taken_here_is_named_with_the_way_out() -> None:
    there = AccountBook([made("alice", extension="101")])
    with pytest.raises(AccountError, match=r"login 'alice': there is one already.*--login"):
        arrive(travelled(made()), there)
    with pytest.raises(AccountError, match=r"extension '101'.*--extension '' none"):
        arrive(travelled(made("bob", extension="101")), there)
    arrived, _ = arrive(travelled(made("bob", extension="101")), there, extension="")
    assert arrived.extension is None


def test_an_account_arrives_once() -> None:
    account = made()
    with pytest.raises(AccountError, match="here already, as alice"):
        arrive(travelled(account), AccountBook([account]), login="other")


@pytest.mark.parametrize("kind", [AccountKind.TRUNK, AccountKind.GROUP])
def test_only_users_move(kind: AccountKind) -> None:
    with pytest.raises(AccountError, match="only users move alone"):
        MovedAccount.of(made(kind=kind), NODE)


@given(st.binary(max_size=200))
def test_anything_else_earns_one_error(data: bytes) -> None:
    with pytest.raises(AccountError):
        MovedAccount.decode(data)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": "c2hvcnQ="},
        {"digest": "rot13"},
        {"login": None},
        {"hashes": [{"username": "alice", "ha1_md5": "x" * 32, "ha1_sha256": "0" * 64}]},
        {"hashes": [{"username": "alice", "ha1_md5": "0" * 31, "ha1_sha256": "0" * 64}]},
    ],
)
def test_fields_are_checked(change: dict[str, object]) -> None:
    plain = msgspec.json.decode(MovedAccount.of(made(), NODE).encode())
    with pytest.raises(AccountError):
        MovedAccount.decode(msgspec.json.encode(plain | change))


def test_nothing_secret_is_shown() -> None:
    account = made()
    moved = MovedAccount.of(account, NODE)
    assert AccountKey(moved.seed).id == account.id
    assert account.hashes.ha1_md5 not in repr(moved)
    assert repr(moved.seed) not in repr(moved)
