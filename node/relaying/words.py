"""What nodes say to each other about relaying: requests on a link, shaped as SIP, answered once.

    RELAY sip:relay@KEYNAME SIP/2.0, Content-Type: application/ringmesh-relay
    body: msgpack ["ask", token], ["receipt", nonce] or ["end", nonce]

    200, body of an ask: msgpack [username, password, not-after, [URI, ...]]
    200, body of the others: the receipt (`federation.relay_token`)
    403 no relaying for strangers now; 486 as much as the owner allows is relayed already
    404 no such token; 400 not understood

A node that does not know the method answers with some other refusal, which means the same as 403.
"""

from dataclasses import dataclass
from typing import Any

import msgpack

from federation.codec import CodecError, unpack_array
from federation.model.errors import PeerError

METHOD = "RELAY"
MAX_BODY = 2048
MAX_URIS = 8
MAX_TEXT = 256
ASK, RECEIPT, END = "ask", "receipt", "end"
OK, MALFORMED, UNWILLING, UNKNOWN, FULL = 200, 400, 403, 404, 486
_REASONS = {
    OK: "OK",
    MALFORMED: "Bad Request",
    UNWILLING: "Forbidden",
    UNKNOWN: "Not Found",
    FULL: "Busy Here",
}


class WordsError(PeerError):
    """A request or an answer about relaying breaks its form."""


@dataclass(frozen=True, slots=True)
class Lent:
    """What an asker was given."""

    username: str
    password: str
    not_after: int
    "Unix seconds."
    uris: tuple[str, ...]
    "TURN URIs (RFC 7065)."

    def encode(self) -> bytes:
        """The body of the answer."""
        values = [self.username, self.password, self.not_after, list(self.uris)]
        return bytes(msgpack.packb(values))

    @classmethod
    def decode(cls, body: bytes) -> "Lent":
        """Read the body of an answer.

        Raises:
            WordsError: it is something else.
        """
        values = _array(body)
        if len(values) != 4:
            raise WordsError("an answer has four fields")
        username, password, not_after, uris = values
        if type(not_after) is not int or not isinstance(uris, tuple) or len(uris) > MAX_URIS:
            raise WordsError("not an answer")
        for text in (username, password, *uris):
            if not isinstance(text, str) or len(text) > MAX_TEXT:
                raise WordsError("not a short text")
        return cls(username, password, not_after, uris)


def request(what: str, data: bytes, key_name: str) -> bytes:
    """The bytes of a request."""
    body: bytes = msgpack.packb([what, data])
    head = (
        f"{METHOD} sip:relay@{key_name} SIP/2.0\r\n"
        "Content-Type: application/ringmesh-relay\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def read_request(sip: bytes) -> tuple[str, bytes]:
    """What is asked, and the token or nonce.

    Raises:
        WordsError: it is something else.
    """
    values = _array(body_of(sip))
    if len(values) != 2 or not isinstance(values[1], bytes):
        raise WordsError("a request has two fields")
    return str(values[0]), values[1]


def response(status: int, body: bytes = b"") -> bytes:
    """The bytes of an answer."""
    head = f"SIP/2.0 {status} {_REASONS[status]}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def body_of(sip: bytes) -> bytes:
    """What follows the head."""
    return sip.partition(b"\r\n\r\n")[2]


def _array(body: bytes) -> tuple[Any, ...]:
    try:
        return unpack_array(body, limit=MAX_BODY)
    except CodecError as error:
        raise WordsError(str(error)) from error
