"""Frames as bytes: a 4-byte big-endian length, then a msgpack array `[type, field, ...]`.

Later versions may add frame types and append fields, so unknown types are skipped and trailing
fields are ignored. Everything else that is not exactly as the README says is a `CodecError`.
Frames are not signed and travel inside an authenticated link, so msgpack's several spellings of one
integer are all taken; `encode` always makes the shortest.
"""

import re
from collections.abc import Callable
from typing import Any, NoReturn

import msgpack

from federation.messages import (
    LEG_SECRET_BYTES,
    MAX_DOMAINS,
    MAX_FEATURES,
    MAX_LEG_COUNT,
    MAX_LEGS,
    MAX_SIP_BYTES,
    MAX_STATEMENT_BYTES,
    MAX_TEXT_BYTES,
    TXN_BYTES,
    Bye,
    Cancel,
    Frame,
    Goodbye,
    Hello,
    Leg,
    LegAddress,
    LegAnswer,
    LegOffer,
    Legs,
    Ping,
    Pong,
    Request,
    Response,
)
from federation.model.address import AddressError, Endpoint, parse_ip
from federation.model.errors import PeerError

LENGTH_BYTES = 4
MAX_FRAME_BYTES = 81_920
"Of the array; the largest request with all its legs and a full statement fits."
MAX_DEPTH = 6
MAX_ITEMS = 128
"Elements of any one array or map."
MAX_U32 = 2**32 - 1
MAX_SEQ = 2**31 - 1

_REQUEST_LINE = re.compile(rb"[A-Za-z0-9.!%*_+`'~-]{1,64} ")
_STATUS_LINE = re.compile(rb"SIP/2\.0 [1-6][0-9][0-9] ")
_OFFER, _ANSWER = 1, 2


class CodecError(PeerError):
    """These bytes are not a frame that may be taken, or this frame may not be sent."""


# -- fields -----------------------------------------------------------------------------------


def _refuse(text: str) -> NoReturn:
    raise CodecError(text)


def _blob(value: Any, what: str, limit: int, exactly: int | None = None) -> bytes:
    if not isinstance(value, bytes) or len(value) > limit:
        _refuse(f"{what} is not at most {limit} bytes")
    if exactly is not None and len(value) != exactly:
        _refuse(f"{what} has not {exactly} bytes")
    return value


def _txn(value: Any) -> bytes:
    return _blob(value, "txn", TXN_BYTES, TXN_BYTES)


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        _refuse(f"{what} is not text")
    try:
        size = len(value.encode("utf-8"))
    except UnicodeEncodeError:
        _refuse(f"{what} is not valid Unicode")
    if size > MAX_TEXT_BYTES:
        _refuse(f"{what} has more than {MAX_TEXT_BYTES} bytes")
    return value


def _texts(value: Any, what: str, limit: int) -> tuple[str, ...]:
    if not isinstance(value, tuple) or len(value) > limit:
        _refuse(f"{what} is not at most {limit} texts")
    return tuple(_text(item, what) for item in value)


def _integer(value: Any, what: str, lowest: int, highest: int) -> int:
    if type(value) is not int or not lowest <= value <= highest:
        _refuse(f"{what} is not an integer from {lowest} to {highest}")
    return value


def _sip(value: Any, line: re.Pattern[bytes], what: str) -> bytes:
    sip = _blob(value, "sip", MAX_SIP_BYTES)
    if line.match(sip) is None:
        _refuse(f"sip does not begin with a {what} line")
    return sip


def _fields(values: tuple[Any, ...], count: int, what: str) -> tuple[Any, ...]:
    """The fields this version knows; what a later one appended is left out."""
    if len(values) < count:
        _refuse(f"{what} has {len(values)} fields, not {count}")
    return values[:count]


# -- legs -------------------------------------------------------------------------------------


def _leg_address(value: Any) -> LegAddress:
    if not isinstance(value, tuple) or len(value) != 2:
        _refuse("a leg's address is not [ip or nil, port]")
    port = _integer(value[1], "leg port", 1, 65535)
    if value[0] is None:
        return LegAddress(None, port)
    try:
        return LegAddress(*Endpoint.unpack(_blob(value[0], "leg ip", 16), port))
    except AddressError as error:
        raise CodecError(str(error)) from error


def _leg(value: Any) -> Leg:
    if value is None:
        return None
    if not isinstance(value, tuple):
        _refuse("a leg is an array or nil")
    kind, address, leg_id, number, secret = _fields(value, 5, "leg")
    leg_id = _integer(leg_id, "leg id", 0, MAX_U32)
    secret = _blob(secret, "leg secret", LEG_SECRET_BYTES, LEG_SECRET_BYTES)
    if kind == _OFFER:
        count = _integer(number, "leg count", 1, MAX_LEG_COUNT)
        if leg_id + count - 1 > MAX_U32:
            _refuse("leg ids beyond 32 bits")
        return LegOffer(address=_leg_address(address), first_id=leg_id, count=count, secret=secret)
    if kind == _ANSWER:
        index = _integer(number, "leg index", 0, MAX_LEG_COUNT - 1)
        return LegAnswer(address=_leg_address(address), own_id=leg_id, index=index, secret=secret)
    _refuse("a leg is an offer or an answer")


def _legs(value: Any) -> Legs:
    if not isinstance(value, tuple) or len(value) > MAX_LEGS:
        _refuse(f"legs are not at most {MAX_LEGS}")
    return tuple(_leg(item) for item in value)


def _pack_leg(leg: Leg) -> list[Any] | None:
    if leg is None:
        return None
    ip = None
    if leg.address.ip is not None:
        try:
            ip = parse_ip(leg.address.ip).packed
        except AddressError as error:
            raise CodecError(str(error)) from error
    address = [ip, leg.address.port]
    if isinstance(leg, LegOffer):
        return [_OFFER, address, leg.first_id, leg.count, leg.secret]
    return [_ANSWER, address, leg.own_id, leg.index, leg.secret]


def _pack_legs(legs: Legs) -> list[list[Any] | None]:
    return [_pack_leg(leg) for leg in legs]


# -- one reader and one writer for each type --------------------------------------------------


def _read_hello(values: tuple[Any, ...]) -> Hello:
    version, features, domains, software = _fields(values, 4, "hello")
    return Hello(
        version=_integer(version, "version", 1, MAX_U32),
        features=_texts(features, "features", MAX_FEATURES),
        domains=_texts(domains, "domains", MAX_DOMAINS),
        software=_text(software, "software"),
    )


def _read_request(values: tuple[Any, ...]) -> Request:
    txn, sip, legs, statement, last_seq = _fields(values, 5, "request")
    return Request(
        txn=_txn(txn),
        sip=_sip(sip, _REQUEST_LINE, "request"),
        legs=_legs(legs),
        statement=None if statement is None else _blob(statement, "statement", MAX_STATEMENT_BYTES),
        last_seq=_integer(last_seq, "last_seq", 0, MAX_SEQ),
    )


def _read_response(values: tuple[Any, ...]) -> Response:
    txn, seq, sip, legs = _fields(values, 4, "response")
    return Response(
        txn=_txn(txn),
        seq=_integer(seq, "seq", 1, MAX_SEQ),
        sip=_sip(sip, _STATUS_LINE, "status"),
        legs=_legs(legs),
    )


def _read_cancel(values: tuple[Any, ...]) -> Cancel:
    txn, reason = _fields(values, 2, "cancel")
    return Cancel(txn=_txn(txn), reason=_text(reason, "reason"))


def _read_bye(values: tuple[Any, ...]) -> Bye:
    call_id, sender_tag, receiver_tag, reason = _fields(values, 4, "bye")
    return Bye(
        call_id=_text(call_id, "Call-ID"),
        sender_tag=_text(sender_tag, "tag"),
        receiver_tag=_text(receiver_tag, "tag"),
        reason=_text(reason, "reason"),
    )


def _read_ping(values: tuple[Any, ...]) -> Ping:
    return Ping(_integer(_fields(values, 1, "ping")[0], "number", 0, MAX_U32))


def _read_pong(values: tuple[Any, ...]) -> Pong:
    return Pong(_integer(_fields(values, 1, "pong")[0], "number", 0, MAX_U32))


def _read_goodbye(values: tuple[Any, ...]) -> Goodbye:
    return Goodbye(_text(_fields(values, 1, "goodbye")[0], "reason"))


_READERS: dict[int, Callable[[tuple[Any, ...]], Frame]] = {
    1: _read_hello,
    2: _read_request,
    3: _read_response,
    4: _read_cancel,
    5: _read_bye,
    6: _read_ping,
    7: _read_pong,
    8: _read_goodbye,
    # 9 introduce and 10 reach are reserved for nodes behind NAT
}


def _pack(frame: Frame) -> list[Any]:
    match frame:
        case Hello():
            return [1, frame.version, frame.features, frame.domains, frame.software]
        case Request():
            legs = _pack_legs(frame.legs)
            return [2, frame.txn, frame.sip, legs, frame.statement, frame.last_seq]
        case Response():
            return [3, frame.txn, frame.seq, frame.sip, _pack_legs(frame.legs)]
        case Cancel():
            return [4, frame.txn, frame.reason]
        case Bye():
            return [5, frame.call_id, frame.sender_tag, frame.receiver_tag, frame.reason]
        case Ping(number):
            return [6, number]
        case Pong(number):
            return [7, number]
        case Goodbye(reason):
            return [8, reason]


# -- arrays -----------------------------------------------------------------------------------


def unpack_array(data: bytes, *, limit: int = MAX_FRAME_BYTES) -> tuple[Any, ...]:
    """Read one bounded msgpack array and nothing after it; arrays become tuples.

    Raises:
        CodecError: anything else.
    """
    if len(data) > limit:
        _refuse(f"more than {limit} bytes")
    try:
        value = msgpack.unpackb(
            data,
            use_list=False,
            strict_map_key=False,
            max_array_len=MAX_ITEMS,
            max_map_len=MAX_ITEMS,
            max_ext_len=0,
        )
    except (ValueError, TypeError, msgpack.exceptions.UnpackException) as error:
        raise CodecError("not msgpack within its bounds") from error
    if not isinstance(value, tuple):
        _refuse("not an array")
    _check_depth(value, MAX_DEPTH)
    return value


def _check_depth(value: Any, depth: int) -> None:
    if isinstance(value, dict):
        value = (*value.keys(), *value.values())
    if not isinstance(value, tuple):
        return
    if depth == 0:
        _refuse(f"nested deeper than {MAX_DEPTH}")
    for item in value:
        _check_depth(item, depth - 1)


def decode(data: bytes) -> Frame | None:
    """Read a frame's array; `None` if its type is not known to this version.

    Raises:
        CodecError: not a frame.
    """
    values = unpack_array(data)
    if not values:
        _refuse("an empty array")
    reader = _READERS.get(_integer(values[0], "type", 0, MAX_U32))
    return None if reader is None else reader(values[1:])


def encode(frame: Frame) -> bytes:
    """The frame with its length in front.

    Raises:
        CodecError: a field is outside its bounds, so no peer would take the frame.
    """
    try:
        data: bytes = msgpack.packb(_pack(frame))
    except (ValueError, TypeError, OverflowError) as error:
        raise CodecError(f"cannot be encoded: {error}") from error
    decode(data)
    return len(data).to_bytes(LENGTH_BYTES, "big") + data


class FrameReader:
    """Cuts one direction of a stream into frames, however QUIC split or joined them."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def buffered(self) -> int:
        """Bytes of an unfinished frame."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[Frame]:
        """Take the next bytes; give the frames they complete, unknown types left out.

        Raises:
            CodecError: the stream cannot be read any further.
        """
        buffer = self._buffer
        buffer += data
        frames: list[Frame] = []
        start = 0
        while len(buffer) - start >= LENGTH_BYTES:
            size = int.from_bytes(buffer[start : start + LENGTH_BYTES], "big")
            if not 0 < size <= MAX_FRAME_BYTES:
                _refuse(f"a frame of {size} bytes")
            end = start + LENGTH_BYTES + size
            if len(buffer) < end:
                break
            frame = decode(bytes(buffer[start + LENGTH_BYTES : end]))
            if frame is not None:
                frames.append(frame)
            start = end
        del buffer[:start]
        return frames
