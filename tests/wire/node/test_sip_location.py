"""SIP servers found through a real DNS server on loopback, and what is remembered of them."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography import x509

from federation.model.address import Endpoint
from federation.model.clocks import Monotonic, SystemClock, SystemEntropy
from node import sip_location
from node.sip.dns_records import DnsAnswer, Question
from node.sip.failover import Attempts
from node.sip.flow import Flow
from node.sip.locate import Hop, LocateError, Target
from node.sip.transports import SipTransports
from node.sip.uri import Uri
from node.sip_location import (
    FAILURE_TTL,
    MAX_CACHED,
    MAX_RECORDS,
    MAX_TTL,
    MAX_UNDER_WAY,
    MIN_TTL,
    DnsRecords,
    RecordResolver,
    SipLocator,
    families_of,
)
from tests.support.dns_server import DnsServer, dns_server
from tests.support.sip_exchange import request
from tests.support.tls_material import Authority, Contexts


class Time(SystemClock):
    """A clock stepped by hand."""

    at = 0.0

    def monotonic(self) -> Monotonic:
        return Monotonic(self.at)


class FakeDns:
    """A resolver that is data: one address for every host, each answer as told."""

    def __init__(self) -> None:
        self.asked: Counter[Question] = Counter()
        self.answer = DnsAnswer(("192.0.2.1",), 100.0)
        self.gate: asyncio.Event | None = None

    async def ask(self, question: Question) -> DnsAnswer:
        self.asked[question] += 1
        if self.gate is not None:
            await self.gate.wait()
        return self.answer if question.kind == "A" else DnsAnswer()


def locator(resolver: RecordResolver, clock: Time | None = None, **more: object) -> SipLocator:
    return SipLocator(
        resolver,
        clock=clock or Time(),
        entropy=SystemEntropy(),
        families=lambda: (4, 6),
        **more,  # type: ignore[arg-type]
    )


def target(uri: str) -> Target:
    return Target.of(Uri.parse(uri))


@pytest.fixture
async def dns() -> AsyncIterator[DnsServer]:
    async with dns_server() as server:
        yield server


async def test_naptr_srv_and_addresses_are_followed_to_the_hops(dns: DnsServer) -> None:
    dns.records = {
        ("example.org.", "NAPTR"): [
            '20 0 "s" "SIP+D2U" "" _sip._udp.example.org.',
            '10 0 "s" "SIPS+D2T" "" _sips._tcp.example.org.',
        ],
        ("_sips._tcp.example.org.", "SRV"): ["0 0 5061 one.example.net."],
        ("_sip._udp.example.org.", "SRV"): ["1 0 5070 one.example.net.", "0 0 5080 two.example."],
        ("one.example.net.", "A"): ["192.0.2.1"],
        ("one.example.net.", "AAAA"): ["2001:db8::1"],
        ("two.example.", "A"): ["192.0.2.2"],
    }
    found = await locator(DnsRecords((dns.endpoint,))).locate(target("sip:a@example.org"))
    assert [f"{hop.transport} {hop.remote}" for hop in found] == [
        "TLS 192.0.2.1:5061",
        "TLS [2001:db8::1]:5061",
        "UDP 192.0.2.2:5080",
        "UDP 192.0.2.1:5070",
        "UDP [2001:db8::1]:5070",
    ]
    assert {hop.name for hop in found} == {"example.org"}


async def test_a_domain_that_is_not_there_is_a_lasting_failure(dns: DnsServer) -> None:
    with pytest.raises(LocateError, match=r"nobody\.example has no address in the DNS") as caught:
        await locator(DnsRecords((dns.endpoint,))).locate(target("sip:nobody.example"))
    assert not caught.value.is_temporary


async def test_a_server_that_fails_is_a_passing_one(dns: DnsServer) -> None:
    dns.failing = {"example.org."}
    with pytest.raises(LocateError, match="DNS does not answer for A of example") as caught:
        await locator(DnsRecords((dns.endpoint,))).locate(target("sip:example.org:5060"))
    assert caught.value.is_temporary


async def test_a_silent_server_costs_the_budget_and_no_more(
    dns: DnsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sip_location, "LOOKUP_BUDGET", 0.2)
    dns.silent = {"example.org."}
    found = locator(DnsRecords((dns.endpoint,)))
    with pytest.raises(LocateError, match=r"does not answer for example\.org in 0\.2 s") as caught:
        await found.locate(target("sip:example.org"))
    assert caught.value.is_temporary
    await found.close()


async def test_a_question_has_a_bound_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sip_location, "QUESTION_SECONDS", 0.1)
    dns = FakeDns()
    dns.gate = asyncio.Event()
    with pytest.raises(LocateError, match="does not answer for A"):
        await locator(dns).locate(target("sip:example.org:5060"))


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        (DnsAnswer(("192.0.2.1",), 100.0), 100.0),
        (DnsAnswer(("192.0.2.1",), 0.0), MIN_TTL),
        (DnsAnswer(("192.0.2.1",), 1e9), MAX_TTL),
        (DnsAnswer((), 0.0), MIN_TTL),
        (DnsAnswer(failed=True), FAILURE_TTL),
    ],
)
async def test_answers_are_used_again_for_their_time_within_bounds(
    answer: DnsAnswer, seconds: float
) -> None:
    dns, time = FakeDns(), Time()
    dns.answer = answer
    found, question = locator(dns, time), Question("A", "example.org")
    for at, asked in ((0.0, 1), (seconds - 0.1, 1), (seconds, 2)):
        time.at = at
        if answer.records:
            await found.locate(target("sip:example.org:5060"))
        else:
            with pytest.raises(LocateError):
                await found.locate(target("sip:example.org:5060"))
        assert dns.asked[question] == asked


async def test_searches_at_the_same_time_share_their_questions() -> None:
    dns = FakeDns()
    dns.gate = asyncio.Event()
    found = locator(dns)
    searches = [asyncio.create_task(found.locate(target("sip:example.org"))) for _ in range(5)]
    await asyncio.sleep(0)
    searches[0].cancel()
    dns.gate.set()
    answers = await asyncio.gather(*searches[1:])
    assert all(answer == answers[0] for answer in answers)
    assert set(dns.asked.values()) == {1}


async def test_searches_at_once_are_bounded() -> None:
    dns = FakeDns()
    dns.gate = asyncio.Event()
    found = locator(dns)
    searches = [
        asyncio.create_task(found.locate(target(f"sip:h{number}.example:5060")))
        for number in range(MAX_UNDER_WAY)
    ]
    await asyncio.sleep(0)
    with pytest.raises(LocateError, match="too many") as caught:
        await found.locate(target("sip:one.more.example:5060"))
    assert caught.value.is_temporary
    dns.gate.set()
    await asyncio.gather(*searches)
    assert await found.locate(target("sip:one.more.example:5060"))


async def test_what_is_kept_is_bounded() -> None:
    dns = FakeDns()
    found = locator(dns)
    for number in range(MAX_CACHED // 2 + 1):
        await found.locate(target(f"sip:h{number}.example:5060"))
    await found.locate(target(f"sip:h{MAX_CACHED // 2}.example:5060"))
    assert max(dns.asked.values()) == 1
    await found.locate(target("sip:h0.example:5060"))
    assert dns.asked[Question("A", "h0.example")] == 2


async def test_records_of_one_answer_are_bounded(dns: DnsServer) -> None:
    dns.records = {("example.org.", "A"): [f"192.0.2.{n}" for n in range(2 * MAX_RECORDS)]}
    answer = await DnsRecords((dns.endpoint,)).ask(Question("A", "example.org"))
    assert len(answer.records) == MAX_RECORDS
    assert answer.ttl == 60.0


async def test_where_others_may_not_lead_is_no_hop() -> None:
    """DNS of strangers must not point this node at its own network."""
    dns = FakeDns()
    dns.answer = DnsAnswer(("127.0.0.1", "192.0.2.1"), 60)

    def may_send(endpoint: Endpoint) -> bool:
        return endpoint.host != "127.0.0.1"

    careful = locator(dns, may_send=may_send)
    hops = await careful.locate(target("sip:example.org:5060"))
    assert [hop.remote.host for hop in hops] == ["192.0.2.1"]
    with pytest.raises(LocateError, match=r"leads to 127\.0\.0\.1, where this node may not send"):
        await careful.locate(target("sip:127.0.0.1"))


@pytest.mark.parametrize(
    ("addresses", "families"),
    [
        (("192.0.2.1", "127.0.0.1", "::1"), (4,)),
        (("2001:db8::1", "127.0.0.1"), (6,)),
        (("10.0.0.1", "2a00::1"), (6, 4)),
        (("8.8.8.8", "fd00::1"), (4, 6)),
        (("127.0.0.1",), (4,)),
        (("127.0.0.1", "::1"), (4, 6)),
        (("nonsense",), ()),
    ],
)
def test_the_families_follow_this_nodes_own_addresses(
    addresses: tuple[str, ...], families: tuple[int, ...]
) -> None:
    assert families_of(addresses) == families


async def test_from_a_uri_to_a_certificate_that_proves_it(dns: DnsServer, tmp_path: Path) -> None:
    """Who only writes the DNS of a domain is passed over: its certificate is for another name."""
    authority = Authority.make()
    arrived: asyncio.Queue[str] = asyncio.Queue()
    closed: asyncio.Queue[Flow] = asyncio.Queue()

    def server(name: str, shown: str) -> SipTransports:
        folder = tmp_path / name
        folder.mkdir()
        return SipTransports(
            on_data=lambda data, flow: arrived.put_nowait(name),
            on_closed=closed.put_nowait if name == "own" else lambda flow: None,
            clock=SystemClock(),
            tls=Contexts(folder, authority.issue(x509.DNSName(shown)), authority),
        )

    liar, honest = server("liar", "sip.host.example"), server("honest", "example.org")
    own = server("own", "own.example")
    for each in (liar, honest, own):
        await each.start(("127.0.0.1",), 0, 0)
    dns.records = {
        ("example.org.", "NAPTR"): ['1 0 "s" "SIPS+D2T" "" _sips._tcp.example.org.'],
        ("_sips._tcp.example.org.", "SRV"): [
            f"0 0 {liar.tls_port} sip.host.example.",
            f"1 0 {honest.tls_port} sip.host.example.",
        ],
        ("sip.host.example.", "A"): ["127.0.0.1"],
    }
    found = await locator(DnsRecords((dns.endpoint,))).locate(target("sips:bob@example.org"))
    attempts = Attempts(found)
    hop: Hop | None = attempts.current
    async with asyncio.timeout(10):
        while hop is not None:
            flow = own.flow_to(hop.transport, hop.remote, hop.name)
            own.send(request("OPTIONS", headers=[("Content-Length", "0")]).encode(), flow)
            heard, lost = asyncio.ensure_future(arrived.get()), asyncio.ensure_future(closed.get())
            await asyncio.wait({heard, lost}, return_when=asyncio.FIRST_COMPLETED)
            lost.cancel()
            if heard.done():
                break
            heard.cancel()
            assert "not one for example.org" in own.why_failed(flow)
            hop = attempts.next_after("unreachable")
    assert hop == found[1]
    assert heard.result() == "honest"
    for each in (liar, honest, own):
        await each.close()
