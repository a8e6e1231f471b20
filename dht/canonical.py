"""One value, one encoding: the msgpack subset that DHT datagrams and records are written in.

Fixed arrays of integers, bytes, text and nil; no maps, floats, booleans or extension types.
Whatever is decoded is encoded again and must come out equal: no long integers, no spare bytes.
The `read_*` functions below take one field out of a decoded array and check its type and range.
"""

from typing import TypeAlias

import msgpack

from federation.model.errors import PeerError

Value: TypeAlias = "int | bytes | str | list[Value] | None"
MAX_DEPTH = 6
"Arrays within arrays; the deepest format of ours has five."


class CanonicalError(PeerError):
    """These bytes are not the one encoding of a value, or a field is not what it must be."""


def pack(value: Value) -> bytes:
    """Encode a value in its one form."""
    encoded: bytes = msgpack.packb(value, use_bin_type=True)
    return encoded


def unpack(data: bytes) -> Value:
    """Decode exactly one value that fills `data`.

    Raises:
        CanonicalError: anything else.
    """
    value, padding = unpack_padded(data)
    if padding:
        raise CanonicalError("bytes follow the value")
    return value


def unpack_padded(data: bytes) -> tuple[Value, int]:
    """Decode one value that zero bytes may follow; return it and their count.

    Raises:
        CanonicalError: not one canonical value, or other bytes than zeros follow.
    """
    padding = b""
    try:
        value = msgpack.unpackb(
            data, raw=False, max_map_len=0, max_ext_len=0, max_array_len=64, use_list=True
        )
    except msgpack.ExtraData as extra:
        value, padding = extra.unpacked, bytes(extra.extra)
    except (ValueError, msgpack.UnpackException) as error:
        raise CanonicalError("not msgpack of the kind we speak") from error
    if padding.strip(b"\0"):
        raise CanonicalError("padding is zero bytes")
    _check(value, MAX_DEPTH)
    if pack(value) != data[: len(data) - len(padding)]:
        raise CanonicalError("not the one encoding of its value")
    return value, len(padding)


def _check(value: object, depth: int) -> None:
    kind = type(value)
    if kind is list:
        if depth == 0:
            raise CanonicalError("arrays are nested too deeply")
        assert isinstance(value, list)
        for item in value:
            _check(item, depth - 1)
    elif not (value is None or kind is int or kind is bytes or kind is str):
        raise CanonicalError(f"{kind.__name__} is no type of ours")


def read_array(value: Value, least: int, most: int) -> list[Value]:
    """An array of `least` to `most` items.

    Raises:
        CanonicalError: it is not.
    """
    if not isinstance(value, list) or not least <= len(value) <= most:
        raise CanonicalError(f"expected an array of {least} to {most} items")
    return value


def read_int(value: Value, least: int, most: int) -> int:
    """An integer from `least` to `most`.

    Raises:
        CanonicalError: it is not.
    """
    if not isinstance(value, int) or not least <= value <= most:
        raise CanonicalError(f"expected an integer from {least} to {most}")
    return value


def read_bytes(value: Value, *sizes: int) -> bytes:
    """Bytes of one of these lengths.

    Raises:
        CanonicalError: they are not.
    """
    if not isinstance(value, bytes) or len(value) not in sizes:
        raise CanonicalError(f"expected {sizes} bytes")
    return value


def read_blob(value: Value, most: int) -> bytes:
    """At most `most` bytes.

    Raises:
        CanonicalError: they are not.
    """
    if not isinstance(value, bytes) or len(value) > most:
        raise CanonicalError(f"expected at most {most} bytes")
    return value


def read_text(value: Value, most: int) -> str:
    """Text of at most `most` bytes in UTF-8.

    Raises:
        CanonicalError: it is not.
    """
    if not isinstance(value, str) or len(value.encode()) > most:
        raise CanonicalError(f"expected text of at most {most} bytes")
    return value
