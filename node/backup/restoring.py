"""Putting a backup back: everything is read and proven before anything changes."""

import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path

from node.backup.contents import DATABASE, SMALL_FILES, Contents, read_contents
from node.backup.sealed import (
    DamagedFileError,
    NewerFileError,
    SealedFile,
    SealedFileError,
    SealedReader,
)
from node.backup.snapshot import is_empty, put_back
from node.backup.staging import STAGING, Staging
from node.state import StateError, StateFolder
from node.storage.database import Database
from node.storage.schema import SCHEMA_VERSION

Progress = Callable[[float], None]
"Called with the part that is done, 0 to 1."
_STEP = 1 << 20
_STALE = ("last-run", f"{DATABASE}-wal", f"{DATABASE}-shm", f"{DATABASE}-journal")
"What belongs to the node that was there before."
_NO_PART = {"lock", "storage", *STAGING}
"Names that do not make a state folder a used one."


def check_unused(folder: Path) -> None:
    """Refuse a folder that holds something, before anything is asked.

    Raises:
        StateError: it does.
    """
    with contextlib.suppress(FileNotFoundError):
        if set(os.listdir(folder)) - _NO_PART:
            raise StateError(
                f"{folder} is not empty: name another folder with --state, or replace the node "
                "in it with --force"
            )


def restore(
    opened: SealedReader,
    file: SealedFile,
    folder: StateFolder,
    database: Database | None = None,
    *,
    replace: bool = False,
    on_progress: Progress = lambda _: None,
) -> Contents:
    """Make `folder` hold the node that `file` is a backup of. The caller holds the folder's lock.

    `database` is where the rows go if that is not a file of the folder. Where anything goes wrong
    folder and database are as they were, but for a machine that fails between the rows, which are
    committed to such a database first, and the folder's files: then restore again, with `replace`.

    Raises:
        SealedFileError: the file is damaged or of a newer version, or the disk is full.
        StateError: folder or database hold a node already, and it may not be replaced.
        StorageError: the database cannot be written.
    """
    if not replace:
        check_unused(folder.path)
        if database is not None and not is_empty(database):
            raise StateError(
                f"{database.name} has accounts already: name another database in storage.url, or "
                "replace the node in it with --force"
            )
    contents = read_contents(opened, file.name)
    if contents.schema > SCHEMA_VERSION:
        raise NewerFileError(
            f"{file.name} is of a newer version (tables {contents.schema}, this program knows "
            f"{SCHEMA_VERSION}): install {contents.software.replace('/', ' ')} or newer"
        )
    try:
        with Staging(folder.path) as staging:
            _gather(opened, contents, staging, on_progress)
            opened.expect_end()
            _check_key(staging.path, contents, file)
            gone = {*SMALL_FILES, *_STALE}
            if database is None:
                gone.add(DATABASE)
            else:
                put_back(staging.path / DATABASE, database, lambda _: None)
                for path in staging.path.glob(f"{DATABASE}*"):
                    path.unlink()
            staging.put_in_place(gone)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise SealedFileError(
                f"the disk of {folder.path} is full; the folder is as it was"
            ) from error
        raise SealedFileError(f"{folder.path}: {error.strerror}") from error
    return contents


def _gather(
    opened: SealedReader, contents: Contents, staging: Staging, on_progress: Progress
) -> None:
    total = sum(kept.size for kept in contents.files) or 1
    done = 0
    for kept in contents.files:
        left = kept.size
        with staging.file(kept.name) as out:
            while left:
                part = opened.take(min(left, _STEP))
                out.write(part)
                left -= len(part)
                done += len(part)
                on_progress(done / total)


def _check_key(path: Path, contents: Contents, file: SealedFile) -> None:
    """The key that was restored is the one that the list names."""
    try:
        key = StateFolder(path).existing_node_key()
    except StateError as error:
        raise DamagedFileError(f"{file.name} holds a node key that is damaged") from error
    if key.id.text != contents.node:
        raise DamagedFileError(f"{file.name} holds the key of another node than it says")
