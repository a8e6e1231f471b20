"""What a backup holds, in its order: a list, then the files that it names, one after the other."""

import struct
from typing import Protocol

import msgspec

from node.backup.sealed import DamagedFileError

DATABASE = "ringmesh.db"
SMALL_FILES = ("node.key", "overlay", "tls.pem", "peers")
"Files of the state folder that are kept beside the database."
MAX_SMALL_FILE = 1 << 20
MAX_LIST = 65536
_LENGTH = struct.Struct(">I")


class KeptFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file and its size in bytes."""

    name: str
    size: int


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """The list at a backup's beginning. Later versions may add fields."""

    made_at: float
    "When, in seconds since 1970."
    software: str
    node: str
    "Text of the node's key."
    schema: str
    "Version of the database's tables."
    accounts: int
    messages: int
    "Those that wait for somebody."
    records: int
    "Of calls."
    files: tuple[KeptFile, ...]

    def encode(self) -> bytes:
        """As it stands in the file."""
        text = msgspec.json.encode(self)
        return _LENGTH.pack(len(text)) + text


class _Source(Protocol):
    def take(self, size: int) -> bytes: ...


def read_contents(source: _Source, name: str) -> Contents:
    """Read the list.

    Raises:
        DamagedFileError: it names what no backup holds.
    """
    damaged = DamagedFileError(f"{name} holds no backup that can be read")
    (length,) = _LENGTH.unpack(source.take(_LENGTH.size))
    if length > MAX_LIST:
        raise damaged
    try:
        contents = msgspec.json.decode(source.take(length), type=Contents)
    except msgspec.DecodeError as error:
        raise damaged from error
    names = [file.name for file in contents.files]
    if len(set(names)) != len(names) or not {"node.key", DATABASE} <= set(names):
        raise damaged
    for file in contents.files:
        if file.name not in (*SMALL_FILES, DATABASE) or file.size < 0:
            raise damaged
        if file.name != DATABASE and file.size > MAX_SMALL_FILE:
            raise damaged
    return contents
