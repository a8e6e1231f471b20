"""A node's database: SQLite in the state folder, or another one by URL.

Opening brings the schema to the version this program knows. Alembic is imported only if that takes
a migration. Everything here is synchronous: the command line calls it directly, the running node
through its storage thread.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from federation.model.errors import ConfigError
from node.storage.complaints import storage_error
from node.storage.engines import DURABLE, WRITES, engine_for, sqlite_engine
from node.storage.errors import StorageError
from node.storage.schema import SCHEMA_VERSION, metadata

DATABASE_FILE = "ringmesh.db"

Migrate = Callable[[Connection, str], None]


class Database:
    """An open database at the current schema version."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self.name = name
        "What to call it towards people: the file, or the URL without its password."

    @classmethod
    def open(cls, state: Path, url: str | None = None, *, migrate: Migrate | None = None) -> Self:
        """Open the database in the folder `state`, or at `url`, and bring its schema up to date.

        The SQLite file is made with mode 0600. `migrate` replaces the way from an older schema.

        Raises:
            ConfigError: the folder or URL cannot be used, or a newer version wrote the database.
            StorageError: the database is there but cannot be read or upgraded.
        """
        if url is None:
            path = _prepare_file(state)
            engine, name = sqlite_engine(path), str(path)
        else:
            engine, name = engine_for(url)
        database = cls(engine, name)
        try:
            database._bring_up_to_date(migrate or _migrate_with_alembic)
        except (ConfigError, StorageError):
            database.close()
            raise
        return database

    @classmethod
    def look(cls, state: Path, url: str | None = None) -> Self:
        """Open the database of a node for reading, beside that node which may be using it.

        Nothing is changed: neither is a schema made nor brought up to date.

        Raises:
            ConfigError: the URL cannot be used, or the database has another schema.
            StorageError: it cannot be read.
        """
        database, version = cls._beside(state, url)
        if version != SCHEMA_VERSION:
            database.close()
            raise ConfigError(
                f"database: {database.name} has schema {version or 'none'}, this program knows "
                f"{SCHEMA_VERSION}; start the node once, which brings it up to date"
            )
        return database

    @classmethod
    def check(cls, state: Path, url: str | None = None) -> str | None:
        """The schema of a node's database, which is not changed; `None` where there is none yet.

        Raises:
            ConfigError: the URL cannot be used, or a newer version wrote the database.
            StorageError: it cannot be read.
        """
        if url is None and not (state / DATABASE_FILE).exists():
            return None
        database, version = cls._beside(state, url)
        database.close()
        if version is not None and version > SCHEMA_VERSION:
            raise _too_new(database.name, version)
        return version

    @classmethod
    def _beside(cls, state: Path, url: str | None) -> tuple[Self, str | None]:
        """A database and its schema, opened beside the node that may be using it."""
        if url is None:
            path = state / DATABASE_FILE
            if not path.exists():
                raise ConfigError(f"database: there is no {path}; name the folder with --state")
            engine, name = sqlite_engine(path), str(path)
        else:
            engine, name = engine_for(url, exclusive=False)
        database = cls(engine, name)
        try:
            with database.read() as connection:
                return database, _version_of(connection)
        except (ConfigError, StorageError):
            database.close()
            raise

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._engine.dialect.name

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection whose reads all see one state.

        Raises:
            StorageError: the database cannot be read.
        """
        with self._translated(), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self, *, durable: bool = True) -> Iterator[Connection]:
        """A transaction, committed at the end, rolled back by any exception.

        A `durable` one survives a power failure; another one may lose the last moments then.

        Raises:
            StorageError: the database cannot be written.
        """
        with (
            self._translated(),
            self._engine.connect().execution_options(**{WRITES: True, DURABLE: durable}) as conn,
            conn.begin(),
        ):
            yield conn

    def close(self) -> None:
        """Give back every connection. Closing twice is harmless."""
        self._engine.dispose()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise storage_error(error, self.name) from error
        except PoolTimeoutError as error:
            raise StorageError(f"{self.name} is busy with something that does not end") from error

    def _bring_up_to_date(self, migrate: Migrate) -> None:
        with self.read() as connection:
            if _version_of(connection) == SCHEMA_VERSION:
                return
        with self.write() as connection:
            version = _version_of(connection)
            if version is None:
                metadata.create_all(connection)
                connection.execute(
                    text("CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY)")
                )
                connection.execute(
                    text("INSERT INTO alembic_version VALUES (:version)"),
                    {"version": SCHEMA_VERSION},
                )
                return
            if version > SCHEMA_VERSION:
                raise _too_new(self.name, version)
            migrate(connection, SCHEMA_VERSION)
            reached = _version_of(connection)
            if reached != SCHEMA_VERSION:
                raise StorageError(
                    f"{self.name}: the upgrade from schema {version} ended at {reached}, "
                    f"not {SCHEMA_VERSION}; nothing was changed"
                )


def _prepare_file(state: Path) -> Path:
    path = state / DATABASE_FILE
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        path.chmod(0o600)
    except OSError as error:
        raise ConfigError(
            f"state: {path} cannot be written ({error.strerror}); choose a folder of your own "
            "with --state or change its owner and mode"
        ) from error
    return path


def _too_new(name: str, version: str) -> ConfigError:
    return ConfigError(
        f"database: {name} was written by a newer version (schema {version}, this program knows "
        f"{SCHEMA_VERSION}); install that version or restore a backup"
    )


def _version_of(connection: Connection) -> str | None:
    """The revision a database is at; `None` if it is empty."""
    tables = inspect(connection).get_table_names()
    if "alembic_version" not in tables:
        if tables:
            raise ConfigError(
                f"database: it holds foreign tables ({', '.join(sorted(tables)[:3])}); "
                "give the node a database of its own"
            )
        return None
    version: str | None = connection.execute(
        text("SELECT version_num FROM alembic_version")
    ).scalar()
    if version is None:
        raise StorageError("the database names no schema version; restore a backup")
    return version


def _migrate_with_alembic(connection: Connection, target: str) -> None:
    from node.storage.migrate import upgrade  # imported only when the version differs

    try:
        upgrade(connection, target)
    except SQLAlchemyError as error:
        raise StorageError(f"the database could not be upgraded ({error})") from error
