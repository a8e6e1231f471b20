"""Where a URI leads (RFC 3263), with zones that are data."""

import random
from collections import Counter
from collections.abc import Sequence

import pytest

from federation.model.address import Endpoint
from node.sip.dns_records import DnsAnswer, Naptr, Question, Record, Srv
from node.sip.locate import (
    MAX_ADDRESSES,
    MAX_HOPS,
    MAX_NAPTR,
    MAX_TARGETS,
    Hop,
    LocateError,
    Search,
    Target,
    in_order,
)
from node.sip.uri import Uri

Zone = dict[tuple[str, str], list[Record]]
FAILING = "failing"


class Dice:
    """Entropy from a seed."""

    def __init__(self, seed: int = 1) -> None:
        self._random = random.Random(seed)

    def token(self, size: int) -> bytes:
        return self._random.randbytes(size)


class Asked:
    """One search over a zone, and what it asked in which rounds."""

    def __init__(
        self,
        uri: str,
        zone: Zone,
        *,
        failing: Sequence[tuple[str, str]] = (),
        families: Sequence[int] = (4, 6),
    ) -> None:
        self.search = Search(Target.of(Uri.parse(uri)), families=families)
        self.rounds: list[list[tuple[str, str]]] = []
        while questions := self.search.questions():
            self.rounds.append([(question.kind, question.name) for question in questions])
            for question in questions:
                key = (question.kind, question.name)
                answer = DnsAnswer(tuple(zone.get(key, ())), 60, failed=key in failing)
                self.search.answer(question, answer)
            assert len(self.rounds) < 5

    def hops(self, seed: int = 1) -> list[str]:
        return [f"{hop.transport} {hop.remote}" for hop in self.search.hops(Dice(seed))]


A = ("A", "example.org")
NAPTR = ("NAPTR", "example.org")


def naptr(order: int, service: str, replacement: str, *, flags: str = "s") -> Naptr:
    return Naptr(order, 10, flags, service, replacement)


def srv(target: str, *, priority: int = 0, weight: int = 0, port: int = 5060) -> Srv:
    return Srv(priority, weight, port, target)


# RFC 3263 section 4.1 and 4.2: what is asked, and what follows


@pytest.mark.parametrize(
    ("uri", "hop"),
    [
        ("sip:192.0.2.7", "UDP 192.0.2.7:5060"),
        ("sip:a@192.0.2.7:5070", "UDP 192.0.2.7:5070"),
        ("sip:192.0.2.7;transport=tcp", "TCP 192.0.2.7:5060"),
        ("sip:192.0.2.7;transport=TLS", "TLS 192.0.2.7:5061"),
        ("sips:192.0.2.7", "TLS 192.0.2.7:5061"),
        ("sips:192.0.2.7:443", "TLS 192.0.2.7:443"),
        ("sips:192.0.2.7;transport=tcp", "TLS 192.0.2.7:5061"),
        ("sip:[2001:db8::7]", "UDP [2001:db8::7]:5060"),
        ("sip:example.org;maddr=192.0.2.9", "UDP 192.0.2.9:5060"),
        ("sip:example.org;maddr=2001:db8::9", "UDP [2001:db8::9]:5060"),
    ],
)
def test_an_ip_address_is_taken_without_dns(uri: str, hop: str) -> None:
    if "maddr=2001" in uri:
        uri = uri.replace("2001:db8::9", "[2001:db8::9]")
    asked = Asked(uri, {})
    assert asked.rounds == []
    assert asked.hops() == [hop]


@pytest.mark.parametrize(
    ("uri", "hop"),
    [
        ("sip:example.org:5070", "UDP 192.0.2.1:5070"),
        ("sips:example.org:5070", "TLS 192.0.2.1:5070"),
        ("sip:example.org:5070;transport=tcp", "TCP 192.0.2.1:5070"),
    ],
)
def test_a_port_leaves_only_the_address_to_ask_for(uri: str, hop: str) -> None:
    asked = Asked(uri, {A: ["192.0.2.1"], NAPTR: [naptr(1, "SIP+D2T", "elsewhere.example")]})
    assert asked.rounds == [[A, ("AAAA", "example.org")]]
    assert asked.hops() == [hop]


@pytest.mark.parametrize(
    ("uri", "name", "hop"),
    [
        ("sip:example.org;transport=udp", "_sip._udp.example.org", "UDP 192.0.2.1:5"),
        ("sip:example.org;transport=tcp", "_sip._tcp.example.org", "TCP 192.0.2.1:5"),
        ("sip:example.org;transport=tls", "_sips._tcp.example.org", "TLS 192.0.2.1:5"),
        ("sips:example.org;transport=tcp", "_sips._tcp.example.org", "TLS 192.0.2.1:5"),
    ],
)
def test_a_transport_leaves_one_srv_name_to_ask_for(uri: str, name: str, hop: str) -> None:
    zone: Zone = {("SRV", name): [srv("one.example", port=5)], ("A", "one.example"): ["192.0.2.1"]}
    asked = Asked(uri, zone)
    assert asked.rounds[0] == [("SRV", name)]
    assert asked.hops() == [hop]


@pytest.mark.parametrize(
    ("uri", "hop"),
    [
        ("sip:example.org", "UDP 192.0.2.1:5060"),
        ("sips:example.org", "TLS 192.0.2.1:5061"),
        ("sip:example.org;transport=tcp", "TCP 192.0.2.1:5060"),
        ("sip:example.org;transport=tls", "TLS 192.0.2.1:5061"),
    ],
)
def test_without_naptr_and_srv_the_domain_is_the_server(uri: str, hop: str) -> None:
    assert Asked(uri, {A: ["192.0.2.1"]}).hops() == [hop]


def test_naptr_says_which_transports_in_which_order() -> None:
    zone: Zone = {
        NAPTR: [
            naptr(90, "SIP+D2U", "_sip._udp.example.org"),
            naptr(50, "SIPS+D2T", "_sips._tcp.voice.example"),
            naptr(50, "sip+d2t", "_SIP._tcp.example.org", flags="S"),
            naptr(1, "SIP+D2S", "_sip._sctp.example.org"),
            naptr(1, "SIP+D2T", "", flags="s"),
            naptr(1, "SIP+D2T", "x.example", flags="u"),
            naptr(1, "E2U+sip", "y.example"),
        ],
        ("SRV", "_sips._tcp.voice.example"): [srv("tls.voice.example", port=5061)],
        ("SRV", "_sip._tcp.example.org"): [srv("tcp.example.org")],
        ("SRV", "_sip._udp.example.org"): [srv("udp.example.org")],
        ("A", "tls.voice.example"): ["192.0.2.1"],
        ("A", "tcp.example.org"): ["192.0.2.2"],
        ("A", "udp.example.org"): ["192.0.2.3"],
    }
    asked = Asked("sip:alice@Example.ORG", zone, families=(4,))
    assert asked.rounds[0] == [NAPTR]
    assert sorted(asked.rounds[1]) == [
        ("SRV", "_sip._tcp.example.org"),
        ("SRV", "_sip._udp.example.org"),
        ("SRV", "_sips._tcp.voice.example"),
    ]
    assert asked.hops() == ["TCP 192.0.2.2:5060", "TLS 192.0.2.1:5061", "UDP 192.0.2.3:5060"]
    # Whatever DNS says, a certificate is for the domain that was dialled (RFC 5922 section 4).
    assert {hop.name for hop in asked.search.hops(Dice())} == {"example.org"}
    secure = Asked("sips:example.org", zone, families=(4,))
    assert secure.hops() == ["TLS 192.0.2.1:5061"]


def test_without_naptr_all_transports_are_asked_for_at_once() -> None:
    zone: Zone = {
        ("SRV", "_sip._tcp.example.org"): [srv("t.example.org", port=5080)],
        ("SRV", "_sip._udp.example.org"): [srv("u.example.org")],
        ("A", "t.example.org"): ["192.0.2.2"],
        ("A", "u.example.org"): ["192.0.2.3"],
        A: ["192.0.2.99"],
    }
    asked = Asked("sip:example.org", zone, families=(4,))
    names = ("_sip._udp", "_sip._tcp", "_sips._tcp")
    assert asked.rounds[1] == [("SRV", f"{name}.example.org") for name in names]
    assert asked.hops() == ["UDP 192.0.2.3:5060", "TCP 192.0.2.2:5080"]
    assert Asked("sips:example.org", zone).rounds[1] == [("SRV", "_sips._tcp.example.org")]


def test_both_families_are_tried_in_the_order_of_this_nodes_own() -> None:
    zone: Zone = {A: ["192.0.2.1", "192.0.2.2"], ("AAAA", "example.org"): ["2001:db8::1"]}
    four = ["UDP 192.0.2.1:5060", "UDP 192.0.2.2:5060"]
    six = ["UDP [2001:db8::1]:5060"]
    for families, hops in (((4, 6), four + six), ((6, 4), six + four), ((4,), four), ((6,), six)):
        assert Asked("sip:example.org", zone, families=families).hops() == hops
    assert all(
        kind != "AAAA" for kind, _ in Asked("sip:example.org", zone, families=(4,)).rounds[-1]
    )


def test_a_server_named_twice_is_tried_once() -> None:
    zone: Zone = {
        ("SRV", "_sip._udp.example.org"): [srv("a.example"), srv("b.example", priority=1)],
        ("A", "a.example"): ["192.0.2.1"],
        ("A", "b.example"): ["192.0.2.1", "192.0.2.2"],
    }
    uri = "sip:example.org;transport=udp"
    assert Asked(uri, zone).hops() == ["UDP 192.0.2.1:5060", "UDP 192.0.2.2:5060"]


# Weights (RFC 2782)


def test_priorities_come_before_weights() -> None:
    servers = [srv("c", priority=2, weight=9), srv("b", priority=1), srv("a", priority=0)]
    for seed in range(20):
        assert [server.target for server in in_order(servers, Dice(seed))] == ["a", "b", "c"]


def test_weights_are_shares_of_the_first_place() -> None:
    servers = [srv("big", weight=60), srv("small", weight=20), srv("also", weight=20)]
    first = Counter(in_order(servers, Dice(seed))[0].target for seed in range(3_000))
    assert 1_650 < first["big"] < 1_950
    assert 500 < first["small"] < 700
    assert all(len(in_order(servers, Dice(seed))) == 3 for seed in range(50))


def test_weight_zero_is_rare_but_not_never() -> None:
    servers = [srv("none", weight=0), srv("all", weight=9)]
    first = Counter(in_order(servers, Dice(seed))[0].target for seed in range(2_000))
    assert 120 < first["none"] < 300


# What does not lead anywhere, as sentences


@pytest.mark.parametrize(
    ("uri", "zone", "failing", "sentence", "temporary"),
    [
        ("sip:example.org", {}, [], "example.org has no address in the DNS", False),
        ("sip:example.org:5060", {}, [A], "DNS does not answer for A of example.org", True),
        (
            "sip:example.org;transport=tcp",
            {A: ["192.0.2.1"]},
            [("SRV", "_sip._tcp.example.org")],
            "DNS does not answer for SRV of _sip._tcp.example.org",
            True,
        ),
        (
            "sip:example.org;transport=udp",
            {("SRV", "_sip._udp.example.org"): [srv("")], A: ["192.0.2.1"]},
            [],
            "example.org says in the DNS that it takes no SIP",
            False,
        ),
        (
            "sip:example.org;transport=udp",
            {("SRV", "_sip._udp.example.org"): [srv("gone.example")]},
            [],
            "the SIP servers that example.org names in the DNS have no address",
            False,
        ),
    ],
)
def test_nowhere_is_said_in_a_sentence(
    uri: str, zone: Zone, failing: list[tuple[str, str]], sentence: str, temporary: bool
) -> None:
    with pytest.raises(LocateError) as caught:
        Asked(uri, zone, failing=failing).hops()
    assert (str(caught.value), caught.value.is_temporary) == (sentence, temporary)


def test_an_address_of_a_family_this_node_lacks_is_nowhere() -> None:
    with pytest.raises(LocateError, match="has no IPv6 to reach 2001:db8::7 with"):
        Asked("sip:[2001:db8::7]", {}, families=(4,)).hops()


@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("sip:example.org;transport=sctp", "SIP over sctp is not spoken here"),
        ("sips:example.org;transport=udp", "a sips URI cannot be reached over UDP"),
        ("tel:+4930123", "a tel URI names no server"),
        ("sip:example.org;maddr=a..b", "'a..b' is no host that could be asked for"),
        (f"sip:{'a' * 64}.example", "is no host that could be asked for"),
    ],
)
def test_uris_that_lead_nowhere_are_refused_before_dns(uri: str, sentence: str) -> None:
    with pytest.raises(LocateError) as caught:
        Target.of(Uri.parse(uri))
    assert sentence in str(caught.value)


def test_naptr_that_cannot_be_had_is_no_hindrance() -> None:
    asked = Asked("sip:example.org", {A: ["192.0.2.1"]}, failing=[NAPTR])
    assert asked.hops() == ["UDP 192.0.2.1:5060"]


def test_one_transport_that_dns_does_not_answer_for_does_not_hide_another() -> None:
    zone: Zone = {
        ("SRV", "_sip._tcp.example.org"): [srv("t.example.org")],
        ("A", "t.example.org"): ["192.0.2.2"],
    }
    asked = Asked("sip:example.org", zone, failing=[("SRV", "_sip._udp.example.org")])
    assert asked.hops() == ["TCP 192.0.2.2:5060"]


# Bounds


def test_what_strangers_write_into_dns_is_bounded() -> None:
    many = [f"t{number}.example" for number in range(100)]
    zone: Zone = {
        NAPTR: [naptr(number, "SIP+D2U", f"_sip._udp.{name}") for number, name in enumerate(many)],
        **{("SRV", f"_sip._udp.{name}"): [srv(other) for other in many] for name in many},
        **{("A", t): [f"10.0.{h}.{n}" for n in range(100)] for h, t in enumerate(many)},
        **{("AAAA", t): [f"2001:db8::{h}:{n}" for n in range(100)] for h, t in enumerate(many)},
    }
    asked = Asked("sip:example.org", zone)
    assert [len(questions) for questions in asked.rounds] == [1, MAX_NAPTR, 2 * MAX_TARGETS]
    assert len(asked.hops()) == MAX_HOPS
    one = Asked("sip:t1.example:5060", zone)
    assert len(one.hops()) == 2 * MAX_ADDRESSES


@pytest.mark.parametrize("target", ["a b.example", "x" * 300, "é.example", "a..b", "", "a/b"])
def test_targets_that_are_no_hosts_are_left_out(target: str) -> None:
    zone: Zone = {
        ("SRV", "_sip._udp.example.org"): [srv(target), srv("good.example", priority=9)],
        ("A", "good.example"): ["192.0.2.1"],
    }
    asked = Asked("sip:example.org;transport=udp", zone)
    assert asked.rounds[1:] == [[("A", "good.example"), ("AAAA", "good.example")]]
    assert asked.hops() == ["UDP 192.0.2.1:5060"]


def test_a_target_may_be_an_address() -> None:
    """Against RFC 2782, and met in the wild."""
    zone: Zone = {("SRV", "_sip._udp.example.org"): [srv("192.0.2.5")]}
    assert Asked("sip:example.org;transport=udp", zone).hops() == ["UDP 192.0.2.5:5060"]


def test_a_hop_is_a_value() -> None:
    (hop,) = Asked("sip:192.0.2.7", {}).search.hops(Dice())
    assert hop == Hop("UDP", Endpoint("192.0.2.7", 5060), "192.0.2.7")
    assert Question("A", "x") == Question("A", "x")
