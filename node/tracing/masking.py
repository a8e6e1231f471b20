"""What must not be seen in a trace that is shown: proofs of passwords, keys, and what people say.

The words that stay in credentials are those that help to find a fault (who, where, which algorithm)
and help nobody to guess a password. Of bodies only descriptions of media and reports of SIP are
shown; texts, and digits dialled into a call, are not.
"""

import re

MASK = "***"
_CREDENTIALS = re.compile(
    r"^((?:proxy-)?(?:authorization|authentication-info))([ \t]*:[ \t]*)(.*)$", re.IGNORECASE
)
_SHOWN_WORDS = frozenset({"username", "userhash", "realm", "uri", "algorithm", "qop", "nc"})
_WORD = re.compile(r'([A-Za-z0-9_-]+)([ \t]*=[ \t]*)("(?:[^"\\]|\\.)*"|[^,\s]*)')
_URI_PASSWORD = re.compile(r"(sips?:[^\s<>@:;\"]{0,256}:)[^\s<>@\"]{1,256}(?=@)", re.IGNORECASE)
_INLINE_KEY = re.compile(r"(inline:)[^\s|;]+", re.IGNORECASE)
_SDP_SECRET = re.compile(r"^(a=ice-pwd:|a=key-mgmt:|k=)(.*)$", re.IGNORECASE)
_SHOWN_BODIES = frozenset({"application/sdp", "application/trickle-ice-sdpfrag"})
_REPORT = "message/sipfrag"
_CONTENT_TYPE = re.compile(r"^(?:content-type|c)[ \t]*:[ \t]*([^\s;]+)[ \t]*(.*)$", re.IGNORECASE)
_BOUNDARY = re.compile(r';[ \t]*boundary[ \t]*=[ \t]*"?([^\s";]+)', re.IGNORECASE)
_MAX_DEPTH = 3
"Multiparts and reports of SIP within each other that are looked into."


_MAYBE = re.compile(
    rb"auth|content-type|\nc[ \t]*:|sips?:[^\s<>@;]{1,256}:[^\s<>@]{1,256}@", re.IGNORECASE
)
"What a message without secrets has nothing of."
_LENGTH = re.compile(r"^(content-length|l)[ \t]*:.*$", re.IGNORECASE | re.MULTILINE)


def masked_bytes(data: bytes) -> bytes:
    """A message as another program may see it: the same bytes where there is nothing to mask."""
    if _MAYBE.search(data) is None:
        return data
    head, blank, body = masked(data).partition("\n\n")
    sent = body.replace("\n", "\r\n").encode()
    head = _LENGTH.sub(rf"\1: {len(sent)}", head)
    return (head + blank).replace("\n", "\r\n").encode() + sent


def masked(data: bytes) -> str:
    """A message as people may see it."""
    text = data.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
    return _with_body(text, _MAX_DEPTH)


def _with_body(text: str, depth: int) -> str:
    """A header and what follows it: of a message, a report of one, or a part of a multipart."""
    head, blank, body = text.partition("\n\n")
    lines = _unfolded(head)
    shown = "\n".join(_field(line) for line in lines)
    if not body.strip():
        return shown + blank + body
    kind, more = _content_type(lines)
    boundary = _BOUNDARY.search(more) if kind.startswith("multipart/") and depth else None
    if boundary is not None:
        fence = f"--{boundary[1]}"
        parts = body.split(fence)
        parts[1:] = [_with_body(part, depth - 1) for part in parts[1:]]
        return shown + blank + fence.join(parts[1:] and ["", *parts[1:]])
    if kind == _REPORT and depth:
        return shown + blank + _with_body(body, depth - 1)
    if kind not in _SHOWN_BODIES:
        size = len(body.encode())
        return f"{shown}{blank}({size} bytes of {kind or 'no named type'}, not shown)\n"
    return shown + blank + "\n".join(_body_line(line) for line in body.split("\n"))


def _unfolded(head: str) -> list[str]:
    """Header lines, each whole (RFC 3261 7.3.1): a secret may stand on a folded one."""
    lines: list[str] = []
    for line in head.split("\n"):
        if line[:1] in (" ", "\t") and lines:
            lines[-1] += " " + line.strip()
        else:
            lines.append(line)
    return lines


def _field(line: str) -> str:
    line = _URI_PASSWORD.sub(rf"\1{MASK}", line)
    found = _CREDENTIALS.match(line)
    if found is None:
        return line
    name, colon, value = found.groups()
    scheme, space, words = value.partition(" ")
    if "=" in scheme:  # Authentication-Info names no scheme
        scheme, space, words = "", "", value
    elif scheme.lower() != "digest":
        return f"{name}{colon}{scheme} {MASK}"
    return f"{name}{colon}{scheme}{space}{_WORD.sub(_word, words)}"


def _word(found: re.Match[str]) -> str:
    name, equals, value = found.groups()
    return f"{name}{equals}{value if name.lower() in _SHOWN_WORDS else MASK}"


def _content_type(lines: list[str]) -> tuple[str, str]:
    """The type of a body, in lower case, and its parameters."""
    for line in lines:
        found = _CONTENT_TYPE.match(line)
        if found is not None:
            return found[1].lower(), found[2]
    return "", ""


def _body_line(line: str) -> str:
    line = _URI_PASSWORD.sub(rf"\1{MASK}", line)
    if line[:9].lower() == "a=crypto:":
        return _INLINE_KEY.sub(rf"\1{MASK}", line)
    return _SDP_SECRET.sub(rf"\1{MASK}", line)
