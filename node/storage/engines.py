"""How SQLAlchemy reaches a database: what SQLite and PostgreSQL each need to be told."""

from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from federation.model.errors import ConfigError
from node.storage.errors import StorageError
from node.storage_config import without_password

BUSY_TIMEOUT_MS = 5_000
"How long SQLite waits for another process (a backup, the command line) to finish its write."
CONNECT_SECONDS = 5
"How long PostgreSQL is waited for."
UNHEARD_MS = 10_000
"How long PostgreSQL may leave what was sent to it without an acknowledgement."
NODE_LOCK = 0x72696E676D657368
"PostgreSQL's advisory lock that the one node of a database holds."
NUL_STANDIN = "\u2400"
"What stands for NUL in PostgreSQL's texts."
WRITES = "ringmesh_writes"
DURABLE = "ringmesh_durable"
"Options of a connection: whether its transaction writes, and has to outlive a power failure."

_PATIENCE = {
    "connect_timeout": CONNECT_SECONDS,
    "tcp_user_timeout": UNHEARD_MS,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "application_name": "ringmesh",
    # Half a minute after a node has vanished the server lets go of its lock.
    "options": "-c tcp_keepalives_idle=15 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3",
}
"What the URL may say otherwise."


def sqlite_engine(path: Path) -> Engine:
    """Reaches a file."""
    engine = create_engine(URL.create("sqlite", database=str(path)))
    _tune_sqlite(engine)
    return engine


def engine_for(url: str, *, exclusive: bool = True) -> tuple[Engine, str]:
    """Reaches the database at a URL; also what to call it, which is the URL without its password.

    An `exclusive` one is nobody else's while it is open.

    Raises:
        ConfigError: the URL will not do, or its driver is not installed.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise ConfigError(
            "database: that is not a URL; use for example postgresql://user:password@host/name"
        ) from error
    name = without_password(url)
    backend = parsed.get_backend_name()
    if backend not in ("sqlite", "postgresql"):
        raise ConfigError(f"database: {name} is neither SQLite nor PostgreSQL; use one of the two")
    try:
        if backend == "sqlite":
            engine = create_engine(parsed)
            _tune_sqlite(engine)
            return engine, name
        return _postgresql_engine(parsed, exclusive=exclusive), name
    except (ImportError, NoSuchModuleError) as error:
        raise ConfigError(
            f"database: the driver for {name} is not installed ({error}); "
            "install it with: pip install 'ringmesh[postgres]'"
        ) from error


def _postgresql_engine(url: URL, *, exclusive: bool) -> Engine:
    """One connection: the storage thread is the only one that writes, and it waits for nobody."""
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    given = {name: value for name, value in _PATIENCE.items() if name not in url.query}
    engine = create_engine(url, pool_size=1, max_overflow=0, pool_pre_ping=True, connect_args=given)
    if exclusive:
        _hold_lock(engine)
    event.listen(engine, "before_cursor_execute", _without_nul, retval=True)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        if not options.get(WRITES):
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        elif not options.get(DURABLE):
            connection.exec_driver_sql("SET LOCAL synchronous_commit = off")

    return engine


def _without_nul(
    _connection: Connection,
    _cursor: object,
    statement: str,
    parameters: Any,
    _context: object,
    _many: bool,
) -> tuple[str, Any]:
    """PostgreSQL's texts hold every character but NUL, which SIP's may have."""
    rows = parameters if isinstance(parameters, list) else [parameters]
    for row in rows:
        if isinstance(row, dict):
            for name, value in row.items():
                if isinstance(value, str) and "\0" in value:
                    row[name] = value.replace("\0", NUL_STANDIN)
    return statement, parameters


def _hold_lock(engine: Engine) -> None:
    """Two nodes on one database would overwrite each other's rows: the second is refused."""

    @event.listens_for(engine, "connect")
    def take(connection: Any, _record: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", (NODE_LOCK,))
            (taken,) = cursor.fetchone()
        connection.commit()
        if not taken:
            raise StorageError(
                "the database is in use by another node: stop that one, or give this one a "
                "database of its own in storage.url"
            )


def _tune_sqlite(engine: Engine) -> None:
    """Write-ahead log, foreign keys, and transactions that also hold changes of the schema."""

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # the driver's own BEGIN leaves CREATE TABLE outside
        for pragma in (
            f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}",
            "PRAGMA journal_mode=WAL",
            "PRAGMA foreign_keys=ON",
        ):
            connection.execute(pragma)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        if not options.get(WRITES):
            connection.exec_driver_sql("BEGIN")
            return
        level = "FULL" if options.get(DURABLE) else "NORMAL"
        connection.exec_driver_sql(f"PRAGMA synchronous={level}")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
