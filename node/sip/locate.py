"""Where a SIP URI leads when nothing else says so: RFC 3263, with RFC 2782 for weights.

A `Search` names the questions it needs answered, is given the answers, names further questions,
and has in the end a list of `Hop`s to be tried in order:

    NAPTR of the domain ──▶ SRV for each transport ──▶ A and AAAA of each target
          │ none: SRV of the usual names    │ none: A and AAAA of the domain itself

A port in the URI skips the first two, a transport the first, an IP address all three. DNS is
written by strangers, so each step takes a bounded number of records.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from federation.model.address import AddressError, Endpoint, parse_ip
from federation.model.clocks import Entropy
from federation.model.errors import PeerError
from node.sip.dns_records import DnsAnswer, Naptr, Question, Srv
from node.sip.flow import DEFAULT_PORT, DEFAULT_TLS_PORT, TransportName
from node.sip.uri import Uri

TRANSPORTS: tuple[TransportName, ...] = ("UDP", "TCP", "TLS")
"What is spoken, the preferred first where a domain does not say."
MAX_NAPTR = 8
"NAPTR records that are followed."
MAX_TARGETS = 12
"SRV targets whose addresses are asked for, of all transports together."
MAX_ADDRESSES = 6
"Addresses of one host and family that are tried."
MAX_HOPS = 24
"Hops of one search."
_SERVICES: dict[str, TransportName] = {"SIP+D2U": "UDP", "SIP+D2T": "TCP", "SIPS+D2T": "TLS"}
_SRV_PREFIX: dict[TransportName, str] = {
    "UDP": "_sip._udp",
    "TCP": "_sip._tcp",
    "TLS": "_sips._tcp",
}
_NAMES: dict[str, TransportName] = {"udp": "UDP", "tcp": "TCP", "tls": "TLS"}
_LABEL_BYTES, _NAME_BYTES = 63, 253
_WEIGHT_BYTES = 4


class LocateError(PeerError):
    """There is nowhere to send to; the text is a sentence for people."""

    def __init__(self, sentence: str, *, is_temporary: bool = False) -> None:
        super().__init__(sentence)
        self.is_temporary = is_temporary
        "DNS did not answer: later it may."


@dataclass(frozen=True, slots=True)
class Hop:
    """One place to send a request to."""

    transport: TransportName
    remote: Endpoint
    name: str
    "What a certificate there must prove: the host of the URI, whatever DNS made of it (RFC 5922)."


@dataclass(frozen=True, slots=True)
class Target:
    """What of a URI decides where it leads."""

    host: str
    "A domain in lower case, or an IP address without brackets."
    port: int | None = None
    transport: TransportName | None = None
    secure: bool = False
    "`sips`: over TLS or not at all."

    @classmethod
    def of(cls, uri: Uri) -> Self:
        """Read a sip or sips URI; `maddr` stands for its host (RFC 3261 19.1.1).

        Raises:
            LocateError: it asks for a transport that is not spoken, or names no usable host.
        """
        if not uri.is_sip:
            raise LocateError(f"a {uri.scheme} URI names no server")
        secure = uri.scheme == "sips"
        named = (uri.param("transport") or "").lower()
        transport = _NAMES.get(named)
        if named and transport is None:
            raise LocateError(f"SIP over {named} is not spoken here")
        if secure and transport == "UDP":
            raise LocateError("a sips URI cannot be reached over UDP")
        if secure and transport == "TCP":
            transport = "TLS"  # "sips:…;transport=tcp" is TLS over TCP (RFC 3261 26.2.2)
        host = (uri.param("maddr") or uri.host).strip("[]").lower().removesuffix(".")
        if not _is_askable(host):
            raise LocateError(f"{host!r} is no host that could be asked for")
        return cls(host, uri.port or None, transport, secure)

    @property
    def address(self) -> str | None:
        """The host as an IP address, if it is one."""
        try:
            return str(parse_ip(self.host))
        except AddressError:
            return None


class Search:
    """One search. Ask `questions`, `answer` each, until there are none; then take `hops`."""

    def __init__(
        self,
        target: Target,
        *,
        families: Sequence[int] = (4, 6),
        transports: Sequence[TransportName] = TRANSPORTS,
    ) -> None:
        """`families` are the IP versions this node can speak, the preferred first."""
        self.target = target
        self._families = tuple(families)
        self._transports = [
            transport for transport in transports if transport == "TLS" or not target.secure
        ]
        self._answers: dict[Question, DnsAnswer] = {}
        self._needed: dict[Question, None] = {}

    def questions(self) -> tuple[Question, ...]:
        """What has to be known before anything further is; empty: the search is over."""
        self._needed = {}
        self._places()
        return tuple(self._needed)

    def answer(self, question: Question, answer: DnsAnswer) -> None:
        """Take the answer to one question."""
        self._answers[question] = answer

    def hops(self, entropy: Entropy) -> tuple[Hop, ...]:
        """Where to send, in order; equal servers are drawn by their weights.

        Raises:
            LocateError: nowhere.
        """
        found: dict[Hop, None] = {}
        for transport, host, port in self._places(entropy):
            for address in self._addresses(host):
                found[Hop(transport, Endpoint(address, port), self.target.host)] = None
        if not found:
            raise self._nowhere()
        return tuple(found)[:MAX_HOPS]

    def _places(self, entropy: Entropy | None = None) -> list[tuple[TransportName, str, int]]:
        """Transport, host and port of each server as far as it is known (section 4.1 and 4.2)."""
        target = self.target
        default = target.transport or ("TLS" if target.secure else "UDP")
        if target.address is not None or target.port is not None:
            places = [(default, target.host, target.port or _default_port(default))]
        else:
            places = self._services(default, entropy)
        for _, host, _ in places:
            self._addresses(host)
        return places

    def _services(
        self, default: TransportName, entropy: Entropy | None
    ) -> list[tuple[TransportName, str, int]]:
        names = self._service_names()
        records = [(transport, self._records("SRV", name)) for transport, name in names]
        if self._needed:
            return []
        places: list[tuple[TransportName, str, int]] = []
        exists = False
        for transport, answers in records:
            servers = [record for record in answers if isinstance(record, Srv)]
            exists = exists or bool(servers)
            ordered = in_order(servers, entropy)
            places += [(transport, server.target, server.port) for server in ordered]
        if not exists and not self._failures("SRV"):
            return [(default, self.target.host, _default_port(default))]
        return places[:MAX_TARGETS]

    def _service_names(self) -> list[tuple[TransportName, str]]:
        """The SRV names to ask for, of the most wanted transport first."""
        target = self.target
        if target.transport is not None:
            return [(target.transport, f"{_SRV_PREFIX[target.transport]}.{target.host}")]
        answers = self._records("NAPTR", target.host)
        if self._needed:
            return []
        usable = [
            (record.order, record.preference, _SERVICES[record.service.upper()], record.replacement)
            for record in answers
            if isinstance(record, Naptr)
            and record.flags.lower() == "s"
            and _SERVICES.get(record.service.upper()) in self._transports
            and _is_askable(record.replacement)
        ]
        names = [(transport, name.lower()) for _, _, transport, name in sorted(usable)[:MAX_NAPTR]]
        # Without NAPTR, or where it cannot be had, the usual names are tried (4.1).
        return names or [
            (transport, f"{_SRV_PREFIX[transport]}.{target.host}") for transport in self._transports
        ]

    def _addresses(self, host: str) -> list[str]:
        try:
            address = parse_ip(host)
            return [str(address)] if address.version in self._families else []
        except AddressError:
            pass
        found: list[str] = []
        for family in self._families:
            records = self._records("A" if family == 4 else "AAAA", host)
            found += [record for record in records if isinstance(record, str)][:MAX_ADDRESSES]
        return found

    def _records(self, kind: str, name: str) -> tuple[object, ...]:
        """The records of a question; it is noted as needed where they are not known yet."""
        question = Question(kind, name)  # type: ignore[arg-type]
        answer = self._answers.get(question)
        if answer is None:
            self._needed[question] = None
            return ()
        return answer.records

    def _failures(self, *kinds: str) -> list[Question]:
        return [
            question
            for question, answer in self._answers.items()
            if answer.failed and question.kind in kinds
        ]

    def _nowhere(self) -> LocateError:
        """Why there is no hop, as a sentence."""
        host = self.target.host
        failed = self._failures("SRV", "A", "AAAA")
        if failed:
            first = failed[0]
            return LocateError(
                f"DNS does not answer for {first.kind} of {first.name}", is_temporary=True
            )
        if self.target.address is not None:
            return LocateError(f"this node has no IPv{parse_ip(host).version} to reach {host} with")
        named = [record for answer in self._answers.values() for record in answer.records]
        servers = [record for record in named if isinstance(record, Srv)]
        if servers and not any(server.target for server in servers):
            return LocateError(f"{host} says in the DNS that it takes no SIP")
        if servers:
            return LocateError(f"the SIP servers that {host} names in the DNS have no address")
        return LocateError(f"{host} has no address in the DNS")


def in_order(servers: Iterable[Srv], entropy: Entropy | None) -> list[Srv]:
    """SRV records by priority, equal ones drawn by weight (RFC 2782); by weight without entropy."""
    usable = [
        server for server in servers if _is_askable(server.target) and 0 < server.port < 65536
    ]
    usable = sorted(usable, key=lambda server: (server.priority, -server.weight))[:MAX_TARGETS]
    if entropy is None:
        return usable
    ordered: list[Srv] = []
    while usable:
        same = [server for server in usable if server.priority == usable[0].priority]
        chosen = _drawn(same, entropy)
        ordered.append(chosen)
        usable.remove(chosen)
    return ordered


def _drawn(servers: list[Srv], entropy: Entropy) -> Srv:
    """One of several, each as likely as its weight; those of weight 0 hardly ever, but not never.

    Records of weight 0 come first in the running sum, as RFC 2782 has it.
    """
    ranked = sorted(servers, key=lambda server: server.weight)
    total = sum(max(0, server.weight) for server in ranked)
    drawn = int.from_bytes(entropy.token(_WEIGHT_BYTES)) % (total + 1)
    for server in ranked:
        drawn -= max(0, server.weight)
        if drawn <= 0:
            return server
    return ranked[-1]


def _default_port(transport: TransportName) -> int:
    return DEFAULT_TLS_PORT if transport == "TLS" else DEFAULT_PORT


def _is_askable(host: str) -> bool:
    """Whether it is an IP address, or labels of letters, digits, hyphens and underscores."""
    try:
        parse_ip(host)
    except AddressError:
        labels = host.split(".")
        return (
            len(host) <= _NAME_BYTES
            and host.isascii()
            and all(0 < len(label) <= _LABEL_BYTES for label in labels)
            and host.replace(".", "").replace("-", "").replace("_", "").isalnum()
        )
    return True
