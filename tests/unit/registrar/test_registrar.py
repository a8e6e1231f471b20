"""REGISTER, RFC 3261 10.3, and the paths that lead to devices."""

from dataclasses import replace

import pytest

from federation.model.address import Endpoint
from federation.model.clocks import UnixTime
from node.sip.binding import Binding, BindingRemoved, BindingStored
from node.sip.flow import Flow, TransportName
from node.sip.registrar import (
    MAX_CALL_ID,
    MAX_CONTACT_TEXT,
    MAX_CONTACTS,
    MAX_PATH,
    MAX_SERVER,
    MAX_USER_AGENT,
    Registrar,
    Registration,
)
from tests.support.digest_client import register
from tests.support.sip_exchange import TCP, UDP

NOW = UnixTime(1_800_000_000.0)
PHONE = "<sip:alice@192.0.2.10:5070>"
DESK = "<sip:alice@192.0.2.20:5060>"


def later(seconds: float) -> UnixTime:
    return UnixTime(NOW + seconds)


def contacts_of(answer: Registration) -> list[str]:
    return [value for name, value in answer.headers if name == "Contact"]


def registered(*contacts: str, flow: Flow = UDP, now: UnixTime = NOW) -> Registrar:
    registrar = Registrar()
    for number, contact in enumerate(contacts, start=1):
        answer = registrar.register(
            "alice",
            register(contacts=[contact], call_id=f"c{number}", headers=[("Supported", "outbound")]),
            flow,
            now=now,
        )
        assert answer.status == 200
    return registrar


def only(registrar: Registrar, now: UnixTime = NOW) -> Binding:
    (binding,) = registrar.bindings("alice", now=now)
    return binding


def test_a_device_registers() -> None:
    registrar = Registrar()
    request = register(domain="pbx.example.org:5070", headers=[("User-Agent", "Phone/1")], cseq=7)
    answer = registrar.register("alice", request, UDP, now=NOW)
    binding = Binding(
        aor="alice",
        key="sip:alice@192.0.2.10:5070",
        uri="sip:alice@192.0.2.10:5070",
        flow=UDP,
        is_connected=True,
        server="pbx.example.org:5070",
        instance=None,
        reg_id=None,
        q=1.0,
        path=(),
        user_agent="Phone/1",
        call_id="reg-1",
        cseq=7,
        registered_at=NOW,
        expires_at=later(600),
    )
    assert answer == Registration(
        200,
        "OK",
        (
            ("Contact", "<sip:alice@192.0.2.10:5070>;expires=600"),
            ("Date", "Fri, 15 Jan 2027 08:00:00 GMT"),
        ),
        (BindingStored(binding),),
    )
    assert registrar.bindings("alice", now=NOW) == (binding,)
    assert len(registrar) == 1


def test_the_answer_lists_every_contact_with_its_time() -> None:
    registrar = registered(PHONE)
    answer = registrar.register(
        "alice", register(contacts=[DESK + ";q=0.5"], call_id="other"), UDP, now=later(100)
    )
    assert contacts_of(answer) == [
        "<sip:alice@192.0.2.10:5070>;expires=500",
        "<sip:alice@192.0.2.20:5060>;q=0.5;expires=600",
    ]


def test_a_register_without_contact_only_asks() -> None:
    registrar = registered(PHONE)
    answer = registrar.register("alice", register(contacts=[]), UDP, now=later(1))
    assert contacts_of(answer) == ["<sip:alice@192.0.2.10:5070>;expires=599"]
    assert answer.changes == ()


@pytest.mark.parametrize(
    ("flow", "param", "header", "granted"),
    [
        (UDP, None, None, 600),
        (UDP, None, "3600", 600),
        (UDP, None, "120", 120),
        (UDP, "90", "120", 90),
        (UDP, "60", None, 60),
        (UDP, "abc", "120", 600),
        (UDP, "99999999999999", None, 600),
        (UDP, None, "-5", 600),
        (TCP, None, None, 3600),
        (TCP, None, "7200", 3600),
        (TCP, None, "600", 600),
        (replace(TCP, transport="TLS"), None, "100000", 3600),
    ],
)
def test_expires_is_granted_by_transport(
    flow: Flow, param: str | None, header: str | None, granted: int
) -> None:
    registrar = Registrar()
    contact = PHONE + (f";expires={param}" if param else "")
    request = register(contacts=[contact], headers=[("Expires", header)] if header else [])
    registrar.register("alice", request, flow, now=NOW)
    assert only(registrar).expires_at == later(granted)


@pytest.mark.parametrize("seconds", [1, 59])
def test_a_wish_below_the_minimum_is_refused_with_it(seconds: int) -> None:
    registrar = Registrar()
    request = register(contacts=[f"{PHONE};expires={seconds}"])
    answer = registrar.register("alice", request, UDP, now=NOW)
    assert answer == Registration(423, "Interval Too Brief", (("Min-Expires", "60"),))
    assert len(registrar) == 0


def test_a_refresh_moves_the_expiry_and_follows_a_new_path() -> None:
    """A NAT may give the phone another port."""
    registrar = registered(PHONE)
    moved = replace(UDP, remote=Endpoint("192.0.2.10", 61000))
    request = register(contacts=[PHONE], call_id="c1", cseq=2)
    registrar.register("alice", request, moved, now=later(300))
    assert (only(registrar).flow, only(registrar).expires_at) == (moved, later(900))


def test_the_same_uri_written_otherwise_is_the_same_binding() -> None:
    registrar = registered("<sip:alice@phone.example.org;transport=udp>")
    request = register(contacts=["<sip:alice@PHONE.example.org;transport=UDP>"], call_id="c2")
    registrar.register("alice", request, UDP, now=later(1))
    assert only(registrar).registered_at == later(1)


def test_a_contact_with_expires_0_goes() -> None:
    registrar = registered(PHONE, DESK)
    phone = registrar.bindings("alice", now=NOW)[0]
    assert phone.call_id == "c1"
    request = register(contacts=[PHONE + ";expires=0"], call_id="c1", cseq=2)
    answer = registrar.register("alice", request, UDP, now=later(1))
    assert answer.changes == (BindingRemoved(phone),)
    assert contacts_of(answer) == ["<sip:alice@192.0.2.20:5060>;expires=599"]


def test_unregistering_what_is_not_there_is_fine() -> None:
    registrar = Registrar()
    request = register(contacts=[PHONE + ";expires=0"])
    answer = registrar.register("alice", request, UDP, now=NOW)
    assert (answer.status, answer.changes) == (200, ())


def test_star_with_expires_0_removes_all() -> None:
    registrar = registered(PHONE, DESK)
    request = register(contacts=["*"], headers=[("Expires", "0")], call_id="c9")
    answer = registrar.register("alice", request, UDP, now=NOW)
    assert answer.status == 200
    assert [type(change) for change in answer.changes] == [BindingRemoved] * 2
    assert contacts_of(answer) == []
    assert (len(registrar), registrar.next_timer()) == (0, None)


@pytest.mark.parametrize(
    ("contacts", "headers"),
    [
        (["*"], []),
        (["*"], [("Expires", "3600")]),
        (["*"], [("Expires", "")]),
        (["*", PHONE], [("Expires", "0")]),
        (["*;expires=0"], []),
        (["<tel:+4930>"], []),
        (["<mailto:a@b>"], []),
        (["nonsense"], []),
        ([PHONE, PHONE], []),
        (["<sip:a@b" + "c" * MAX_CONTACT_TEXT + ">"], []),
        ([PHONE + ';+sip.instance="' + "i" * (MAX_CONTACT_TEXT + 1) + '"'], []),
    ],
)
def test_contacts_that_will_not_do_change_nothing(
    contacts: list[str], headers: list[tuple[str, str]]
) -> None:
    registrar = registered(PHONE)
    before = registrar.bindings("alice", now=NOW)
    request = register(contacts=contacts, headers=headers, call_id="bad", cseq=9)
    answer = registrar.register("alice", request, UDP, now=NOW)
    assert (answer.status, answer.changes) == (400, ())
    assert registrar.bindings("alice", now=NOW) == before


@pytest.mark.parametrize("cseq", [4, 5])
@pytest.mark.parametrize("contact", [PHONE, PHONE + ";expires=0", "*"])
def test_an_overtaken_register_is_refused(cseq: int, contact: str) -> None:
    """The order within one Call-ID is the CSeq's; equal is not higher."""
    registrar = Registrar()
    registrar.register("alice", register(contacts=[PHONE], cseq=5), UDP, now=NOW)
    before = only(registrar)
    headers = [("Expires", "0")] if contact == "*" else []
    request = register(contacts=[contact], cseq=cseq, headers=headers)
    answer = registrar.register("alice", request, UDP, now=later(1))
    assert (answer.status, answer.changes) == (500, ())
    assert only(registrar) == before


def test_a_rebooted_phone_starts_its_cseq_anew_under_another_call_id() -> None:
    registrar = Registrar()
    registrar.register("alice", register(cseq=500, call_id="before"), UDP, now=NOW)
    answer = registrar.register("alice", register(cseq=1, call_id="after"), UDP, now=later(9))
    assert answer.status == 200
    assert only(registrar).registered_at == later(9)


def test_one_bad_contact_spoils_all() -> None:
    """Everything in a REGISTER takes effect, or nothing."""
    registrar = Registrar()
    request = register(contacts=[PHONE, DESK + ";expires=30"])
    assert registrar.register("alice", request, UDP, now=NOW).status == 423
    assert len(registrar) == 0


def test_an_account_has_a_limited_number_of_contacts() -> None:
    contacts = [f"<sip:alice@192.0.2.{n}>" for n in range(MAX_CONTACTS)]
    registrar = registered(*contacts)
    answer = registrar.register("alice", register(call_id="more"), UDP, now=NOW)
    assert (answer.status, answer.changes) == (403, ())
    assert answer.reason == "More than 10 contacts"
    assert len(registrar) == MAX_CONTACTS
    swap = register(contacts=[contacts[0] + ";expires=0", PHONE], call_id="swap")
    assert registrar.register("alice", swap, UDP, now=NOW).status == 200
    assert len(registrar) == MAX_CONTACTS
    others = register(user="bob", contacts=[PHONE])
    assert registrar.register("bob", others, UDP, now=NOW).status == 200


def test_more_contacts_than_the_limit_in_one_register_are_refused() -> None:
    contacts = [f"<sip:alice@192.0.2.{n}>" for n in range(MAX_CONTACTS + 1)]
    answer = Registrar().register("alice", register(contacts=contacts), UDP, now=NOW)
    assert answer.status == 403


def test_a_binding_whose_connection_is_gone_makes_room() -> None:
    contacts = [f"<sip:alice@192.0.2.{n};transport=tcp>" for n in range(MAX_CONTACTS)]
    registrar = Registrar()
    for n, contact in enumerate(contacts):
        flow = replace(TCP, id=n + 1)
        request = register(contacts=[contact], call_id=f"c{n}")
        registrar.register("alice", request, flow, now=later(n))
    registrar.flow_closed(replace(TCP, id=5))
    registrar.flow_closed(replace(TCP, id=3))
    answer = registrar.register("alice", register(call_id="new"), UDP, now=later(20))
    assert answer.status == 200
    assert [type(c) for c in answer.changes] == [BindingRemoved, BindingStored]
    assert answer.changes[0].binding.uri == "sip:alice@192.0.2.2;transport=tcp"
    assert len(registrar) == MAX_CONTACTS


def test_expired_bindings_do_not_count_against_the_limit() -> None:
    contacts = [f"<sip:alice@192.0.2.{n}>" for n in range(MAX_CONTACTS)]
    registrar = registered(*contacts)
    answer = registrar.register("alice", register(call_id="new"), UDP, now=later(700))
    assert answer.status == 200
    assert len(registrar) == 1


def test_bindings_expire() -> None:
    registrar = registered(PHONE)
    binding = only(registrar)
    assert registrar.next_timer() == later(600)
    assert registrar.handle_timer(now=later(599)) == ()
    assert registrar.bindings("alice", now=later(600)) == ()
    assert registrar.handle_timer(now=later(600)) == (BindingRemoved(binding),)
    assert (len(registrar), registrar.next_timer(), dict(registrar.accounts())) == (0, None, {})


def test_a_refreshed_binding_does_not_expire_at_its_first_time() -> None:
    registrar = registered(PHONE)
    registrar.register("alice", register(call_id="c1", cseq=2), UDP, now=later(500))
    assert registrar.next_timer() == later(1100)
    assert registrar.handle_timer(now=later(700)) == ()


def test_refreshing_without_end_takes_no_memory() -> None:
    registrar = Registrar()
    for n in range(2000):
        registrar.register("alice", register(cseq=n + 1), UDP, now=later(n / 10))
    assert len(registrar._expiries) <= 4 + 64


def test_devices_are_listed_by_q_then_the_newest_first() -> None:
    registrar = Registrar()
    for n, q in enumerate(("0.5", "1", "0.5", "1.000")):
        contact = f"<sip:alice@192.0.2.{n}>;q={q}"
        registrar.register(
            "alice", register(contacts=[contact], call_id=f"c{n}"), UDP, now=later(n)
        )
    hosts = [b.target.host[-1] for b in registrar.bindings("alice", now=later(4))]
    assert hosts == ["3", "1", "2", "0"]


@pytest.mark.parametrize(("text", "q"), [("0.25", 0.25), ("0", 0.0), ("2", 1.0), ("nan", 1.0)])
def test_a_malformed_q_counts_as_1(text: str, q: float) -> None:
    assert only(registered(f"{PHONE};q={text}")).q == q


def test_instance_and_reg_id_tell_devices_apart_whatever_their_contact() -> None:
    """A phone that comes back with another address replaces itself (RFC 5626 section 6)."""
    outbound = ';+sip.instance="<urn:uuid:1>";reg-id={}'
    registrar = registered(
        PHONE + outbound.format(1),
        "<sip:alice@192.0.2.99:7777>" + outbound.format(1),
        "<sip:alice@192.0.2.99:7777>" + outbound.format(2),
    )
    found = [(b.target.port, b.instance, b.reg_id) for b in registrar.bindings("alice", now=NOW)]
    assert sorted(found, key=str) == [(7777, "<urn:uuid:1>", 1), (7777, "<urn:uuid:1>", 2)]
    answer = registrar.register("alice", register(contacts=[]), UDP, now=NOW)
    assert ';+sip.instance="<urn:uuid:1>";reg-id=1;' in contacts_of(answer)[0]


def test_when_a_connection_ends_its_binding_stays_but_is_not_connected() -> None:
    registrar = registered(PHONE, flow=TCP)
    before = only(registrar)
    gone = replace(before, is_connected=False, flow=replace(TCP, id=0))
    assert registrar.flow_closed(TCP) == (BindingStored(gone),)
    assert only(registrar) == gone
    assert registrar.flow_closed(TCP) == ()


def test_a_phone_that_reconnects_is_not_touched_by_the_end_of_its_old_connection() -> None:
    registrar = registered(PHONE, flow=TCP)
    fresh = replace(TCP, id=8)
    registrar.register("alice", register(call_id="c1", cseq=2), fresh, now=later(1))
    assert registrar.flow_closed(TCP) == ()
    assert (only(registrar).flow, only(registrar).is_connected) == (fresh, True)


def test_after_a_restart_udp_works_at_once_and_streams_wait_for_their_phone() -> None:
    before = registered(PHONE)
    before.register("alice", register(contacts=[DESK], call_id="tcp"), TCP, now=later(1))
    registrar = Registrar()
    registrar.restore(before.bindings("alice", now=later(2)), now=later(2))
    by_transport = {b.flow.transport: b for b in registrar.bindings("alice", now=later(2))}
    assert (by_transport["UDP"].flow, by_transport["UDP"].is_connected) == (UDP, True)
    tcp = by_transport["TCP"]
    assert (tcp.flow, tcp.is_connected) == (replace(TCP, id=0), False)
    again = register(contacts=[DESK], call_id="tcp", cseq=2)
    registrar.register("alice", again, replace(TCP, id=1), now=later(3))
    assert all(b.is_connected for b in registrar.bindings("alice", now=later(3)))


@pytest.mark.parametrize("transport", ["WS", "WSS"])
def test_a_binding_over_a_web_socket_goes_with_its_connection(transport: TransportName) -> None:
    """Its Contact leads nowhere (RFC 7118 B.1); after a restart there is nothing to wait for."""
    flow = replace(TCP, transport=transport)
    registrar = registered("<sip:alice@k3.invalid;transport=ws>", flow=flow)
    binding = only(registrar)
    assert (binding.direct, binding.expires_at) == (None, later(3600))
    restored = Registrar()
    restored.restore([binding], now=later(1))
    assert len(restored) == 0
    assert registrar.flow_closed(flow) == (BindingRemoved(binding),)
    assert len(registrar) == 0


def test_what_expired_while_the_node_was_down_is_not_restored() -> None:
    before = registered(PHONE)
    registrar = Registrar()
    registrar.restore(before.bindings("alice", now=NOW), now=later(600))
    assert len(registrar) == 0


@pytest.mark.parametrize(
    ("contact", "direct"),
    [
        ("<sip:alice@192.0.2.10:5070;transport=tcp>", Endpoint("192.0.2.10", 5070)),
        ("<sip:alice@192.0.2.10;transport=tcp>", Endpoint("192.0.2.10", 5060)),
        ("<sip:alice@192.0.2.10;transport=tls>", Endpoint("192.0.2.10", 5061)),
        ("<sips:alice@192.0.2.10>", Endpoint("192.0.2.10", 5061)),
        ("<sip:alice@10.0.0.5:5060;transport=tcp>", None),
        ("<sip:alice@phone.invalid;transport=tcp>", None),
    ],
)
def test_a_device_not_behind_a_nat_can_be_connected_to(
    contact: str, direct: Endpoint | None
) -> None:
    assert only(registered(contact, flow=TCP)).direct == direct


def test_removing_an_account_drops_its_bindings() -> None:
    registrar = registered(PHONE, DESK)
    bindings = set(registrar.bindings("alice", now=NOW))
    assert {change.binding for change in registrar.remove("alice")} == bindings
    assert len(registrar) == 0
    assert registrar.remove("alice") == ()


def test_extensions_that_must_be_understood_and_are_not() -> None:
    request = register(headers=[("Require", "path, gruu, magic, outbound, shiny")])
    assert Registrar().register("alice", request, UDP, now=NOW) == Registration(
        420, "Bad Extension", (("Unsupported", "magic, shiny"),)
    )


def test_a_path_is_kept_and_returned_to_phones_that_know_it() -> None:
    """RFC 3327 section 5.3."""
    path = [("Path", "<sip:edge1;lr>"), ("Path", "<sip:edge2;lr>")]
    refused = Registrar().register("alice", register(headers=path), UDP, now=NOW)
    assert (refused.status, refused.headers) == (421, (("Require", "path"),))
    registrar = Registrar()
    request = register(headers=[*path, ("Supported", "outbound, path")])
    answer = registrar.register("alice", request, UDP, now=NOW)
    assert only(registrar).path == ("<sip:edge1;lr>", "<sip:edge2;lr>")
    assert [pair for pair in answer.headers if pair[0] == "Path"] == path


@pytest.mark.parametrize(
    "headers",
    [
        [("Supported", "path"), *([("Path", "<sip:edge;lr>")] * (MAX_PATH + 1))],
        [("Supported", "path"), ("Path", "<sip:" + "e" * 6000 + ";lr>")],
    ],
)
def test_a_path_is_limited(headers: list[tuple[str, str]]) -> None:
    answer = Registrar().register("alice", register(headers=headers), UDP, now=NOW)
    assert answer.status == 400


def test_what_is_kept_of_a_phones_texts_is_limited() -> None:
    registrar = Registrar()
    long_id = "i" * (MAX_CALL_ID + 1)
    request = register(call_id=long_id, cseq=2, headers=[("User-Agent", "x" * 5000)])
    registrar.register("alice", request, UDP, now=NOW)
    binding = only(registrar)
    assert (len(binding.user_agent), len(binding.call_id)) == (MAX_USER_AGENT, 64)
    overtaken = register(call_id=long_id, cseq=1)
    assert registrar.register("alice", overtaken, UDP, now=NOW).status == 500
    host = register(domain="h" * (MAX_SERVER + 1), uri="sip:example.org", call_id="h")
    assert registrar.register("alice", host, UDP, now=NOW).status == 400


def test_an_ipv6_server_keeps_its_brackets() -> None:
    registrar = Registrar()
    flow = Flow("UDP", Endpoint("2001:db8::1", 5060), Endpoint("2001:db8::2", 5060))
    registrar.register("alice", register(domain="[2001:db8::1]:5070"), flow, now=NOW)
    assert only(registrar).server == "[2001:db8::1]:5070"


# Outbound (RFC 5626) and GRUU (RFC 5627)

OUTBOUND = ';+sip.instance="<urn:uuid:1>";reg-id=1'


def headers_of(answer: Registration) -> dict[str, str]:
    return dict(answer.headers)


@pytest.mark.parametrize(("flow", "timer"), [(TCP, "120"), (UDP, "29")])
def test_a_flow_is_kept_as_outbound_and_its_device_told_so(flow: Flow, timer: str) -> None:
    registrar = Registrar()
    request = register(contacts=[PHONE + OUTBOUND], headers=[("Supported", "path, Outbound")])
    headers = headers_of(registrar.register("alice", request, flow, now=NOW))
    assert (headers["Require"], headers["Flow-Timer"]) == ("outbound", timer)
    assert only(registrar).reg_id == 1


def test_a_reg_id_counts_with_outbound_and_an_instance_only() -> None:
    for contact, supported in ((PHONE + OUTBOUND, "path"), (PHONE + ";reg-id=1", "outbound")):
        registrar = Registrar()
        request = register(contacts=[contact], headers=[("Supported", supported)])
        answer = registrar.register("alice", request, TCP, now=NOW)
        assert "Require" not in headers_of(answer)
        assert only(registrar).reg_id is None


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("Path", "<sip:edge;lr;ob>")], 200),
        ([("Path", "<sip:far;lr>"), ("Path", "<sip:t@edge;lr;ob>")], 200),
        ([("Path", "<sip:edge;lr>")], 439),
        ([("Path", "<sip:far;lr;ob>"), ("Path", "<sip:edge;lr>")], 439),
        ([("Path", "nonsense")], 439),
        ([("Via", "SIP/2.0/UDP edge.example;branch=z9hG4bKe")], 439),
    ],
)
def test_a_proxy_between_that_keeps_no_flows_is_439(
    headers: list[tuple[str, str]], status: int
) -> None:
    request = register(
        contacts=[PHONE + OUTBOUND], headers=[*headers, ("Supported", "path, outbound")]
    )
    assert Registrar().register("alice", request, UDP, now=NOW).status == status


def test_gruus_are_added_to_each_contact_where_they_are_made() -> None:
    registrar = registered(PHONE, DESK + OUTBOUND)
    answer = registrar.register(
        "alice",
        register(contacts=[]),
        UDP,
        now=NOW,
        gruus=lambda b: ";pub-gruu=x" * b.reg_id if b.reg_id else "",
    )
    assert sum(text.endswith(";pub-gruu=x") for text in contacts_of(answer)) == 1
