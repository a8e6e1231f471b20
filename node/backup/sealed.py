"""A file that only a passphrase opens, read and written in pieces.

    magic "ringmesh sealed\\n" (16) | format u8 = 1 | kind u8 | Argon2id: memory KiB u32, passes u8,
    lanes u8 | salt (16) | length of the content u64 | checksum (8) | proof (32)
    then for every 65,536 bytes of content: ChaCha20-Poly1305 of them (16 bytes more)

Integers are big-endian. Argon2id (RFC 9106) of the passphrase gives 64 bytes: the key of the pieces
(RFC 8439), and a key with which HMAC-SHA256 proves the header. The checksum is the beginning of the
header's SHA-256, so that a damaged header is told from a wrong passphrase. The nonce of a piece is
its number; the key comes from a fresh salt, so no nonce is used twice. The header is every piece's
associated data, and it holds the length: a file that was cut short, or has a piece of another file
or in another place, does not open.
"""

import contextlib
import hashlib
import hmac
import os
import struct
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from federation.model.clocks import Entropy
from federation.model.errors import RingmeshError, UsageError

FORMAT = 1
PIECE_BYTES = 65536
TAG_BYTES = 16
MIN_PASSPHRASE = 8
"Characters a new file's passphrase has at least."
MAX_PASSPHRASE = 1024
MAX_CONTENT = 1 << 40
"Bytes of content a file may hold."
NODE, ACCOUNT = 1, 2
"What a file holds."
_HOLDS = {
    NODE: "a whole node, which ringmesh restore reads",
    ACCOUNT: "one account, which ringmesh user import reads",
}
_MAGIC = b"ringmesh sealed\n"
_FIXED = struct.Struct(">16sBBIBB16sQ")
_CHECKSUM, _PROOF = 8, 32
HEADER_BYTES = _FIXED.size + _CHECKSUM + _PROOF
_MEMORY_KIB, _PASSES, _LANES = (8192, 1 << 20), (1, 16), (1, 16)
"What a file may ask of the machine that opens it."


class SealedFileError(RingmeshError):
    """A sealed file cannot be opened or made; the text says why."""


class ForeignFileError(SealedFileError):
    """Not a file of ours, or one that holds something else than what was asked for."""


class NewerFileError(SealedFileError):
    """A newer version of the program made the file."""


class DamagedFileError(SealedFileError):
    """The file was changed since it was made."""


class CutShortError(SealedFileError):
    """The end of the file is missing."""


class WrongPassphraseError(SealedFileError):
    """The passphrase does not open the file."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What trying one passphrase costs: Argon2id's parameters, RFC 9106's second choice."""

    memory_kib: int = 65536
    passes: int = 3
    lanes: int = 4


class SealedWriter:
    """Seals exactly `length` bytes into `out`; `close` writes the last piece."""

    def __init__(
        self,
        out: BinaryIO,
        passphrase: str,
        kind: int,
        length: int,
        *,
        entropy: Entropy,
        cost: Cost | None = None,
    ) -> None:
        cost = cost or Cost()
        salt = entropy.token(16)
        key, proving = _keys(passphrase, salt, cost)
        fixed = _FIXED.pack(
            _MAGIC, FORMAT, kind, cost.memory_kib, cost.passes, cost.lanes, salt, length
        )
        self._header = fixed + _checksum(fixed) + _proof(proving, fixed)
        self._cipher = ChaCha20Poly1305(key)
        self._out = out
        self._left = length
        self._waiting = bytearray()
        self._number = 0
        out.write(self._header)

    def write(self, data: bytes) -> None:
        """Take the next bytes of the content.

        Raises:
            OSError: they cannot be written.
            UsageError: more than was announced.
        """
        self._left -= len(data)
        if self._left < 0:
            raise UsageError("more content than was announced")
        self._waiting += data
        while len(self._waiting) >= PIECE_BYTES:
            self._put(bytes(self._waiting[:PIECE_BYTES]))
            del self._waiting[:PIECE_BYTES]

    def close(self) -> None:
        """Write what waits; raises as `write`, also where less than announced was written."""
        if self._left:
            raise UsageError("less content than was announced")
        if self._waiting:
            self._put(bytes(self._waiting))
            self._waiting.clear()

    def _put(self, piece: bytes) -> None:
        self._out.write(self._cipher.encrypt(_nonce(self._number), piece, self._header))
        self._number += 1


@dataclass(frozen=True, slots=True)
class SealedFile:
    """A file whose header was read: it is ours and whole, and waits for its passphrase."""

    source: BinaryIO
    name: str
    header: bytes
    cost: Cost
    salt: bytes
    length: int

    @classmethod
    def look(cls, source: BinaryIO, name: str, kind: int, *, most: int = MAX_CONTENT) -> Self:
        """Read the header of a seekable file; `name` is what to call it, `kind` what it must hold.

        `most` is how many bytes of content it may have.

        Raises:
            ForeignFileError, NewerFileError, DamagedFileError, CutShortError: it will not do.
            OSError: it cannot be read.
        """
        size = source.seek(0, os.SEEK_END)
        source.seek(0)
        header = source.read(HEADER_BYTES)
        if not header.startswith(_MAGIC):
            if header and _MAGIC.startswith(header):
                raise _cut_short(name)
            raise ForeignFileError(f"{name} is no file that ringmesh made")
        if len(header) > len(_MAGIC) and header[len(_MAGIC)] > FORMAT:
            raise NewerFileError(
                f"{name} has format {header[len(_MAGIC)]}, this program knows {FORMAT}: "
                "install the version that made it"
            )
        if len(header) < HEADER_BYTES:
            raise _cut_short(name)
        fixed = header[: _FIXED.size]
        _, version, found, memory, passes, lanes, salt, length = _FIXED.unpack(fixed)
        cost = Cost(memory, passes, lanes)
        if (
            header[_FIXED.size : _FIXED.size + _CHECKSUM] != _checksum(fixed)
            or version != FORMAT
            or length > MAX_CONTENT
            or not _is_bearable(cost)
        ):
            raise _damaged(name)
        if found != kind:
            raise ForeignFileError(f"{name} holds {_HOLDS.get(found, 'something unknown')}")
        if length > most:
            raise _damaged(name)
        wanted = HEADER_BYTES + length + TAG_BYTES * -(-length // PIECE_BYTES)
        if size < wanted:
            raise _cut_short(name)
        if size > wanted:
            raise _damaged(name)
        return cls(source, name, header, cost, salt, length)

    def open(self, passphrase: str) -> "SealedReader":
        """Open it.

        Raises:
            WrongPassphraseError: the passphrase is another one.
        """
        key, proving = _keys(passphrase, self.salt, self.cost)
        proof = self.header[-_PROOF:]
        if not hmac.compare_digest(_proof(proving, self.header[: _FIXED.size]), proof):
            raise WrongPassphraseError(f"the passphrase does not open {self.name}")
        return SealedReader(self, ChaCha20Poly1305(key))


class SealedReader:
    """The content of a sealed file, from its beginning to its end; every byte was proven."""

    def __init__(self, file: SealedFile, cipher: ChaCha20Poly1305) -> None:
        self._file = file
        self._cipher = cipher
        self._left = file.length
        self._ready = b""
        self._number = 0
        file.source.seek(HEADER_BYTES)

    def take(self, size: int) -> bytes:
        """The next `size` bytes.

        Raises:
            DamagedFileError: they were changed, or the content ends before.
            OSError: the file cannot be read.
        """
        parts = []
        while size:
            if not self._ready:
                self._ready = self._next_piece()
            parts.append(self._ready[:size])
            self._ready = self._ready[size:]
            size -= len(parts[-1])
        return b"".join(parts)

    def expect_end(self) -> None:
        """Make sure that all of the content was taken; raises as `take`."""
        if self._ready or self._left:
            raise _damaged(self._file.name)

    def _next_piece(self) -> bytes:
        size = min(self._left, PIECE_BYTES)
        if not size:
            raise _damaged(self._file.name)
        sealed = self._file.source.read(size + TAG_BYTES)
        try:
            piece = self._cipher.decrypt(_nonce(self._number), sealed, self._file.header)
        except (InvalidTag, ValueError) as error:
            raise _damaged(self._file.name) from error
        self._number += 1
        self._left -= size
        return piece


@contextlib.contextmanager
def opened(file: Path) -> Iterator[BinaryIO]:
    """A file to read while the block lasts.

    Raises:
        SealedFileError: it cannot be read.
    """
    try:
        with file.open("rb") as stream:
            yield stream
    except OSError as error:
        raise SealedFileError(f"{file} cannot be read: {error.strerror}") from error


def check_passphrase(passphrase: str) -> None:
    """Refuse what protects nothing.

    Raises:
        SealedFileError: it is too short or too long.
    """
    if not MIN_PASSPHRASE <= len(passphrase) <= MAX_PASSPHRASE:
        raise SealedFileError(
            f"a passphrase has {MIN_PASSPHRASE} to {MAX_PASSPHRASE} characters; "
            "five or six random words are a good one"
        )


def _keys(passphrase: str, salt: bytes, cost: Cost) -> tuple[bytes, bytes]:
    secret = Argon2id(
        salt=salt,
        length=64,
        iterations=cost.passes,
        lanes=cost.lanes,
        memory_cost=cost.memory_kib,
    ).derive(unicodedata.normalize("NFC", passphrase).encode("utf-8", "surrogatepass"))
    return secret[:32], secret[32:]


def _is_bearable(cost: Cost) -> bool:
    return (
        _MEMORY_KIB[0] <= cost.memory_kib <= _MEMORY_KIB[1]
        and _PASSES[0] <= cost.passes <= _PASSES[1]
        and _LANES[0] <= cost.lanes <= _LANES[1]
    )


def _nonce(number: int) -> bytes:
    return number.to_bytes(12, "big")


def _checksum(fixed: bytes) -> bytes:
    return hashlib.sha256(fixed).digest()[:_CHECKSUM]


def _proof(key: bytes, fixed: bytes) -> bytes:
    return hmac.digest(key, fixed, "sha256")


def _damaged(name: str) -> DamagedFileError:
    return DamagedFileError(
        f"{name} is damaged: it was changed since it was made; use another copy"
    )


def _cut_short(name: str) -> CutShortError:
    return CutShortError(f"{name} is cut short: its end is missing; copy it again")
