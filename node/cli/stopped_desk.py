"""Commands on the storage of a node that is not running."""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection

from federation.domain_proof import DnsResolver
from federation.model.clocks import SystemClock, SystemEntropy
from node.accounts.account import Account, AccountKind
from node.accounts.login import AccountError, Reserved
from node.accounts.moved import Arrival, MovedAccount
from node.accounts.rows import load_accounts
from node.accounts.store import AccountStore
from node.accounts.wanted import MadeAccount, WantedAccount
from node.ban_desk import BanDesk
from node.cli.desk import Outcome, Progress
from node.cli.user_file import NewUser
from node.config import Config
from node.control import RefusedError
from node.dns_lines import Whereabouts
from node.domain_desk import DomainDesk, DomainNames
from node.feature_desk import FeatureDesk
from node.pin_desk import PinDesk
from node.settings import load
from node.sheet import AccountSheet, ServedAt
from node.state import StateFolder
from node.storage.bans import BanBook, load_bans
from node.storage.database import Database
from node.storage.domains import load_domains
from node.storage.features import FeatureBook, load_features
from node.storage.meta import kept_secret
from node.storage.pins import PinBook, load_pins
from node.storage.ring_groups import RingGroups, load_ring_groups
from node.storage.writer import WriteThrough
from node.trunks.desk import TrunkDesk
from node.trunks.rows import load_trunk_book
from node.turn_credentials import SECRET_BYTES, SECRET_NAME, turn_credentials, turn_secret


class StoppedNodeDesk:
    """Changes the accounts where they are stored. The caller holds the state folder's lock."""

    def __init__(self, store: AccountStore, served: ServedAt, features: FeatureDesk) -> None:
        self._store = store
        self._served = served
        self._features = features

    def all(self) -> list[dict[str, Any]]:
        """Every user; how many devices are there is known to a running node only."""
        return [
            {
                "login": account.login,
                "number": account.number,
                "extension": account.extension,
                "name": account.name,
                "devices": None,
            }
            for account in sorted(self._store.book, key=lambda account: account.login)
            if account.kind is AccountKind.USER
        ]

    def show(self, login: str) -> dict[str, Any]:
        """One user's sheet."""
        account = self._user(login)
        return self._sheet(account) | self._features.of(account)

    def add(self, user: NewUser) -> dict[str, Any]:
        """Make a user and its number."""
        made = self._store.add([_wanted(user)])[0]
        self._store.derive_numbers()
        return self._sheet(self._store.get(user.login), made.password)

    def add_many(self, users: Sequence[NewUser], on_progress: Progress) -> list[Outcome]:
        """Make each user that can be made, then all their numbers on all cores."""
        passwords: dict[str, str] = {}
        refused: dict[str, str] = {}
        for user in users:
            try:
                passwords[user.login] = self._store.add([_wanted(user)])[0].password
            except AccountError as error:
                refused[user.login] = str(error)
        self._store.derive_numbers(lambda done, _: on_progress(len(refused) + done))
        return [
            refused.get(user.login)
            or self._sheet(self._store.get(user.login), passwords[user.login])
            for user in users
        ]

    def take_in(self, moved: bytes, arrival: Arrival) -> dict[str, Any]:
        """Add a user of another node, and derive its number."""
        account, password = self._store.take_in(MovedAccount.decode(moved), arrival)
        self._store.derive_numbers()
        return self._sheet(self._store.get(account.login), password)

    def passwd(self, login: str, password: str | None) -> dict[str, Any]:
        """Set a password."""
        made = self._store.set_password(self._user(login).login, password)
        return self._sheet(made.account, made.password)

    def remove(self, login: str) -> None:
        """Remove a user."""
        self._store.remove(self._user(login).login)

    def _user(self, login: str) -> Account:
        account = self._store.get(login)
        if account.kind is AccountKind.GROUP:
            raise RefusedError(f"{login} is a ring group; see ringmesh group --help")
        if account.kind is AccountKind.TRUNK:
            raise RefusedError(f"{login} is a trunk; see ringmesh trunk --help")
        return account

    def _sheet(self, account: Account, password: str | None = None) -> dict[str, Any]:
        return sheet_of(account, self._served, password)


def sheet_of(account: Account, served: ServedAt, password: str | None = None) -> dict[str, Any]:
    """What a person sees of an account."""
    return AccountSheet(
        login=account.login,
        served=served,
        number=account.number,
        extension=account.extension,
        name=account.name,
        password=password,
    ).as_json()


@contextlib.contextmanager
def stopped_desk(folder: StateFolder) -> Iterator[StoppedNodeDesk]:
    """The user desk of a stopped node; its database is open while the block lasts.

    Raises:
        ConfigError: the configuration or a file of the folder will not do.
        StorageError: the database cannot be used.
    """
    with stopped_accounts(folder) as (store, served, features):
        yield StoppedNodeDesk(store, served, features)


@contextlib.contextmanager
def stopped_accounts(folder: StateFolder) -> Iterator[tuple[AccountStore, ServedAt, FeatureDesk]]:
    """The accounts of a stopped node, where they are reached, and what was set for them."""
    with _opened(folder) as (config, database):
        names = _domain_names(config, folder, database)
        served = _served(config, folder, names)
        store = AccountStore(
            database,
            clock=SystemClock(),
            entropy=SystemEntropy(),
            domains=served.login_domains,
            reserved=Reserved(emergency=frozenset(config.dialling.emergency_numbers)),
        )
        with database.read() as connection:
            features, groups = load_features(connection), load_ring_groups(connection)
        writer = WriteThrough(database)
        desk = FeatureDesk(
            store.book,
            FeatureBook(features, writer),
            RingGroups(groups, writer),
            key_name=served.key_name,
            sheet=lambda account: sheet_of(account, served),
        )
        yield store, served, desk


@contextlib.contextmanager
def stopped_database(folder: StateFolder) -> Iterator[Database]:
    """The database of a stopped node; raises as `stopped_desk`."""
    with _opened(folder) as (_, database):
        yield database


@contextlib.contextmanager
def stopped_bans(folder: StateFolder) -> Iterator[BanDesk]:
    """The bans of a stopped node; raises as `stopped_desk`."""
    with _opened(folder) as (config, database):
        with database.read() as connection:
            bans = load_bans(connection)
        clock = SystemClock()
        served = _served(config, folder, _domain_names(config, folder, database))
        yield BanDesk(
            BanBook(bans, WriteThrough(database), now=clock.unix()),
            clock,
            allowed=config.limits.networks,
            own=lambda: served.reached_at,
        )


@contextlib.contextmanager
def stopped_pins(folder: StateFolder) -> Iterator[PinDesk]:
    """The pins of a stopped node; raises as `stopped_desk`."""
    with _opened(folder) as (_, database):
        with database.read() as connection:
            pins = load_pins(connection)
        yield PinDesk(PinBook(pins, WriteThrough(database)), SystemClock())


@contextlib.contextmanager
def stopped_domains(folder: StateFolder) -> Iterator[DomainDesk]:
    """The domains of a stopped node; raises as `stopped_desk`."""
    with _opened(folder) as (config, database):
        with database.read() as connection:
            accounts = load_accounts(connection)
        names = _domain_names(config, folder, database)
        node, last = folder.node_key(SystemEntropy()).id, folder.last_run()
        served = _served(config, folder, names)
        port = last.get("mesh_port", config.mesh_port)

        async def keep(change: Callable[[Connection], None]) -> None:
            with database.write() as connection:
                change(connection)

        yield DomainDesk(
            names=names,
            whereabouts=lambda: Whereabouts(node, served.reached_at, served.sip_port, int(port)),
            accounts=lambda: accounts,
            keep=keep,
            resolver=DnsResolver(config.dns.endpoints),
            clock=SystemClock(),
        )


class _Maker:
    """Makes accounts where they are stored, as `AccountKeeper` does in a running node."""

    def __init__(self, store: AccountStore) -> None:
        self._store = store

    async def add(self, wanted: Sequence[WantedAccount]) -> list[MadeAccount]:
        return self._store.add(wanted)

    async def set_password(self, login: str, password: str | None = None) -> MadeAccount:
        return self._store.set_password(login, password)

    async def remove(self, login: str) -> Account:
        return self._store.remove(login)

    async def number_of(self, login: str) -> object:
        self._store.derive_numbers()
        return self._store.get(login).number


@contextlib.contextmanager
def stopped_trunks(folder: StateFolder) -> Iterator[TrunkDesk]:
    """The trunks and DIDs of a stopped node; raises as `stopped_desk`."""
    with _opened(folder) as (config, database):
        with database.read() as connection:
            book = load_trunk_book(connection)
        served = _served(config, folder, _domain_names(config, folder, database))
        reserved = Reserved(emergency=frozenset(config.dialling.emergency_numbers))
        clock = SystemClock()
        store = AccountStore(
            database,
            clock=clock,
            entropy=SystemEntropy(),
            domains=served.login_domains,
            reserved=reserved,
        )

        async def keep(change: Callable[[Connection], None]) -> None:
            with database.write() as connection:
                change(connection)

        yield TrunkDesk(
            book=book,
            accounts=store.book,
            maker=_Maker(store),
            keep=keep,
            clock=clock,
            sheet=lambda account, password: sheet_of(account, served, password),
            reserved=reserved,
        )


@contextlib.contextmanager
def stopped_turn(folder: StateFolder) -> Iterator[Callable[[str, int | None], dict[str, Any]]]:
    """What makes TURN credentials while the node is stopped; raises as `stopped_desk`."""
    clock = SystemClock()
    with _opened(folder) as (config, database):
        served = _served(config, folder, _domain_names(config, folder, database))
        with database.write() as connection:
            logins = {account.login for account in load_accounts(connection)}
            kept = kept_secret(connection, SECRET_NAME, SECRET_BYTES, SystemEntropy())

        def issue(login: str, ttl: int | None) -> dict[str, Any]:
            if login not in logins:
                raise RefusedError(
                    f"no account {login!r} here; `ringmesh user list` shows which there are", 404
                )
            secret = turn_secret(config, kept)
            return turn_credentials(login, ttl, secret=secret, served=served, now=clock.unix())

        yield issue


@contextlib.contextmanager
def _opened(folder: StateFolder) -> Iterator[tuple[Config, Database]]:
    file = os.environ.get("RINGMESH_CONFIG")
    config = load(Path(file) if file else None, os.environ)
    database = Database.open(folder.path, config.storage.url or folder.storage_url())
    try:
        yield config, database
    finally:
        database.close()


def _domain_names(config: Config, folder: StateFolder, database: Database) -> DomainNames:
    """Configured are those of the last run, since `up` may have been given some as options."""
    with database.read() as connection:
        added = load_domains(connection)
    last = folder.last_run()
    configured = last.get("configured_domains", last.get("domains", config.domains))
    return DomainNames(tuple(map(str, configured)), added)


def _served(config: Config, folder: StateFolder, names: DomainNames) -> ServedAt:
    """Where the node was reached when it ran last; before its first run, where it would be."""
    last = folder.last_run()
    if not last:
        config = msgspec.structs.replace(config, domains=names.all)
        return ServedAt.of(config, folder.node_key(SystemEntropy()).id)
    served = ServedAt.from_json(last)
    proven = [name for name in served.domains[: served.proven] if name in names.all]
    domains = tuple(dict.fromkeys([*proven, *names.all]))
    return replace(served, domains=domains, proven=len(proven))


def _wanted(user: NewUser) -> WantedAccount:
    return WantedAccount(
        login=user.login,
        password=user.password,
        extension=user.extension,
        name=user.name or "",
    )
