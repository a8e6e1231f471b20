"""What the directory is told of accounts, over several runs of a node."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from dht.directory import Directory
from dht.prefixes import PrefixOffer
from dht.publisher import Publication as DirectoryEntry
from dht.record import ROUTE_TTL, Accepts, Kind
from federation.model.clocks import Monotonic, UnixTime
from federation.model.identity import AccountId, AccountKey, NodeKey
from federation.model.number import Number
from node.accounts.account import Account, AccountKind, PasswordHashes
from node.accounts.book import AccountBook
from node.publication import Publication
from node.sip.digest import DigestPreference
from node.storage.database import Database
from node.storage.meta import write_meta
from node.storage.published import PREFIX, PublishedNames, load_published
from node.storage.writer import WriteThrough
from node.trunks.book import TrunkBook
from node.trunks.trunk import ProviderSettings, Trunk

NODE = NodeKey(bytes(32)).id


@dataclass
class HeardDirectory:
    """Notes what it is told."""

    heard: list[tuple[Any, ...]] = field(default_factory=list)

    def publish_user(self, login: str, accepts: Accepts) -> None:
        self.heard.append(("user", login))

    def publish_number(self, number: Number, account: AccountKey, accepts: Accepts) -> None:
        self.heard.append(("number", number, account.id))

    def publish_domain(self, domain: str, nodes: tuple[Any, ...]) -> None:
        self.heard.append(("domain", domain, nodes))

    def publish_prefixes(self, trunk: str, offers: tuple[Any, ...]) -> None:
        self.heard.append(("prefixes", trunk, offers))

    def withdraw(self, kind: Kind, label: str, account: AccountId | None = None) -> None:
        self.heard.append(("withdraw", kind, label, account))

    def bury(self, entry: DirectoryEntry) -> None:
        self.heard.append(("bury", entry.kind, entry.label, entry.account and entry.account.id))


@dataclass
class SetClock:
    """A clock that stands."""

    time: float = 1_800_000_000.0

    def unix(self) -> UnixTime:
        return UnixTime(self.time)

    def monotonic(self) -> Monotonic:
        return Monotonic(self.time)


def an_account(login: str, n: int, number: str | None = None) -> Account:
    key = AccountKey(bytes([n]) * 32)
    return Account(
        login=login,
        kind=AccountKind.USER,
        name="",
        id=key.id,
        seed=key.seed,
        number=None if number is None else Number(number),
        extension=None,
        hashes=PasswordHashes.of(login, "secret"),
        aliases=(),
        digest=DigestPreference.BOTH,
        created_at=UnixTime(0.0),
    )


ALICE = an_account("alice", 1, "020000000000001")
BOB = an_account("bob", 2, "030000000000002")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database.open(tmp_path)
    yield opened
    opened.close()


def a_run(
    database: Database,
    *accounts: Account,
    clock: SetClock | None = None,
    domains: tuple[str, ...] = (),
    trunks: TrunkBook | None = None,
) -> tuple[AccountBook, list[tuple[Any, ...]]]:
    """Start a node's publication on what earlier runs left."""
    with database.write() as connection:
        known = load_published(connection)
    book, directory = AccountBook(accounts), HeardDirectory()
    Publication(
        book,
        cast(Directory, directory),
        PublishedNames(known, WriteThrough(database)),
        clock or SetClock(),
        trunks or TrunkBook(),
    ).start(NODE, domains)
    return book, directory.heard


def test_what_is_there_is_published(database: Database) -> None:
    _, heard = a_run(database, ALICE, domains=("example.org",))
    assert heard == [
        ("user", "alice"),
        ("number", ALICE.number, ALICE.id),
        ("domain", "example.org", (NODE,)),
    ]


def test_what_went_while_the_node_was_stopped_is_buried(database: Database) -> None:
    """At the next start and at every one after it, until no record of it can be left."""
    clock = SetClock()
    a_run(database, ALICE, BOB, clock=clock, domains=("example.org",))
    gone = [
        ("bury", Kind.USER, "bob", None),
        ("bury", Kind.NUMBER, BOB.number, BOB.id),
        ("bury", Kind.DOMAIN, "example.org", None),
    ]
    for later in (0, ROUTE_TTL / 2, ROUTE_TTL):
        _, heard = a_run(database, ALICE, clock=SetClock(clock.time + later))
        assert heard[:2] == [("user", "alice"), ("number", ALICE.number, ALICE.id)]
        assert sorted(heard[2:], key=str) == sorted(gone, key=str)
    for _ in range(2):
        _, heard = a_run(database, ALICE, clock=SetClock(clock.time + ROUTE_TTL + 1))
        assert heard == [("user", "alice"), ("number", ALICE.number, ALICE.id)]


def test_a_removal_is_told_at_once_and_again_after_a_restart(database: Database) -> None:
    """The restart may have come before anybody took the tombstone."""
    book, heard = a_run(database, BOB)
    heard.clear()
    book.remove("bob")
    assert heard == [
        ("withdraw", Kind.USER, "bob", None),
        ("withdraw", Kind.NUMBER, BOB.number, BOB.id),
    ]
    _, heard = a_run(database)
    gone = [("bury", Kind.USER, "bob", None), ("bury", Kind.NUMBER, BOB.number, BOB.id)]
    assert sorted(heard, key=str) == sorted(gone, key=str)


def test_who_comes_back_is_not_buried(database: Database) -> None:
    """The same login with another key: the old number goes, the login stays."""
    a_run(database, BOB)
    a_run(database)
    again = an_account("bob", 3, "040000000000003")
    _, heard = a_run(database, again)
    assert heard == [
        ("user", "bob"),
        ("number", again.number, again.id),
        ("bury", Kind.NUMBER, BOB.number, BOB.id),
    ]


def test_an_unreadable_row_harms_nothing(database: Database) -> None:
    a_run(database, BOB)
    with database.write() as connection:
        for name in (f"{PREFIX}2::carol", f"{PREFIX}nonsense", f"{PREFIX}x::y"):
            write_meta(connection, name, b"\xc1")
        assert len(load_published(connection)) == 2
    _, heard = a_run(database, BOB)
    assert heard == [("user", "bob"), ("number", BOB.number, BOB.id)]


def a_trunk(*offers: str) -> Trunk:
    settings = ProviderSettings(servers=("a.example",), offers=offers, priority=7)
    return Trunk(name="telco", settings=settings, created_at=UnixTime(0.0))


def test_what_a_trunk_offers_is_published_changed_and_withdrawn(database: Database) -> None:
    trunks = TrunkBook([a_trunk("49")])
    _, heard = a_run(database, trunks=trunks)
    trunks.put(a_trunk("43", "49"))
    trunks.put(a_trunk())
    trunks.put(a_trunk("49"))
    trunks.remove("telco")
    trunks.put(a_trunk())
    withdrawn = ("withdraw", Kind.PREFIXES, "telco", None)
    one = ("prefixes", "telco", (PrefixOffer("49", 7),))
    both = ("prefixes", "telco", (PrefixOffer("43", 7), PrefixOffer("49", 7)))
    assert heard == [one, both, withdrawn, one, withdrawn]


def test_an_offer_that_went_while_the_node_was_stopped_is_buried(database: Database) -> None:
    a_run(database, trunks=TrunkBook([a_trunk("49")]))
    _, heard = a_run(database, trunks=TrunkBook([a_trunk()]))
    assert heard == [("bury", Kind.PREFIXES, "telco", None)]
