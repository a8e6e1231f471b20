"""Trunks and DIDs as rows. Each function works in the transaction of its connection."""

from typing import Any

import msgspec
from sqlalchemy import Connection, delete, insert, select, update

from federation.model.clocks import UnixTime
from node.storage.errors import StorageError
from node.storage.schema import dids, trunk_days, trunks
from node.trunks.book import Did, TrunkBook
from node.trunks.load import offered
from node.trunks.trunk import Trunk, decode_settings, encode_settings


def load_trunk_book(connection: Connection) -> TrunkBook:
    """Every trunk and DID.

    Raises:
        StorageError: the settings of one cannot be read.
    """
    rows = connection.execute(select(trunks).order_by(trunks.c.name))
    found = connection.execute(select(dids).order_by(dids.c.added_at, dids.c.number))
    return TrunkBook(
        [_trunk(row) for row in rows],
        [Did(row.number, row.login, row.extension, UnixTime(row.added_at)) for row in found],
    )


def insert_trunk(connection: Connection, trunk: Trunk) -> None:
    """Store a new trunk."""
    connection.execute(insert(trunks), _row(trunk))


def update_trunk(connection: Connection, trunk: Trunk) -> None:
    """Store other settings, or another password at the provider."""
    connection.execute(update(trunks).where(trunks.c.name == trunk.name).values(_row(trunk)))


def delete_trunk(connection: Connection, name: str) -> None:
    """Delete a trunk; the account of a PBX is not touched."""
    connection.execute(delete(trunks).where(trunks.c.name == name))
    connection.execute(delete(trunk_days).where(trunk_days.c.name.in_((name, offered(name)))))


def insert_did(connection: Connection, did: Did) -> None:
    """Map a number."""
    row = {
        "number": did.number,
        "login": did.login,
        "extension": did.extension,
        "added_at": did.added_at,
    }
    connection.execute(insert(dids), row)


def delete_did(connection: Connection, number: str) -> None:
    """Unmap a number."""
    connection.execute(delete(dids).where(dids.c.number == number))


def load_days(connection: Connection) -> dict[str, tuple[int, int]]:
    """The last day on which each trunk carried calls out, and how many, by name."""
    rows = connection.execute(select(trunk_days))
    return {row.name: (row.day, row.calls) for row in rows}


def _row(trunk: Trunk) -> dict[str, Any]:
    return {
        "name": trunk.name,
        "kind": trunk.kind.value,
        "settings": encode_settings(trunk.settings),
        "password": trunk.password,
        "created_at": trunk.created_at,
    }


def _trunk(row: Any) -> Trunk:
    try:
        settings = decode_settings(row.settings)
    except msgspec.MsgspecError as error:
        raise StorageError(
            f"the settings of trunk {row.name} cannot be read ({error}); restore a backup"
        ) from error
    return Trunk(
        name=row.name,
        settings=settings,
        password=row.password,
        created_at=UnixTime(row.created_at),
    )
