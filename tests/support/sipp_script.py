"""SIPp scenarios in a line a step, as a ladder diagram reads.

```
> INVITE offer          send; the first request of a script is sent again with credentials
  Subject: x            a further header field of it
< 180?                  wait for a response that may be left out
< 200
  Subject: ^ y$         the header field of what came must match
> ACK
. 300                   milliseconds
> BYE
< 200
```

A script that begins by waiting is the callee's: `> 180` answers the request that came last, `> 200
INVITE offer` the INVITE whatever came since. `offer` and what else `_BODIES` has are bodies. `open`
after the first request: nobody asks for credentials. A field stands in place of one that would be
there anyway; `Body` and `Message` are looked into as a whole. In SIPp's CSV field 0 is the login,
field 2 what is called, field 3 the credentials (`tests.support.sipp`).
"""

import re
from dataclasses import dataclass, field
from xml.sax.saxutils import quoteattr

_AUDIO = "m=audio [media_port] RTP/AVP 0 101\na=rtpmap:101 telephone-event/8000"
_BODIES = {
    "offer": ("application/sdp", _AUDIO),
    "hold": ("application/sdp", f"{_AUDIO}\na=sendonly"),
    "fax": ("application/sdp", "m=image [media_port] udptl t38\na=T38FaxVersion:0"),
    "text": ("text/plain", "hello"),
    "dtmf": ("application/dtmf-relay", "Signal=5\nDuration=160"),
    "fragment": ("message/sipfrag;version=2.0", "SIP/2.0 200 OK"),
    "waiting": (
        "application/simple-message-summary",
        "Messages-Waiting: yes\nVoice-Message: 2/8 (0/2)",
    ),
    "": ("", ""),
}
_SDP = (
    "v=0\no=sipp 1 {version} IN IP[local_ip_type] [local_ip]\ns=-\n"
    "c=IN IP[media_ip_type] [media_ip]\nt=0 0\n{media}"
)
_VIA = "Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch];rport"
_CONTACT = "Contact: <sip:[field0]@[local_ip]:[local_port];transport=[transport]>"
_OWN_CONTACT = "Contact: <sip:[local_ip]:[local_port];transport=[transport]>"
_AIM = "[field2]@[remote_ip]:[remote_port]"
_NO_CONTACT = frozenset({"ACK", "BYE", "MESSAGE", "PRACK", "CANCEL", "INFO"})
_WHOLE = {"Body": 'search_in="body"', "Message": 'search_in="msg"'}
_STEP = re.compile(r"([<>.]) ([A-Z0-9]+)(\??)((?: [A-Za-z0-9]+)*)")


@dataclass
class _Step:
    kind: str
    what: str
    is_optional: bool
    words: list[str]
    fields: list[str] = field(default_factory=list)


def scenario(name: str, script: str, aim: str = _AIM) -> str:
    """The XML of a script; a caller's calls `aim`, an address without its scheme."""
    steps: list[_Step] = []
    for line in script.strip("\n").splitlines():
        if line.startswith("  "):
            steps[-1].fields.append(line.strip())
        elif line.strip():
            match = _STEP.fullmatch(line.strip())
            if match is None:
                raise ValueError(f"{name}: what is {line!r}?")
            steps.append(_Step(match[1], match[2], match[3] == "?", match[4].split()))
    writer = _Caller(aim) if steps[0].kind == ">" else _Callee()
    parts = [writer.step(step) for step in steps]
    used = f'<Reference variables="{",".join(writer.variables)}"/>' if writer.variables else ""
    return (
        '<?xml version="1.0" encoding="ISO-8859-1" ?>\n'
        f"<scenario name={quoteattr(name)}>\n{chr(10).join(parts)}\n{used}\n</scenario>\n"
    )


def _with(lines: list[str], fields: list[str]) -> list[str]:
    """Further fields, each in place of those of its name."""
    names = {field.partition(":")[0] for field in fields}
    return [*(line for line in lines if line.partition(":")[0] not in names), *fields]


_TRYING = '<recv response="100" optional="true"/>'


class _Writer:
    def __init__(self) -> None:
        self.variables: list[str] = []
        self._cseq = 0
        self._version = 0
        self._index = 0
        "Of the next element: SIPp makes branches of it."
        self._invite = 0
        "Of the last INVITE that was sent."
        self._invite_cseq = 0
        "Its CSeq, which is also that of its ACK and CANCEL."
        self._heard = 0
        "The status that was waited for last."

    def step(self, step: _Step) -> str:
        """The elements of a step."""
        text = self._elements(step)
        self._index = self._index_before(text)
        return text

    def _index_before(self, text: str) -> int:
        return self._index + sum(text.count(f"<{kind}") for kind in ("send", "recv", "pause"))

    def _branch_of_invite(self, before: str = "") -> str:
        """A Via with the branch of the last INVITE, for what stands after `before` in this step."""
        return _VIA.replace("[branch]", f"[branch-{self._index_before(before) - self._invite}]")

    def _elements(self, step: _Step) -> str:
        if step.kind == ".":
            return f'<pause milliseconds="{step.what}"/>'
        if step.kind == "<":
            return self._wait(step)
        return self._response(step) if step.what.isdigit() else self._request(step)

    def _wait(self, step: _Step, more: str = "") -> str:
        kind = "response" if step.what.isdigit() else "request"
        if step.what.isdigit() and not step.is_optional:
            self._heard = int(step.what)
        options = ' optional="true"' if step.is_optional else ""
        if step.what in ("180", "183", "200", "INVITE", "SUBSCRIBE", "REFER"):
            options += ' rrs="true"'
        checks = "".join(self._check(line) for line in step.fields) + more
        action = f"<action>{checks}</action>" if checks else ""
        return f'<recv {kind}="{step.what}"{options}>{action}</recv>'

    def _check(self, line: str) -> str:
        name, _, pattern = line.partition(":")
        if '"' in pattern:
            raise ValueError(f"SIPp cannot look for a quotation mark: write a dot in {line!r}")
        where = _WHOLE.get(name) or f'search_in="hdr" header="{name}:"'
        return (
            f'<ereg regexp={quoteattr(pattern.strip())} {where} check_it="true" '
            f'assign_to="{self._variable(f"checked{len(self.variables)}")}"/>'
        )

    def _variable(self, name: str) -> str:
        if name not in self.variables:
            self.variables.append(name)
        return name

    def _numbered(self, method: str) -> str:
        """The CSeq of the next request."""
        if method in ("ACK", "CANCEL"):
            return f"CSeq: {self._invite_cseq} {method}"
        self._cseq += 1
        if method == "INVITE":
            self._invite_cseq = self._cseq
        return f"CSeq: {self._cseq} {method}"

    def _send(self, lines: list[str], words: list[str], *, repeats: bool) -> str:
        kind, body = _BODIES[next((word for word in words if word in _BODIES), "")]
        if kind == "application/sdp":
            self._version += 1
            body = _SDP.format(version=self._version, media=body)
        if kind and not any(line.startswith("Content-Type") for line in lines):
            lines.append(f"Content-Type: {kind}")
        lines.append("Content-Length: [len]")
        text = "\n".join([*lines, "", body])
        options = ' retrans="500"' if repeats else ""
        return f"<send{options}><![CDATA[\n{text}\n]]></send>"

    def _request(self, step: _Step) -> str:
        raise NotImplementedError

    def _response(self, step: _Step) -> str:
        """An answer to the request that came last."""
        lines = [f"SIP/2.0 {step.what} Said", "[last_Via:]", "[last_From:]", "[last_To:]"]
        lines += ["[last_Call-ID:]", "[last_CSeq:]", "[last_Record-Route:]", _OWN_CONTACT]
        return self._send(_with(lines, step.fields), step.words, repeats=False)


class _Caller(_Writer):
    """Sends the first request, and all else in the dialog that it makes."""

    def __init__(self, aim: str) -> None:
        super().__init__()
        self._uri = f"sip:{aim}"
        self._first = ""
        self._is_up = False

    def _request(self, step: _Step) -> str:
        if self._first:
            return self._inside(step)
        self._first = step.what
        if "open" in step.words:
            self._invite = self._index
            text = self._outside(step, credentials=False)
            return text + _TRYING if step.what == "INVITE" else text
        parts = [self._outside(step, credentials=False), _TRYING]
        status = 401 if step.what == "REGISTER" else 407
        parts.append(f'<recv response="{status}" auth="true"/>')
        if step.what == "INVITE":
            self._invite = self._index
            parts.append(self._refusal_acknowledged("".join(parts)))
        self._invite = self._index_before("".join(parts))
        parts.append(self._outside(step, credentials=True))
        if step.what == "INVITE":
            parts.append(_TRYING)
        return "\n".join(parts)

    def _refusal_acknowledged(self, before: str = "") -> str:
        """The ACK to a refusal belongs to its INVITE (RFC 3261 17.1.1.3)."""
        via = self._branch_of_invite(before)
        uri = "[next_url]" if self._is_up else self._uri
        return self._send(self._head("ACK", uri, via, "[last_To:]"), [], repeats=False)

    def _outside(self, step: _Step, *, credentials: bool) -> str:
        lines = self._head(step.what, self._uri, _VIA, f"To: <{self._uri}>")
        if step.what not in _NO_CONTACT:
            lines.append(_CONTACT)
        if credentials:
            lines.append("[field3]")
        return self._send(_with(lines, step.fields), step.words, repeats=True)

    def _inside(self, step: _Step) -> str:
        if step.what == "CANCEL":
            head = self._head("CANCEL", self._uri, self._branch_of_invite(), f"To: <{self._uri}>")
            return self._send(head, [], repeats=True)
        if step.what == "ACK" and self._heard >= 300:
            return self._refusal_acknowledged()
        self._is_up = True
        if step.what == "INVITE":
            self._invite = self._index
        to = f"To: <{self._uri}>[peer_tag_param]"
        lines = self._head(step.what, "[next_url]", f"{_VIA}\n[routes]", to)
        if step.what not in _NO_CONTACT:
            lines.append(_CONTACT)
        text = self._send(_with(lines, step.fields), step.words, repeats=step.what != "ACK")
        return text + _TRYING if step.what == "INVITE" else text

    def _head(self, method: str, uri: str, via: str, to: str) -> list[str]:
        return [
            f"{method} {uri} SIP/2.0",
            via,
            "Max-Forwards: 70",
            "User-Agent: SIPp",
            "From: <sip:[field0]@[remote_ip]:[remote_port]>;tag=[pid]c[call_number]",
            to,
            "Call-ID: [call_id]",
            self._numbered(method),
        ]


_KEPT = ("Via", "From", "To", "CSeq")


class _Callee(_Writer):
    """Waits for the first request, answers it, and may ask in its dialog."""

    def __init__(self) -> None:
        super().__init__()
        self._first = ""
        self._requests = 0

    def _wait(self, step: _Step, more: str = "") -> str:
        if not step.what.isdigit():
            self._requests += 1
        if not self._first:
            self._first = step.what
            more = "".join(
                f'<ereg regexp=".*" search_in="hdr" header="{name}:" '
                f'assign_to="{self._variable(name.lower())}"/>'
                for name in _KEPT
            )
        return super()._wait(step, more)

    def _response(self, step: _Step) -> str:
        is_last = self._requests == 1
        if not is_last and self._first not in step.words:
            return super()._response(step)
        tag = ";tag=[pid]e[call_number]"
        if is_last:
            lines = ["[last_Via:]", "[last_From:]", f"[last_To:]{tag}", "[last_CSeq:]"]
        else:
            lines = ["Via:[$via]", "From:[$from]", f"To:[$to]{tag}", "CSeq:[$cseq]"]
        lines += ["[last_Call-ID:]", "[last_Record-Route:]", _OWN_CONTACT]
        lines.insert(0, f"SIP/2.0 {step.what} Said")
        repeats = self._first == "INVITE" and step.what == "200"
        return self._send(_with(lines, step.fields), step.words, repeats=repeats)

    def _request(self, step: _Step) -> str:
        lines = [
            f"{step.what} [next_url] SIP/2.0",
            _VIA,
            "[routes]",
            "Max-Forwards: 70",
            "From:[$to];tag=[pid]e[call_number]",
            "To:[$from]",
            "[last_Call-ID:]",
            self._numbered(step.what),
        ]
        if step.what not in _NO_CONTACT:
            lines.append(_OWN_CONTACT)
        text = self._send(_with(lines, step.fields), step.words, repeats=step.what != "ACK")
        return text + _TRYING if step.what == "INVITE" else text
