"""Trunks of an edge in memory, and a provider that challenges, registers and answers as told."""

import hashlib
from dataclasses import dataclass, field
from itertools import count
from typing import cast

from federation.model.address import Endpoint
from federation.model.clocks import Clock, Entropy, UnixTime
from node.edge.trunk_lines import Lines, TrunkParts
from node.names import OwnNames
from node.sip.auth_params import parse_auth_params
from node.sip.flow import Flow, TransportName
from node.sip.locate import Hop, Search, Target
from node.sip.message import Request
from node.trunks.book import Did, TrunkBook
from node.trunks.lines import TrunkLines
from node.trunks.load import TrunkLoad
from node.trunks.trunk import Settings, Trunk
from tests.support.edge_phone import Phone
from tests.support.edge_talk import Arrived

REALM = "provider.test"


class LiteralFinder:
    """Finds IP addresses, and names that a test told."""

    def __init__(self) -> None:
        self.known: dict[str, tuple[Hop, ...]] = {}

    async def locate(self, target: Target) -> tuple[Hop, ...]:
        if target.host in self.known:
            return self.known[target.host]
        return Search(target).hops(cast(Entropy, None))


@dataclass
class EdgeTrunks:
    """What an edge is told of trunks."""

    book: TrunkBook
    load: TrunkLoad
    lines: TrunkLines
    finder: LiteralFinder
    days: dict[str, tuple[int, int]]

    @property
    def parts(self) -> TrunkParts:
        return TrunkParts(self.book, self.load, cast(Lines, self.lines))

    def add(self, name: str, settings: Settings, password: str | None = None) -> Trunk:
        trunk = Trunk(name=name, settings=settings, password=password, created_at=UnixTime(0.0))
        self.book.put(trunk)
        return trunk

    def map(self, number: str, target: str) -> None:
        login, _, extension = target.partition("*")
        self.book.dids.add(Did(number, login, extension or None, UnixTime(0.0)))


def edge_trunks(clock: Clock, names: OwnNames, entropy: Entropy, ip: str) -> EdgeTrunks:
    """Without any trunk yet; `lines.start` is the test's."""
    book, finder, days = TrunkBook(), LiteralFinder(), dict[str, tuple[int, int]]()

    def flow_to(transport: TransportName, remote: Endpoint, name: str) -> Flow:
        local = Endpoint(ip, names.port_of(transport))
        return Flow(transport, local, remote, 0 if transport == "UDP" else 1, name)

    lines = TrunkLines(
        book,
        finder=finder,
        flow_to=flow_to,
        reached_at=names.reached_at,
        learn=names.learn,
        secret=b"s" * 32,
        clock=clock,
        entropy=entropy,
    )
    load = TrunkLoad(on_day=lambda name, day, calls: days.update({name: (day, calls)}))
    return EdgeTrunks(book, load, lines, finder, days)


@dataclass
class Provider:
    """A provider's server: a phone that takes REGISTER and challenges what is not proven."""

    phone: Phone
    login: str = "u100"
    password: str = "provider secret"
    algorithm: str = "MD5"
    registers: list[Request] = field(default_factory=list)
    "REGISTERs that were accepted."
    refuses: int = 0
    "Status that every REGISTER gets instead."
    min_expires: int = 0
    challenges_calls: bool = True
    nonces: "count[int]" = field(default_factory=lambda: count(1))
    good_nonces: set[str] = field(default_factory=set)
    one_time: bool = False
    "Whether each nonce serves one request; the next gets `stale=true`."
    _seen: int = 0

    def serve(self) -> None:
        """Answer what came since; calls that are proven are left to the test."""
        while self._seen < len(self.phone.inbox):
            arrived = self.phone.inbox[self._seen]
            self._seen += 1
            self._take(arrived)

    def _take(self, arrived: Arrived) -> None:
        request = arrived.request
        if request.method == "REGISTER":
            self._register(arrived)
        elif request.method == "OPTIONS":
            arrived.respond(200)
        elif self.challenges_calls and not self._is_proven(request, 407):
            self._challenge(arrived, 407)

    def _register(self, arrived: Arrived) -> None:
        request = arrived.request
        if self.refuses:
            arrived.respond(self.refuses)
        elif not self._is_proven(request, 401):
            self._challenge(arrived, 401)
        elif int(request.get("Expires") or 0) < self.min_expires and request.get("Expires") != "0":
            arrived.respond(423, headers=[("Min-Expires", str(self.min_expires))])
        else:
            self.registers.append(request)
            contact = request.get("Contact") or ""
            arrived.respond(200, headers=[("Contact", contact)])

    def _challenge(self, arrived: Arrived, status: int) -> None:
        name = "WWW-Authenticate" if status == 401 else "Proxy-Authenticate"
        nonce = f"n{next(self.nonces)}"
        self.good_nonces.add(nonce)
        has_tried = "uthorization" in repr(arrived.request.encode())
        stale = ", stale=true" if has_tried and self.one_time else ""
        value = (
            f'Digest realm="{REALM}", nonce="{nonce}", qop="auth", '
            f"algorithm={self.algorithm}{stale}"
        )
        arrived.respond(status, headers=[(name, value)])

    def _is_proven(self, request: Request, status: int) -> bool:
        name = "Authorization" if status == 401 else "Proxy-Authorization"
        for line in request.get_all(name):
            given = parse_auth_params(line)
            expected = _response(self, given, request)
            if given["nonce"] in self.good_nonces and given["response"] == expected:
                if self.one_time:
                    self.good_nonces.discard(given["nonce"])
                return True
        return False

    def calls(self) -> list[Arrived]:
        """INVITEs that were not challenged."""
        return [arrived for arrived in self.phone.calls() if arrived.status not in (401, 407)]


def _response(provider: Provider, given: dict[str, str], request: Request) -> str:
    digest = hashlib.md5 if provider.algorithm == "MD5" else hashlib.sha256

    def h(text: str) -> str:
        return digest(text.encode()).hexdigest()

    ha1 = h(f"{provider.login}:{REALM}:{provider.password}")
    ha2 = h(f"{request.method}:{given['uri']}")
    parts = [given["nonce"], given["nc"], given["cnonce"], given["qop"], ha2]
    return h(":".join([ha1, *parts]))
