"""How a batch of rows becomes SQL: one upsert and one delete statement a table."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Table, and_, bindparam, delete
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql.dml import Delete, Insert

from node.storage.dirty_rows import Row, RowKey
from node.storage.schema import metadata

_KEY_PREFIX = "key_"
"A bind name must differ from the column's in a WHERE of executemany."


def write_batch(connection: Connection, batch: Mapping[RowKey, Row | None]) -> None:
    """Write a batch in the connection's transaction. Rows of one table share an executemany."""
    puts: dict[str, list[Row]] = {}
    deletes: dict[str, list[dict[str, Any]]] = {}
    for (table, key), row in batch.items():
        if row is not None:
            puts.setdefault(table, []).append(row)
        else:
            names = (f"{_KEY_PREFIX}{column.name}" for column in _table(table).primary_key)
            deletes.setdefault(table, []).append(dict(zip(names, key, strict=True)))
    for table, keys in deletes.items():
        connection.execute(_delete(table), keys)
    for table, rows in puts.items():
        connection.execute(_upsert(table, connection.dialect.name), rows)


def _table(name: str) -> Table:
    return metadata.tables[name]


@lru_cache
def _upsert(name: str, dialect: str) -> Insert:
    table = _table(name)
    key = [column.name for column in table.primary_key]
    others = [column.name for column in table.columns if column.name not in key]
    if dialect == "postgresql":
        from sqlalchemy.dialects import postgresql  # slow to import, and few need it

        into = postgresql.insert(table)
        return into.on_conflict_do_update(
            index_elements=key, set_={name: into.excluded[name] for name in others}
        )
    insert = sqlite.insert(table)
    return insert.on_conflict_do_update(
        index_elements=key, set_={name: insert.excluded[name] for name in others}
    )


@lru_cache
def _delete(name: str) -> Delete:
    table = _table(name)
    return delete(table).where(
        and_(*(column == bindparam(f"{_KEY_PREFIX}{column.name}") for column in table.primary_key))
    )
