"""What a driver's errors mean, in a sentence that says what would help."""

from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
)

from node.storage.errors import DamagedError, RefusedError, StorageError

_REFUSALS = (DataError, IntegrityError, InterfaceError, NotSupportedError, ProgrammingError)


def storage_error(error: DBAPIError, name: str) -> StorageError:
    """Say in a sentence what a driver's error means and what would help."""
    if hasattr(error.orig, "sqlstate"):
        return _of_postgresql(error, name)
    if isinstance(error, _REFUSALS):
        return RefusedError(f"{name}: a value was refused ({error.orig})")
    code = getattr(error.orig, "sqlite_errorname", "") or ""
    if code.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return DamagedError(
            f"{name} is damaged ({error.orig}); move it and its -wal and -shm files away, "
            "or restore a backup"
        )
    if code == "SQLITE_FULL":
        return StorageError(f"{name}: the disk is full; free some space")
    if code.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        return StorageError(
            f"{name} cannot be written ({error.orig}); check the owner and mode of the file "
            "and its folder"
        )
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return StorageError(f"{name} is in use by another process; stop it and try again")
    return StorageError(f"{name}: {error.orig}")


def _of_postgresql(error: DBAPIError, name: str) -> StorageError:
    state = getattr(error.orig, "sqlstate", None) or ""
    says = " ".join(str(error.orig).split())
    if isinstance(error, (DataError, IntegrityError, NotSupportedError)) or (
        isinstance(error, ProgrammingError) and not state
    ):
        return RefusedError(f"{name}: a value was refused ({says})")
    if state.startswith("42"):  # also a right that the user lacks, which can be given
        return StorageError(
            f"{name}: {says}; the node's database user has to own its tables and their schema"
        )
    if state == "53100":
        return StorageError(f"{name}: the disk of PostgreSQL is full; free some space")
    if error.connection_invalidated:
        return StorageError(f"{name}: the connection to PostgreSQL was lost; it is tried again")
    if isinstance(error, OperationalError) and not state:
        if "FATAL" in says:
            return StorageError(
                f"{name}: PostgreSQL refused ({says.rpartition('FATAL: ')[2].strip()}); check "
                "user, password and name of the database in storage.url"
            )
        return StorageError(
            f"{name}: PostgreSQL cannot be reached ({says}); is it running, and does storage.url "
            "name its host and port?"
        )
    return StorageError(f"{name}: {says}")
