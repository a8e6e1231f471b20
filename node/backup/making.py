"""Making a backup: one sealed file of everything a node keeps, whether it runs or not."""

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from federation.model.clocks import Clock, Entropy, SystemClock, SystemEntropy
from node.backup.contents import DATABASE, MAX_SMALL_FILE, SMALL_FILES, Contents, KeptFile
from node.backup.sealed import (
    ACCOUNT,
    NODE,
    Cost,
    SealedFileError,
    SealedWriter,
    check_passphrase,
)
from node.backup.snapshot import count_rows, take_snapshot
from node.software import SOFTWARE
from node.state import StateFolder

Progress = Callable[[float], None]
"Called with the part that is done, 0 to 1."
_COPIED = 0.3
"The part of the work that copying the database is taken for."
_STEP = 1 << 20
_WORK = ".backup-"
"How folders with copies of the database begin; the process's id follows."


def make_backup(
    folder: StateFolder,
    url: str | None,
    target: Path,
    passphrase: str,
    *,
    replace: bool = False,
    on_progress: Progress = lambda _: None,
    clock: Clock | None = None,
    entropy: Entropy | None = None,
    cost: Cost | None = None,
) -> Contents:
    """Write everything of a node to `target`; `url` is its database's, `None` for SQLite.

    `target` appears whole, with mode 0600, or not at all.

    Raises:
        SealedFileError: the passphrase is too short, or `target` cannot be written.
        StorageError, StateError: the node's files cannot be read.
    """
    check_passphrase(passphrase)
    check_target(target, replace=replace)
    entropy = entropy or SystemEntropy()
    node = folder.existing_node_key().id.text
    with _workplace(folder.path) as work:
        copy = take_snapshot(folder.path, url, work, lambda part: on_progress(part * _COPIED))
        version, counts = count_rows(copy)
        small = dict(_small_files(folder.path))
        contents = Contents(
            made_at=(clock or SystemClock()).unix(),
            software=SOFTWARE,
            node=node,
            schema=version,
            accounts=counts.get("accounts", 0),
            messages=counts.get("messages", 0),
            records=counts.get("call_records", 0),
            files=(
                *(KeptFile(name=name, size=len(data)) for name, data in small.items()),
                KeptFile(name=DATABASE, size=copy.stat().st_size),
            ),
        )
        head = contents.encode() + b"".join(small.values())
        total = len(head) + copy.stat().st_size
        with new_file(target) as out, copy.open("rb") as source:
            writer = SealedWriter(out, passphrase, NODE, total, entropy=entropy, cost=cost)
            writer.write(head)
            done = len(head)
            while part := source.read(_STEP):
                writer.write(part)
                done += len(part)
                on_progress(_COPIED + (1 - _COPIED) * done / total)
            writer.close()
    return contents


def seal_account(
    target: Path,
    content: bytes,
    passphrase: str,
    *,
    replace: bool = False,
    cost: Cost | None = None,
) -> None:
    """Write what an exported account is to a sealed file; raises as `make_backup`."""
    check_passphrase(passphrase)
    check_target(target, replace=replace)
    with new_file(target) as out:
        writer = SealedWriter(
            out, passphrase, ACCOUNT, len(content), entropy=SystemEntropy(), cost=cost
        )
        writer.write(content)
        writer.close()


def check_target(target: Path, *, replace: bool) -> None:
    """Refuse a file that is there already, unless it may be replaced, before work is done for it.

    Raises:
        SealedFileError: it is there, or its folder is not.
    """
    if target.is_dir() or not target.name:
        raise SealedFileError(f"{target} is a folder: give the name of a file in it")
    if not target.absolute().parent.is_dir():
        raise SealedFileError(f"there is no folder {target.absolute().parent}: make it first")
    if target.exists() and not replace:
        raise SealedFileError(f"{target} is there already: give another name, or --force")


@contextlib.contextmanager
def new_file(target: Path) -> Iterator[BinaryIO]:
    """A file that takes its name when the block ends well, and is gone when it does not.

    Raises:
        SealedFileError: it cannot be written.
    """
    try:
        descriptor, name = tempfile.mkstemp(dir=target.absolute().parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(descriptor, "wb") as stream:
                yield stream
                stream.flush()
                os.fsync(descriptor)
            os.replace(name, target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise SealedFileError(_reason(target, error)) from error


def _reason(target: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{target}: the disk is full; nothing was written there"
    return f"{target} cannot be written: {error.strerror}"


def _small_files(folder: Path) -> Iterator[tuple[str, bytes]]:
    for name in SMALL_FILES:
        try:
            with (folder / name).open("rb") as stream:
                data = stream.read(MAX_SMALL_FILE + 1)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise SealedFileError(f"{folder / name} cannot be read: {error.strerror}") from error
        if len(data) > MAX_SMALL_FILE:
            raise SealedFileError(f"{folder / name} is too large to be what it should be")
        yield name, data


@contextlib.contextmanager
def _workplace(folder: Path) -> Iterator[Path]:
    """Room for a copy of the database; what a backup that was killed left there is deleted."""
    for left in folder.glob(f"{_WORK}*"):
        pid = left.name.removeprefix(_WORK).partition("-")[0]
        if pid.isdigit() and not _is_alive(int(pid)):
            shutil.rmtree(left, ignore_errors=True)
    try:
        work = tempfile.TemporaryDirectory(dir=folder, prefix=f"{_WORK}{os.getpid()}-")
    except OSError as error:
        raise SealedFileError(_reason(folder, error)) from error
    with work:
        yield Path(work.name)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True
