"""Numbers, rules, settings and DIDs: what is understood, and what is refused with which words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dht.prefixes import PrefixOffer
from federation.model.clocks import UnixTime
from federation.model.identity import NodeId, NodeKey
from node.accounts.login import AccountError
from node.trunks.book import Did, DidBook, TrunkBook
from node.trunks.e164 import MAX_DIGITS, MAX_TYPED, MIN_DIGITS, e164, read_number
from node.trunks.load import DAY, TrunkLoad
from node.trunks.offer import MAX_OFFERED_NODES
from node.trunks.options import NewTrunk, TrunkOptions, fresh_settings, settings_with
from node.trunks.rules import MAX_RULES, Rule, best_rule, is_beginning
from node.trunks.trunk import (
    MAX_SERVERS,
    MAX_SOURCES,
    CallerId,
    Mode,
    PbxSettings,
    ProviderSettings,
    Trunk,
    check_settings,
    decode_settings,
    encode_settings,
)

PROVIDER = ProviderSettings(servers=("sip.example.org",))
NODE = NodeKey(bytes(32)).id.text


@pytest.mark.parametrize(
    ("text", "country", "bare", "digits"),
    [
        ("+49 30 1234567", None, False, "49301234567"),
        ("0049 (30) 123-45.67", None, False, "49301234567"),
        ("030/1234567", "49", False, "49301234567"),
        ("030 1234567", None, False, None),
        ("49301234567", None, False, None),
        ("49301234567", None, True, "49301234567"),
        ("+49301234567;npdi;rn=+1", None, False, "49301234567"),
        ("+0301234567", None, False, None),
        ("+49", None, False, None),
        ("+" + "1" * MAX_DIGITS, None, False, "1" * MAX_DIGITS),
        ("+" + "1" * (MAX_DIGITS + 1), None, False, None),
        ("+" + "1" * MIN_DIGITS, None, False, "1" * MIN_DIGITS),
        ("+" + "1" * (MIN_DIGITS - 1), None, False, None),
        ("alice", None, True, None),
        ("+1" + " " * MAX_TYPED + "23456", None, False, None),
        ("0200000000000001", None, True, None),
        ("+٤٩٣٠١٢٣٤٥٦٧", None, True, None),
    ],
)
def test_numbers(text: str, country: str | None, bare: bool, digits: str | None) -> None:
    assert e164(text, country, bare=bare) == digits


@given(st.text(max_size=80), st.sampled_from([None, "1", "49"]), st.booleans())
def test_whatever_is_typed_is_digits_or_nothing(text: str, country: str, bare: bool) -> None:
    found = e164(text, country, bare=bare)
    assert found is None or (found.isascii() and found.isdigit() and 6 <= len(found) <= 15)
    if found is not None:
        assert e164(f"+{found}") == found


def test_a_number_that_is_none_is_told() -> None:
    with pytest.raises(AccountError) as caught:
        read_number("030 123")
    assert str(caught.value) == (
        "number '030 123': write it in international form, such as +49 30 1234567"
    )


@pytest.mark.parametrize(
    ("rules", "dialled", "outgoing"),
    [
        (("+",), "+49301", "+49301"),
        (("00=+",), "0049301", "+49301"),
        (("9=",), "9030123", "030123"),
        (("0=+49", "00=+"), "0049301", "+49301"),
        (("0=+49", "00=+"), "030123", "+4930123"),
        (("",), "110011", "110011"),
        (("",), "*31#", "*31#"),
        (("9=",), "9", None),
        (("+",), "030", None),
    ],
)
def test_the_longest_prefix_decides(
    rules: tuple[str, ...], dialled: str, outgoing: str | None
) -> None:
    best = best_rule(tuple(map(Rule.parse, rules)), dialled)
    assert (None if best is None else best[1]) == outgoing


def test_the_beginning_of_a_number_is_known_as_one() -> None:
    rules = (Rule("00", "+"),)
    assert is_beginning(rules, "0")
    assert not is_beginning(rules, "00")
    assert not is_beginning(rules, "1")


@pytest.mark.parametrize("text", ["abc", "+4+9", "0=x", "1" * 25, "0==1"])
def test_a_rule_that_cannot_be(text: str) -> None:
    with pytest.raises(AccountError, match="use digits, with a"):
        Rule.parse(text)


def _offering(**changes: object) -> ProviderSettings:
    """A trunk that offers +49 to a node."""
    usual: dict[str, object] = {
        "servers": ("a.example",), "rules": (Rule("+49"),), "offers": ("49",), "offer_to": (NODE,),
    }  # fmt: skip
    return ProviderSettings(**(usual | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (PbxSettings(max_calls=0), "--max-calls 0: use 1 to 100000"),
        (PbxSettings(static="a b"), "--static 'a b': give a host name or an IP address"),
        (PbxSettings(static="sip:x@y"), "--static 'sip:x@y'"),
        (PbxSettings(transport="tcp"), "--transport is for --static or --provider"),
        (PbxSettings(static="x.example", transport="sctp"), "use udp, tcp or tls"),
        (ProviderSettings(servers=()), "--server is missing"),
        (ProviderSettings(servers=("a.example",) * (MAX_SERVERS + 1)), "at most 8 servers"),
        (ProviderSettings(servers=("a.example:99999",)), "--server 'a.example:99999'"),
        (ProviderSettings(servers=("a.example",), login="a@b"), "what stands before the '@'"),
        (ProviderSettings(servers=("a.example",), country="0"), "calling code of 1 to 3 digits"),
        (ProviderSettings(servers=("a.example",), expires=5), "--expires 5: use 60 to 86400"),
        (ProviderSettings(servers=("a.example",), priority=-1), "--priority: use 0 to 65535"),
        (ProviderSettings(servers=("a.example",), max_daily=-1), "--max-daily -1"),
        (
            ProviderSettings(servers=("a.example",), caller_id=CallerId.FIXED),
            "--caller-id fixed needs --caller NUMBER",
        ),
        (
            ProviderSettings(servers=("a.example",), rules=(Rule("0"), Rule("0", "+"))),
            "--prefix '0' is given twice",
        ),
        (
            ProviderSettings(
                servers=("a.example",), rules=tuple(Rule(str(n)) for n in range(MAX_RULES + 1))
            ),
            "at most 64 rules",
        ),
        (ProviderSettings(servers=("a.example",), sources=("x",)), "--source 'x'"),
        (ProviderSettings(servers=("a.example",), sources=("10.0.0.0/4",)), "--source"),
        (
            ProviderSettings(servers=("a.example",), sources=("10.0.0.1",) * (MAX_SOURCES + 1)),
            "at most 32 addresses",
        ),
        (_offering(offer_to=()), "--offer needs --offer-to NODE"),
        (_offering(offers=("44",)), "--offer +44: the trunk itself takes no such numbers"),
        (_offering(offers=("",)), "add --prefix +"),
        (_offering(offers=tuple(f"49{n}" for n in range(10, 40))), "at most 28 prefixes"),
        (_offering(offer_to=(NODE,) * (MAX_OFFERED_NODES + 1)), "64 nodes"),
        (_offering(offer_calls=0), "--offer-calls 0: use 1 to 100000"),
        (_offering(offer_daily=0), "--offer-daily 0"),
    ],
)
def test_settings_that_cannot_work(settings: PbxSettings | ProviderSettings, said: str) -> None:
    with pytest.raises(AccountError) as caught:
        check_settings("telco", settings)
    assert said in str(caught.value)


def test_settings_survive_storage_and_what_later_versions_add() -> None:
    for settings in (
        PbxSettings(mode=Mode.PER_USER, max_calls=3),
        ProviderSettings(servers=("a.example", "b.example"), rules=(Rule("00", "+"), Rule(""))),
    ):
        assert decode_settings(encode_settings(settings)) == settings
    assert decode_settings(b'{"type":"pbx","mode":"single","newer":[1]}') == PbxSettings()


def test_options_change_what_is_given_and_take_away_what_is_empty() -> None:
    before = settings_with(
        "t",
        fresh_settings("t", "provider"),
        NewTrunk(
            name="t", kind="provider", servers=["a.example, b.example"], rules=["00=+"],
            country="+49", caller="030 1234567", max_calls=3, sources=["10.0.0.1"],
        ),
    )  # fmt: skip
    assert before == ProviderSettings(
        servers=("a.example", "b.example"), rules=(Rule("00", "+"),), country="49",
        caller="49301234567", max_calls=3, sources=("10.0.0.1",),
    )  # fmt: skip
    after = settings_with("t", before, TrunkOptions(max_calls=0, sources=[""], caller=""))
    assert (after.max_calls, after.sources, after.caller) == (None, (), None)  # type: ignore[union-attr]
    assert after.servers == before.servers  # type: ignore[union-attr]


def test_offers_are_read_in_international_form_and_nodes_by_id_or_key_name() -> None:
    fresh = fresh_settings("t", "provider")
    key_name = NodeId.from_text(NODE).key_name
    options = TrunkOptions(offers=["+49, +43", "+49 30"], offer_to=[NODE, key_name.upper()])
    found = settings_with("t", fresh, options)
    assert isinstance(found, ProviderSettings)
    assert (found.offers, found.offer_to) == (("43", "49", "4930"), (NODE,))
    assert settings_with("t", found, TrunkOptions(offers=[""])).offers == ()  # type: ignore[union-attr]
    check_settings("t", _offering(offers=("49", "4930")))
    assert decode_settings(encode_settings(_offering())) == _offering()


def test_offered_numbers_go_out_by_the_trunks_own_dial_plan_and_to_named_nodes_only() -> None:
    wide = _offering(rules=(Rule("+", "00"),), offers=("",), priority=1)
    exact = _offering(rules=(Rule("+49", "0"),), priority=20)
    book = TrunkBook(
        Trunk(name=name, settings=settings, created_at=UnixTime(0.0))
        for name, settings in (("wide", wide), ("exact", exact), ("none", _offering(offers=())))
    )
    ways = [(way.trunk.name, way.number) for way in book.offered_ways("49301234567", NODE)]
    assert ways == [("exact", "0301234567"), ("wide", "0049301234567")]
    assert [way.trunk.name for way in book.offered_ways("442079460000", NODE)] == ["wide"]
    assert book.offered_ways("49301234567", "b" * 52) == []
    assert book.offers_of("exact") == (PrefixOffer("49", 20),)
    assert book.offers_of("none") == book.offers_of("nobody") == ()


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        ("provider", TrunkOptions(offers=["49"]), "--offer '49': give the beginning of numbers"),
        ("provider", TrunkOptions(offers=["+x"]), "--offer '+x'"),
        ("provider", TrunkOptions(offer_to=["example.org"]), "--offer-to 'example.org': give the"),
        ("pbx", TrunkOptions(offers=["+49"]), "trunk t: --offer is for a trunk with --provider"),
        ("pbx", TrunkOptions(servers=["x"]), "trunk t: --server is for a trunk with --provider"),
        ("provider", TrunkOptions(mode="single"), "trunk t: --mode is for a trunk with --pbx"),
        ("pbx", TrunkOptions(mode="double"), "trunk t: --mode 'double': use single or per-user"),
        ("other", TrunkOptions(), "trunk t: say --pbx for a PBX of yours"),
    ],
)
def test_options_that_do_not_fit(kind: str, options: TrunkOptions, said: str) -> None:
    with pytest.raises(AccountError) as caught:
        settings_with("t", fresh_settings("t", kind), options)
    assert said in str(caught.value)


def did(number: str, login: str, extension: str | None = None) -> Did:
    return Did(number, login, extension, UnixTime(0.0))


def test_dids_are_found_in_every_form() -> None:
    book = DidBook([did("49301234567", "alice"), did("4989555555", "pbx", "12")])
    book.countries = frozenset({"49", "44"})
    for text in ("+49301234567", "0049301234567", "49301234567", "0301234567", "+49 30 1234567"):
        found = book.find(text)
        assert found is not None, text
        assert found.target == "alice"
    assert book.find("0895555551") is None
    assert book.find("bob") is None
    assert [each.target for each in book.of("pbx", "12")] == ["pbx*12"]
    assert book.of("pbx") == []
    book.remove("4989555555")
    assert book.all_of("pbx") == []
    assert len(book) == 1


def test_a_trunk_without_settings_is_an_ordinary_pbx() -> None:
    book = TrunkBook()
    assert book.pbx("old") == PbxSettings()
    told: list[str] = []
    book.listen(told.append)
    book.put(Trunk(name="t", settings=PROVIDER, created_at=UnixTime(0.0)))
    assert book.has_providers
    book.remove("t")
    book.remove("t")
    assert told == ["t", "t"]
    assert not book.has_providers


def test_no_password_is_in_a_repr() -> None:
    trunk = Trunk(name="t", settings=PROVIDER, password="hush", created_at=UnixTime(0.0))
    assert "hush" not in repr(trunk)


@given(st.lists(st.tuples(st.sampled_from("tlo"), st.sampled_from("ab"), st.integers(0, 3))))
def test_the_load_is_what_is_held(steps: list[tuple[str, str, int]]) -> None:
    load, held = TrunkLoad(), set[tuple[str, int]]()
    for what, name, call in steps:
        if what == "t":
            load.take(name, call)
            held.add((name, call))
        elif what == "l":
            load.leave(name, call)
            held.discard((name, call))
        else:
            load.over(call)
            held = {each for each in held if each[1] != call}
    for name in "ab":
        assert load.calls(name) == sum(each[0] == name for each in held)


def test_days_end_at_midnight_and_are_stored() -> None:
    stored: list[tuple[str, int, int]] = []
    load = TrunkLoad({"t": (10, 4)}, on_day=lambda *row: stored.append(row))
    evening = UnixTime(11.0 * DAY - 1)
    assert load.out_today("t", now=evening) == 4
    load.went_out("t", now=evening)
    load.went_out("t", now=UnixTime(evening + 1))
    assert stored == [("t", 10, 5), ("t", 11, 1)]
