"""Accounts as rows. Each function works in the transaction of the connection it is given."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from federation.model.clocks import UnixTime
from federation.model.identity import AccountId
from federation.model.number import Number
from node.accounts.account import Account, AccountKind, PasswordHashes
from node.sip.digest import DigestPreference
from node.storage.schema import accounts, aliases, bindings, features, ring_groups


def load_accounts(connection: Connection) -> list[Account]:
    """Every stored account, by login."""
    others: dict[str, list[PasswordHashes]] = {}
    for row in connection.execute(select(aliases).order_by(aliases.c.username)):
        hashes = PasswordHashes(
            username=row.username, ha1_md5=row.ha1_md5, ha1_sha256=row.ha1_sha256
        )
        others.setdefault(row.login, []).append(hashes)
    rows = connection.execute(select(accounts).order_by(accounts.c.login))
    return [_from_row(row, tuple(others.get(row.login, ()))) for row in rows]


def insert_accounts(connection: Connection, added: Iterable[Account]) -> None:
    """Store new accounts."""
    rows, alias_rows = [], []
    for account in added:
        rows.append(_row(account))
        alias_rows += _alias_rows(account)
    if rows:
        connection.execute(insert(accounts), rows)
    if alias_rows:
        connection.execute(insert(aliases), alias_rows)


def update_account(connection: Connection, account: Account) -> None:
    """Store what has changed of an account, its number apart."""
    row = _row(account)
    del row["number"]
    connection.execute(update(accounts).where(accounts.c.login == account.login).values(row))
    connection.execute(delete(aliases).where(aliases.c.login == account.login))
    if alias_rows := _alias_rows(account):
        connection.execute(insert(aliases), alias_rows)


def store_number(connection: Connection, account: AccountId, number: Number) -> None:
    """Store the number that was derived for an account's key."""
    connection.execute(
        update(accounts).where(accounts.c.key == bytes(account)).values(number=str(number))
    )


def delete_account(connection: Connection, login: str) -> None:
    """Delete an account, its registrations and what was set for it."""
    connection.execute(delete(features).where(features.c.login == login))
    connection.execute(delete(ring_groups).where(ring_groups.c.login == login))
    connection.execute(delete(bindings).where(bindings.c.login == login))
    connection.execute(delete(aliases).where(aliases.c.login == login))
    connection.execute(delete(accounts).where(accounts.c.login == login))


def _row(account: Account) -> dict[str, Any]:
    return {
        "login": account.login,
        "kind": account.kind.value,
        "name": account.name,
        "key": bytes(account.id),
        "seed": account.seed,
        "number": None if account.number is None else str(account.number),
        "extension": account.extension,
        "ha1_md5": account.hashes.ha1_md5,
        "ha1_sha256": account.hashes.ha1_sha256,
        "userhash": account.userhash,
        "digest": account.digest.value,
        "created_at": account.created_at,
    }


def _alias_rows(account: Account) -> list[dict[str, Any]]:
    return [
        {
            "username": alias.username,
            "login": account.login,
            "ha1_md5": alias.ha1_md5,
            "ha1_sha256": alias.ha1_sha256,
        }
        for alias in account.aliases
    ]


def _from_row(row: Any, others: tuple[PasswordHashes, ...]) -> Account:
    return Account(
        login=row.login,
        kind=AccountKind(row.kind),
        name=row.name,
        id=AccountId(row.key),
        seed=row.seed,
        number=None if row.number is None else Number(row.number),
        extension=row.extension,
        hashes=PasswordHashes(username=row.login, ha1_md5=row.ha1_md5, ha1_sha256=row.ha1_sha256),
        aliases=others,
        digest=DigestPreference(row.digest),
        created_at=UnixTime(row.created_at),
    )
