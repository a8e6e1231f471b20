"""Finds SIP servers outside the mesh: a `Search` (RFC 3263) carried out over DNS, with a cache."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from federation.model.address import AddressError, Endpoint, Scope, parse_ip, scope_of
from federation.model.clocks import Clock, Entropy, Monotonic
from node.sip.dns_records import DnsAnswer, Naptr, Question, Record, Srv
from node.sip.locate import Hop, LocateError, Search, Target

if TYPE_CHECKING:
    from dns.asyncresolver import Resolver as AsyncResolver

LOOKUP_BUDGET = 4.0
"Seconds for one search."
QUESTION_SECONDS = 3.0
"For one question, all servers and repetitions included."
MIN_TTL, MAX_TTL = 30.0, 3_600.0
"Seconds an answer is used again, at least and at most, whatever its author says."
FAILURE_TTL = 10.0
"Seconds that no answer is taken to go on."
MAX_RECORDS = 32
"Records of one answer that are kept."
MAX_CACHED = 4_096
"Answers kept; beyond, the oldest are forgotten."
MAX_UNDER_WAY = 256
"Searches at once; a further one fails at once."
MAX_ROUNDS = 4
"Rounds of questions: NAPTR, SRV, addresses, and one to spare."


class RecordResolver(Protocol):
    """DNS."""

    async def ask(self, question: Question) -> DnsAnswer:
        """Answer one question; never raises for what DNS does."""


class SipLocator:
    """Finds where a URI leads. Searches at the same time share their questions."""

    def __init__(
        self,
        resolver: RecordResolver,
        *,
        clock: Clock,
        entropy: Entropy,
        families: Callable[[], Sequence[int]],
        may_send: Callable[[Endpoint], bool] = lambda endpoint: True,
    ) -> None:
        """`families` as `families_of` gives them; `may_send` refuses hops that others chose."""
        self._resolver = resolver
        self._clock = clock
        self._entropy = entropy
        self._families = families
        self._may_send = may_send
        self._cache: OrderedDict[Question, tuple[DnsAnswer, Monotonic]] = OrderedDict()
        self._asking: dict[Question, asyncio.Task[DnsAnswer]] = {}
        self._under_way = 0

    async def locate(self, target: Target) -> tuple[Hop, ...]:
        """The hops to try, in order; within `LOOKUP_BUDGET`.

        Raises:
            LocateError: there are none.
        """
        if self._under_way >= MAX_UNDER_WAY:
            raise LocateError("too many names are being looked up at once", is_temporary=True)
        self._under_way += 1
        try:
            async with asyncio.timeout(LOOKUP_BUDGET):
                found = await self._search(target)
        except TimeoutError as error:
            raise LocateError(
                f"DNS does not answer for {target.host} in {LOOKUP_BUDGET:g} s", is_temporary=True
            ) from error
        finally:
            self._under_way -= 1
        hops = tuple(hop for hop in found if self._may_send(hop.remote))
        if not hops:
            raise LocateError(
                f"{target.host} leads to {found[0].remote.host}, where this node may not send"
            )
        return hops

    async def close(self) -> None:
        """End every question."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _search(self, target: Target) -> tuple[Hop, ...]:
        search = Search(target, families=self._families())
        for _ in range(MAX_ROUNDS):
            questions = search.questions()
            if not questions:
                break
            answers = await asyncio.gather(*map(self._answer, questions))
            for question, answer in zip(questions, answers, strict=True):
                search.answer(question, answer)
        return search.hops(self._entropy)

    async def _answer(self, question: Question) -> DnsAnswer:
        known = self._cache.get(question)
        if known is not None and self._clock.monotonic() < known[1]:
            return known[0]
        task = self._asking.get(question)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._ask(question))
            self._asking[question] = task
            task.add_done_callback(lambda _: self._asking.pop(question, None))
        return await asyncio.shield(task)

    async def _ask(self, question: Question) -> DnsAnswer:
        """Ask, and remember what came; it goes on where the search that began it gave up."""
        try:
            async with asyncio.timeout(QUESTION_SECONDS):
                answer = await self._resolver.ask(question)
        except TimeoutError:
            answer = DnsAnswer(failed=True)
        answer = DnsAnswer(answer.records[:MAX_RECORDS], answer.ttl, answer.failed)
        seconds = FAILURE_TTL if answer.failed else min(max(answer.ttl, MIN_TTL), MAX_TTL)
        self._cache[question] = answer, Monotonic(self._clock.monotonic() + seconds)
        self._cache.move_to_end(question)
        if len(self._cache) > MAX_CACHED:
            self._cache.popitem(last=False)
        return answer


class DnsRecords:
    """`RecordResolver` over the system's DNS servers, or those given.

    dnspython is imported with the first question: it takes a tenth of a node's start.
    """

    def __init__(self, nameservers: Sequence[Endpoint] = ()) -> None:
        self._nameservers = nameservers
        self._resolver: AsyncResolver | None = None

    async def ask(self, question: Question) -> DnsAnswer:
        """Answer one question."""
        from dns.exception import DNSException
        from dns.resolver import NXDOMAIN

        try:
            answer = await self._resolver_now().resolve(
                question.name + ".",
                question.kind,
                raise_on_no_answer=False,
                search=False,
                lifetime=QUESTION_SECONDS,
            )
        except NXDOMAIN:
            return DnsAnswer()
        except (DNSException, OSError, UnicodeError):
            return DnsAnswer(failed=True)
        if answer.rrset is None:
            return DnsAnswer()
        ttl = float(answer.chaining_result.minimum_ttl)
        return DnsAnswer(tuple(map(_record, list(answer.rrset)[:MAX_RECORDS])), ttl)

    def _resolver_now(self) -> "AsyncResolver":
        if self._resolver is None:
            from dns.asyncresolver import Resolver as AsyncResolver
            from dns.nameserver import Do53Nameserver

            resolver = AsyncResolver(configure=not self._nameservers)
            if self._nameservers:
                resolver.nameservers = [
                    Do53Nameserver(server.host, server.port) for server in self._nameservers
                ]
            resolver.timeout = QUESTION_SECONDS / 3  # a silent server leaves time for the next
            self._resolver = resolver
        return self._resolver


def families_of(addresses: Iterable[str]) -> tuple[int, ...]:
    """The IP versions that a node with these addresses can speak, the preferred first.

    IPv6 comes first where it is global, as there is no NAT then (RFC 7984 and RFC 6724); a version
    of which there is the loopback alone counts only if the other has no more.
    """
    scopes: dict[int, Collection[Scope]] = {4: set(), 6: set()}
    for text in addresses:
        try:
            address = parse_ip(text)
        except AddressError:
            continue
        scopes[address.version] = {*scopes[address.version], scope_of(address)}
    wide = [version for version in (4, 6) if set(scopes[version]) - {Scope.LOOPBACK}]
    usable = wide or [version for version in (4, 6) if scopes[version]]
    return tuple(sorted(usable, key=lambda version: version == 4 and Scope.GLOBAL in scopes[6]))


def _record(record: Any) -> Record:
    match record.rdtype.name:
        case "NAPTR":
            return Naptr(
                record.order,
                record.preference,
                record.flags.decode("ascii", "replace"),
                record.service.decode("ascii", "replace"),
                _name(record.replacement),
            )
        case "SRV":
            return Srv(record.priority, record.weight, record.port, _name(record.target))
        case _:
            return str(record.address)


def _name(name: Any) -> str:
    return str(name.to_text()).lower().rstrip(".")
