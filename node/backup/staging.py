"""How the files of a state folder are replaced all at once, or not at all.

They are gathered in `.restoring`. One rename, to `.restored`, decides: before it nothing has
changed, after it the move into place is finished by whoever takes the folder next, even after a
power failure.
"""

import contextlib
import os
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

_GATHERING, _DECIDED = ".restoring", ".restored"
_LIST = "list"
STAGING = frozenset({_GATHERING, _DECIDED})
"Names of a state folder that are no part of a node."


class _Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What the folder is to hold: files to move in, and names that must go."""

    files: list[str]
    gone: list[str]


class Staging:
    """Gathers files for `folder`; whatever is left at the end of the block is deleted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.path = folder / _GATHERING
        "Where the files are until they are moved into place."

    def __enter__(self) -> "Staging":
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.mkdir(mode=0o700)
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    @contextlib.contextmanager
    def file(self, name: str) -> Iterator[BinaryIO]:
        """A new file, on the disk when the block ends."""
        descriptor = os.open(self.path / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
            _settle(stream)

    def put_in_place(self, gone: Collection[str]) -> None:
        """Have the folder hold what was gathered, and nothing by the names of `gone`.

        Raises:
            OSError: it could not be decided; the folder is as it was.
        """
        files = sorted(path.name for path in self.path.iterdir())
        wanted = _Wanted(files=files, gone=sorted(set(gone) - set(files)))
        with self.file(_LIST) as stream:
            stream.write(msgspec.json.encode(wanted))
        _settle_folder(self.path)
        self.path.rename(self._folder / _DECIDED)
        _settle_folder(self._folder)
        finish(self._folder)


def finish(folder: Path) -> bool:
    """Finish a replacement that was decided; whether there was one.

    Raises:
        OSError: a file cannot be moved; calling again goes on.
    """
    decided = folder / _DECIDED
    try:
        wanted = msgspec.json.decode((decided / _LIST).read_bytes(), type=_Wanted)
    except FileNotFoundError:
        with contextlib.suppress(FileNotFoundError):
            decided.rmdir()
        return False
    for name in wanted.gone:
        (folder / name).unlink(missing_ok=True)
    for name in wanted.files:
        with contextlib.suppress(FileNotFoundError):  # moved before the power failed
            (decided / name).replace(folder / name)
    _settle_folder(folder)
    (decided / _LIST).unlink()
    decided.rmdir()
    return True


def _settle(stream: BinaryIO) -> None:
    stream.flush()
    os.fsync(stream.fileno())


def _settle_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
