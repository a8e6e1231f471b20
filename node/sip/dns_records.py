"""What is asked of DNS to find a SIP server, and what it says: values without a resolver."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["NAPTR", "SRV", "A", "AAAA"]


@dataclass(frozen=True, slots=True)
class Question:
    """One name and kind of record."""

    kind: Kind
    name: str
    "In lower case, without the final dot."


@dataclass(frozen=True, slots=True)
class Naptr:
    """One NAPTR record (RFC 3403)."""

    order: int
    preference: int
    flags: str
    service: str
    replacement: str


@dataclass(frozen=True, slots=True)
class Srv:
    """One SRV record (RFC 2782)."""

    priority: int
    weight: int
    port: int
    target: str
    "Empty: the service is decidedly not to be had."


Record = Naptr | Srv | str
"A `str` is the address of an A or AAAA record."


@dataclass(frozen=True, slots=True)
class DnsAnswer:
    """What came back. A name or kind that does not exist is an answer without records."""

    records: tuple[Record, ...] = ()
    ttl: float = 0.0
    "Seconds that the answer may be used again, as its author says."
    failed: bool = False
    "DNS did not answer, or refused to: nothing is known."
