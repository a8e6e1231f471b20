"""Domains added and removed by command, the DNS lines they need, and what DNS has of them."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection

from federation.domain_proof import Service
from federation.model.clocks import SystemClock, SystemEntropy, UnixTime
from node.accounts.account import Account
from node.accounts.book import AccountBook
from node.accounts.login import Reserved
from node.accounts.wanted import WantedAccount, make_accounts
from node.config import MAX_DOMAINS
from node.control import RefusedError
from node.dns_lines import Whereabouts, dns_lines, published_addresses
from node.domain_desk import DomainDesk, DomainNames
from tests.support.memory_node import KEY, SetDns

HERE, HERE6 = "5.6.7.8", "2a00::8"
NODE = KEY.id.text


def lines(sip_port: int = 5060, addresses: tuple[str, ...] = (HERE,)) -> list[str]:
    at = Whereabouts(KEY.id, addresses, sip_port, 7070)
    return [line.as_json()["line"] for line in dns_lines("example.org", at)]


def test_the_lines_are_those_of_a_zone_file() -> None:
    assert lines(addresses=(HERE, HERE6, "10.0.0.1", "127.0.0.1")) == [
        f'_ringmesh.example.org. 3600 IN TXT "{NODE}"',
        f"example.org. 3600 IN A {HERE}",
        f"example.org. 3600 IN AAAA {HERE6}",
        "_sip._udp.example.org. 3600 IN SRV 0 0 5060 ringmesh.example.org.",
        "_sip._tcp.example.org. 3600 IN SRV 0 0 5060 ringmesh.example.org.",
        f"ringmesh.example.org. 3600 IN A {HERE}",
        f"ringmesh.example.org. 3600 IN AAAA {HERE6}",
        "_ringmesh._udp.example.org. 3600 IN SRV 0 0 7070 ringmesh.example.org.",
    ]


def test_phones_that_are_told_a_port_are_led_by_address_alone() -> None:
    """RFC 3263 4.2: with a port in the URI no SRV is asked."""
    assert lines(sip_port=5070) == [
        f'_ringmesh.example.org. 3600 IN TXT "{NODE}"',
        f"example.org. 3600 IN A {HERE}",
        "_ringmesh._udp.example.org. 3600 IN SRV 0 0 7070 ringmesh.example.org.",
        f"ringmesh.example.org. 3600 IN A {HERE}",
    ]


@pytest.mark.parametrize(
    ("own", "published"),
    [
        (["10.0.0.1", HERE, "5.6.7.9", "127.0.0.1"], (HERE,)),
        (["10.0.0.1", "127.0.0.1"], ("10.0.0.1",)),
        (["127.0.0.1"], ("127.0.0.1",)),
    ],
)
def test_the_best_addresses_are_written(own: list[str], published: tuple[str, ...]) -> None:
    assert published_addresses(own) == published


def alice() -> Account:
    """An account whose password was set when the node had one domain."""
    (made,) = make_accounts(
        [WantedAccount(login="alice")],
        AccountBook(),
        domains=["old.example"],
        reserved=Reserved(),
        entropy=SystemEntropy(),
        now=UnixTime(0.0),
    )
    return made.account


class Looks:
    """What a running node would know of its domains."""

    def __init__(self) -> None:
        self.asked = 0

    def is_proven(self, domain: str) -> bool | None:
        return domain == "conf.example"

    def lack(self, domain: str) -> str:
        return "" if domain == "conf.example" else "a record"

    def look_soon(self) -> None:
        self.asked += 1

    async def lack_of_proof(self, domain: str) -> str:
        return "others do not believe it"


def a_desk(
    dns: SetDns | None = None, looks: Looks | None = None, *, addresses: tuple[str, ...] = (HERE,)
) -> tuple[DomainDesk, list[str]]:
    """A desk, and what it did."""
    done: list[str] = []

    async def keep(change: Callable[[Connection], None]) -> None:
        done.append("kept")

    desk = DomainDesk(
        names=DomainNames(("conf.example",)),
        whereabouts=lambda: Whereabouts(KEY.id, addresses, 5060, 7060),
        accounts=lambda: [alice()],
        keep=keep,
        resolver=dns or SetDns(),
        clock=SystemClock(),
        looks=looks,
        on_change=lambda: done.append("told"),
    )
    return desk, done


async def test_a_domain_is_kept_before_the_node_answers_for_it() -> None:
    desk, done = a_desk(looks=(looks := Looks()))
    added = await desk.add(" Example.ORG. ")
    assert done == ["kept", "told"]
    assert looks.asked == 1
    assert desk.names.all == ("conf.example", "example.org")
    assert (added["domain"], added["uri"], added["public"]) == (
        "example.org",
        ["sip:alice@example.org"],
        True,
    )
    assert added["logins_without_hash"] == ["alice"], "her password was set before"
    assert desk.all() == [
        {"domain": "conf.example", "source": "configuration", "proven": True, "lacks": None},
        {"domain": "example.org", "source": "command", "proven": False, "lacks": "a record"},
    ]
    assert await desk.remove("example.org") == {"removed": "example.org"}
    assert done == ["kept", "told"] * 2
    assert desk.names.all == ("conf.example",)


async def test_who_set_a_password_with_the_domain_needs_no_other() -> None:
    desk, _ = a_desk()
    assert (await desk.add("old.example"))["without_hash"] == 0


@pytest.mark.parametrize(
    ("verb", "name", "status", "sentence"),
    [
        ("add", "conf.example", 409, "conf.example is a domain of this node already"),
        ("add", "localhost", 400, "'localhost' will not do: give a domain name you own"),
        ("add", "a.ringmesh.alt", 400, "names in .alt prove themselves"),
        ("add", "bücher.example", 400, "other alphabets in their xn-- form"),
        ("add", "5.6.7.8", 400, "give a domain name you own"),
        ("remove", "conf.example", 409, "comes from the configuration: take it out of `domains`"),
        ("remove", "no.example", 404, "no.example is no domain of this node"),
        ("verify", "no.example", 404, "`ringmesh domain add no.example` adds it"),
    ],
)
async def test_what_will_not_do_is_said(verb: str, name: str, status: int, sentence: str) -> None:
    desk, done = a_desk()
    with pytest.raises(RefusedError) as refused:
        await getattr(desk, verb)(name)
    assert sentence in str(refused.value)
    assert (refused.value.status, done) == (status, [])


async def test_domains_are_limited() -> None:
    desk, _ = a_desk()
    desk.names.added = [f"d{n}.example" for n in range(MAX_DOMAINS - 1)]
    with pytest.raises(RefusedError, match=f"at most {MAX_DOMAINS} domains"):
        await desk.add("example.org")


def findings(answer: dict[str, Any]) -> dict[str, str]:
    return {f"{line['name']} {line['type']}": line["finding"] for line in answer["dns"]}


async def test_each_line_is_compared_with_dns() -> None:
    dns = SetDns()
    desk, _ = a_desk(dns)
    await desk.add("example.org")
    answer = await desk.verify("example.org")
    assert set(findings(answer).values()) == {"missing"}
    assert (answer["believed"], answer["phones"]) == (None, False)
    dns.txt["_ringmesh.example.org"] = [NODE]
    dns.hosts["example.org"] = ["9.9.9.9"]
    dns.srv["_sip._udp.example.org"] = [Service(0, 0, 5060, "ringmesh.example.org.")]
    dns.srv["_sip._tcp.example.org"] = [Service(0, 0, 5070, "ringmesh.example.org.")]
    dns.silent = {"_ringmesh._udp.example.org"}
    dns.hosts["ringmesh.example.org"] = dns.hosts["ringmesh.example.org."] = [HERE]
    answer = await desk.verify("example.org")
    assert findings(answer) == {
        "_ringmesh.example.org. TXT": "there",
        "example.org. A": "different",
        "_sip._udp.example.org. SRV": "there",
        "_sip._tcp.example.org. SRV": "different",
        "ringmesh.example.org. A": "there",
        "_ringmesh._udp.example.org. SRV": "no answer",
    }
    assert (answer["believed"], answer["phones"]) == (True, True)
    dns.txt["_ringmesh.example.org"].append("a" * 52)
    assert findings(await desk.verify("example.org"))["_ringmesh.example.org. TXT"] == "there"


async def test_two_keys_in_dns_are_another_thing_than_one() -> None:
    dns = SetDns()
    desk, _ = a_desk(dns)
    await desk.add("example.org")
    other = type(KEY)(bytes(32)).id.text
    dns.txt["_ringmesh.example.org"] = [NODE, other]
    answer = await desk.verify("example.org")
    assert findings(answer)["_ringmesh.example.org. TXT"] == "different"
    assert answer["believed"] is None


async def test_behind_nat_any_address_may_be_the_nodes() -> None:
    dns = SetDns()
    desk, _ = a_desk(dns, addresses=("10.0.0.1",))
    await desk.add("example.org")
    dns.hosts["example.org"] = ["9.9.9.9"]
    assert findings(await desk.verify("example.org"))["example.org. A"] == "there"


async def test_a_running_node_says_whether_others_believe() -> None:
    desk, _ = a_desk(looks=Looks())
    answer = await desk.verify("conf.example")
    assert (answer["believed"], answer["lack_of_proof"]) == (False, "others do not believe it")
