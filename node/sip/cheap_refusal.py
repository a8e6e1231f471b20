"""A 503 to new work, made of the request's bytes without reading it as a message.

What is not plainly new work, written in the plainest way (a line a field, one Via a line), is left
to be read and treated as always. The answer remembers nothing: a repeated request is answered
alike (RFC 3261 8.2.7). Its To tag is known again, so that its ACK ends here too.
"""

import re
from zlib import crc32

from node.sip.flow import DEFAULT_PORT

RETRY_AFTER = 3
"Seconds that a refused sender is asked to wait at least (RFC 3261 20.33)."
RETRY_SPREAD = 6
"Up to so many more, so that not all come back at once."
MAX_BYTES = 8_192
"Larger messages are left to the ordinary way; what one costs is no longer the request itself."
_NEW_WORK = (b"INVITE ", b"REGISTER ", b"MESSAGE ", b"SUBSCRIBE ", b"OPTIONS ", b"PUBLISH ")
_EMERGENCY = re.compile(rb"[A-Z]+ (?:urn:service:sos|(?:sips?|tel):(\d{2,4})[@;\s])", re.IGNORECASE)
_FIELDS = re.compile(
    rb"\r\n(v|via|f|from|t|to|i|call-id|cseq)[ \t]*:[ \t]*([^\r\n]+)", re.IGNORECASE
)
_HEAD_END = b"\r\n\r\n"
_VIA, _FROM, _TO, _CALL_ID, _CSEQ = range(5)
_KINDS = {
    b"v": _VIA, b"via": _VIA, b"f": _FROM, b"from": _FROM, b"t": _TO, b"to": _TO,
    b"i": _CALL_ID, b"call-id": _CALL_ID, b"cseq": _CSEQ,
}  # fmt: skip
_SENT_BY = re.compile(
    rb"SIP/2\.0/[A-Z]+[ \t]+(?:\[[0-9A-Fa-f:.]+\]|[^;:\s,\[]+)(?::(\d{1,5}))?[ \t]*(?:;|$)",
    re.IGNORECASE,
)
_RPORT = re.compile(rb";[ \t]*rport(?=[ \t]*(?:;|$))", re.IGNORECASE)
_TO_TAG = re.compile(rb";[ \t]*tag[ \t]*=", re.IGNORECASE)


class CheapRefusal:
    """Makes such answers, and knows the ACKs to them."""

    def __init__(self, secret: bytes, *, emergency: frozenset[str] = frozenset()) -> None:
        """`emergency` numbers are never refused, nor is `urn:service:sos`."""
        self._tag = b"busy" + secret.hex().encode("ascii")
        self._emergency = frozenset(number.encode("ascii") for number in emergency)

    def is_own_ack(self, data: bytes) -> bool:
        """Whether this is the ACK to such an answer; nothing is to be done with it."""
        return data.startswith(b"ACK ") and self._tag in data

    def answer(self, data: bytes, host: str, port: int) -> tuple[bytes, int] | None:
        """The 503 to a datagram or message from `host` and `port`, and the port to send it to.

        `None`: this is not new work, an emergency, or nothing to be sure about.
        """
        if not data.startswith(_NEW_WORK) or len(data) > MAX_BYTES:
            return None
        emergency = _EMERGENCY.match(data)
        if emergency is not None and emergency[1] in (None, *self._emergency):
            return None
        end = data.find(_HEAD_END)
        if end < 0 or b"\r\n " in data[:end] or b"\r\n\t" in data[:end]:
            return None  # a field over several lines
        fields = self._fields(data[: end + 2])
        if fields is None:
            return None
        vias, (sender, to, call_id, cseq) = fields
        top = _SENT_BY.match(vias[0])
        if top is None or b"," in vias[0] or _TO_TAG.search(to.rpartition(b">")[2]):
            return None
        asked = _RPORT.search(vias[0])
        back = port if asked is not None else int(top[1] or DEFAULT_PORT)
        if back > 65_535:
            return None
        source = host.partition("%")[0].encode("ascii")
        if asked is None:
            vias[0] += b";received=" + source
        else:
            text = b";received=%b;rport=%d" % (source, port)
            vias[0] = vias[0][: asked.start()] + text + vias[0][asked.end() :]
        wait = RETRY_AFTER + crc32(data) % RETRY_SPREAD
        lines = [b"SIP/2.0 503 Service Unavailable", *(b"Via: " + via for via in vias)]
        lines += (b"From: " + sender, b"To: %b;tag=%b" % (to, self._tag), b"Call-ID: " + call_id)
        lines += (b"CSeq: " + cseq, b"Retry-After: %d" % wait, b"Content-Length: 0\r\n\r\n")
        return b"\r\n".join(lines), back

    def _fields(self, head: bytes) -> tuple[list[bytes], list[bytes]] | None:
        """The Vias, and From, To, Call-ID and CSeq, each there once."""
        vias: list[bytes] = []
        single: dict[int, bytes] = {}
        for found in _FIELDS.finditer(head):
            kind = _KINDS[found[1].lower()]
            if kind == _VIA:
                vias.append(found[2])
            elif kind in single:
                return None
            else:
                single[kind] = found[2]
        if not vias or len(single) < 4:
            return None
        return vias, [single[kind] for kind in (_FROM, _TO, _CALL_ID, _CSEQ)]
