"""Sealed files: what opens them, and what is said of those that do not open."""

import io

import pytest

from federation.model.clocks import SystemEntropy
from federation.model.errors import UsageError
from node.backup.sealed import (
    ACCOUNT,
    FORMAT,
    HEADER_BYTES,
    NODE,
    PIECE_BYTES,
    TAG_BYTES,
    Cost,
    CutShortError,
    DamagedFileError,
    ForeignFileError,
    NewerFileError,
    SealedFile,
    SealedFileError,
    SealedWriter,
    WrongPassphraseError,
    check_passphrase,
)
from tests.support.sealed_files import CHEAP, PASSPHRASE, sealed, unsealed


@pytest.mark.parametrize(
    "size", [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES]
)
def test_content_comes_back_whole(size: int) -> None:
    content = bytes(n % 251 for n in range(size))
    assert unsealed(sealed(content)) == content


def test_nothing_of_the_content_is_in_the_file() -> None:
    assert b"a secret" not in sealed(b"a secret" * 20)


def test_the_same_content_is_never_sealed_alike() -> None:
    first, second = sealed(b"x" * 100), sealed(b"x" * 100)
    assert first[HEADER_BYTES:] != second[HEADER_BYTES:]


def test_another_passphrase_is_told_from_damage() -> None:
    with pytest.raises(WrongPassphraseError, match="the passphrase does not open it"):
        unsealed(sealed(b"content"), passphrase="another one")


def test_a_passphrase_may_be_typed_on_any_keyboard() -> None:
    """Letters with marks arrive composed or not."""
    assert unsealed(sealed(b"x", passphrase="caf\u00e9 au lait"), "cafe\u0301 au lait") == b"x"


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.99])
def test_a_file_without_its_end_is_cut_short(kept: float) -> None:
    whole = sealed(b"c" * 200_000)
    part = whole[: max(1, int(len(whole) * kept))]
    with pytest.raises(CutShortError, match="its end is missing"):
        unsealed(part)


def test_a_file_that_ends_between_two_pieces_is_cut_short() -> None:
    part = sealed(b"c" * (2 * PIECE_BYTES))[: HEADER_BYTES + PIECE_BYTES + TAG_BYTES]
    with pytest.raises(CutShortError):
        unsealed(part)


def test_pieces_keep_their_places() -> None:
    whole = sealed(b"a" * PIECE_BYTES + b"b" * PIECE_BYTES)
    size = PIECE_BYTES + TAG_BYTES
    head, one, two = whole[:HEADER_BYTES], whole[HEADER_BYTES:-size], whole[-size:]
    with pytest.raises(DamagedFileError):
        unsealed(head + two + one)


def test_something_behind_the_end_is_damage() -> None:
    with pytest.raises(DamagedFileError):
        unsealed(sealed(b"content") + b"more")


@pytest.mark.parametrize("data", [b"", b"root:x:0:0\n", b"SQLite format 3\0" * 20])
def test_a_foreign_file_is_one(data: bytes) -> None:
    with pytest.raises(ForeignFileError, match="no file that ringmesh made"):
        unsealed(data)


def test_a_newer_format_names_both() -> None:
    data = bytearray(sealed(b"content"))
    data[16] = FORMAT + 1
    with pytest.raises(NewerFileError, match="format 2, this program knows 1"):
        unsealed(bytes(data))


def test_a_file_of_another_kind_says_which_command_reads_it() -> None:
    with pytest.raises(ForeignFileError, match="one account, which ringmesh user import reads"):
        unsealed(sealed(b"content", kind=ACCOUNT), kind=NODE)
    with pytest.raises(ForeignFileError, match="a whole node, which ringmesh restore reads"):
        unsealed(sealed(b"content", kind=NODE), kind=ACCOUNT)


@pytest.mark.parametrize(
    "cost", [Cost(1 << 21, 1, 1), Cost(8192, 17, 1), Cost(8192, 1, 17), Cost(1024, 1, 1)]
)
def test_a_file_cannot_ask_for_any_amount_of_work(cost: Cost) -> None:
    """Its header is written for real, so only the bounds refuse it."""
    data = sealed(b"content", cost=Cost(8192, 1, 1))
    with pytest.raises(DamagedFileError):
        SealedFile.look(io.BytesIO(_with_cost(data, cost)), "it", NODE)


def _with_cost(data: bytes, cost: Cost) -> bytes:
    import hashlib
    import struct

    fixed = bytearray(data[: HEADER_BYTES - 40])
    fixed[18:24] = struct.pack(">IBB", cost.memory_kib, cost.passes, cost.lanes)
    rest = data[HEADER_BYTES - 32 :]
    return bytes(fixed) + hashlib.sha256(fixed).digest()[:8] + rest


def test_the_announced_length_is_kept() -> None:
    writer = SealedWriter(io.BytesIO(), PASSPHRASE, NODE, 3, entropy=SystemEntropy(), cost=CHEAP)
    with pytest.raises(UsageError):
        writer.write(b"four")
    writer = SealedWriter(io.BytesIO(), PASSPHRASE, NODE, 3, entropy=SystemEntropy(), cost=CHEAP)
    writer.write(b"1")
    with pytest.raises(UsageError):
        writer.close()


def test_content_that_is_left_unread_is_noticed() -> None:
    reader = SealedFile.look(io.BytesIO(sealed(b"content")), "it", NODE).open(PASSPHRASE)
    reader.take(3)
    with pytest.raises(DamagedFileError):
        reader.expect_end()
    with pytest.raises(DamagedFileError):
        reader.take(5)


def test_a_passphrase_has_to_protect() -> None:
    check_passphrase("12345678")
    for passphrase in ("", "1234567", "x" * 1025):
        with pytest.raises(SealedFileError, match="8 to 1024 characters"):
            check_passphrase(passphrase)
