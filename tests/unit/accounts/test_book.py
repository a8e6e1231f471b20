"""Accounts found without the database, and what listeners hear."""

from dataclasses import replace

import pytest

from federation.model.clocks import UnixTime
from federation.model.errors import UsageError
from federation.model.identity import AccountKey
from federation.model.number import Number
from node.accounts.account import Account, AccountKind, hash_password
from node.accounts.book import AccountAdded, AccountBook, AccountChanged, AccountRemoved
from node.accounts.identify import Appearance, appearance_of
from node.sip.digest import DigestPreference

NUMBER = Number("022345678901234")


def an_account(login: str, *, seed: int = 1, **changed: object) -> Account:
    key = AccountKey(bytes([seed]) * 32)
    hashes, aliases = hash_password(login, "correct horse", ["example.org"])
    account = Account(
        login=login, kind=AccountKind.USER, name="", id=key.id, seed=key.seed, number=None,
        extension=None, hashes=hashes, aliases=aliases, digest=DigestPreference.BOTH,
        created_at=UnixTime(1.0),
    )  # fmt: skip
    return replace(account, **changed)  # type: ignore[arg-type]


ALICE = an_account("alice", number=NUMBER, extension="101")
BOB = an_account("bob", seed=2)


def test_accounts_are_found_by_each_of_their_names() -> None:
    book = AccountBook([ALICE, BOB])
    assert book.by_login("alice") is book.by_login("ALICE") is ALICE
    assert book.by_number(NUMBER) is book.by_extension("101") is book.by_id(ALICE.id) is ALICE
    assert [book.find(user) for user in ("alice", "101", NUMBER, "bob")] == [ALICE] * 3 + [BOB]
    assert [book.find(user) for user in ("", "102", "eve")] == [None] * 3
    assert (len(book), list(book)) == (2, [ALICE, BOB])


def test_a_digest_user_name_is_the_login_or_one_of_its_aliases() -> None:
    book = AccountBook([ALICE])
    plain, long = book.credential("alice"), book.credential("alice@example.org")
    assert plain is not None
    assert long is not None
    assert plain.login == long.login == "alice"
    assert plain.ha1_md5 != long.ha1_md5
    for other in ("alice@example.net", "Alice", "101", "", "@", "bob"):
        assert book.credential(other) is None


def test_listeners_hear_of_every_change_after_it_was_made() -> None:
    book, heard = AccountBook([ALICE]), []
    book.listen(lambda change: heard.append((change, len(book))))
    book.add(BOB)
    numbered = replace(BOB, number=Number("033333333333333"))
    book.change(numbered)
    book.remove("bob")
    assert heard == [
        (AccountAdded(BOB), 2),
        (AccountChanged(BOB, numbered), 2),
        (AccountRemoved(numbered), 1),
    ]
    assert (book.by_number("033333333333333"), book.by_id(BOB.id)) == (None, None)


def test_a_change_frees_the_old_extension_and_number() -> None:
    book = AccountBook([ALICE])
    book.change(replace(ALICE, extension="102", number=None))
    assert (book.by_extension("101"), book.by_number(NUMBER)) == (None, None)
    assert book.by_extension("102") is book.by_login("alice")


@pytest.mark.parametrize(
    "taken",
    [
        an_account("alice", seed=3),
        an_account("eve", seed=3, number=NUMBER),
        an_account("eve", seed=3, extension="101"),
        an_account("eve", seed=1),
    ],
)
def test_nothing_is_taken_twice(taken: Account) -> None:
    book = AccountBook([ALICE])
    with pytest.raises(UsageError):
        book.add(taken)
    assert list(book) == [ALICE]


def test_a_refused_change_leaves_the_account_as_it_was() -> None:
    book = AccountBook([ALICE, BOB])
    with pytest.raises(UsageError):
        book.change(replace(BOB, extension="101"))
    assert book.by_login("bob") is BOB
    with pytest.raises(UsageError):
        book.change(an_account("eve", seed=5))
    with pytest.raises(UsageError):
        book.remove("eve")


@pytest.mark.parametrize("user", ["alice", "101", NUMBER])
def test_an_account_appears_by_its_own_names(user: str) -> None:
    assert appearance_of(ALICE, user) == Appearance(ALICE)


@pytest.mark.parametrize("user", ["bob", "", "102", "alice*12", f"{NUMBER}*12", "ALICE", "12"])
def test_a_user_appears_by_no_other(user: str) -> None:
    assert appearance_of(ALICE, user) is None


def test_people_behind_a_trunk_appear_by_extension() -> None:
    trunk = replace(ALICE, kind=AccountKind.TRUNK)
    for user in ("12", "alice*12", f"{NUMBER}*12", "101*12"):
        assert appearance_of(trunk, user) == Appearance(trunk, "12")
    for user in ("bob*12", "1234567", "alice*", "alice*x", "*", "*12", "alice*1*2", "x"):
        assert appearance_of(trunk, user) is None


def test_hashes_are_those_of_the_realm() -> None:
    """Compared with `printf 'alice:ringmesh:correct horse' | md5sum` and `sha256sum`."""
    assert ALICE.hashes.ha1_md5 == "9a3654916cc206390b43ef4fdb1fb6f2"
    assert (
        ALICE.hashes.ha1_sha256
        == "f9df5d24603caddaa5583be9f8fb2bc7ab67d43884ba3d9c8032b4ed21ab418a"
    )
    assert (
        ALICE.userhash.hex() == "fec7d0560012039182f2cc2d86adf8c3a1fe38d424a2434ba893e1861b7bb3f8"
    )


def test_no_secret_shows_in_a_log_line() -> None:
    shown = repr(ALICE)
    for secret in (ALICE.hashes.ha1_md5, ALICE.hashes.ha1_sha256, repr(ALICE.seed)):
        assert secret not in shown
    assert ALICE.key.id == ALICE.id
