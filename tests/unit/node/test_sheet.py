"""What a person is told: the sheet, the first page, the ports."""

import pytest

from federation.model.errors import ConfigError
from federation.model.identity import NodeKey
from federation.model.number import Number
from node.banner import first_start, later_start, port_list
from node.config import Config
from node.sheet import AccountSheet, ServedAt

KEY = NodeKey(bytes(range(32)))
NUMBER = Number("021234567890123")


def served(**changes: object) -> ServedAt:
    fields: dict[str, object] = {
        "key_name": KEY.id.key_name,
        "addresses": ("192.0.2.7", "127.0.0.1"),
        "sip_port": 5060,
    }
    return ServedAt(**(fields | changes))  # type: ignore[arg-type]


def test_a_sheet_is_what_the_command_line_promises() -> None:
    sheet = AccountSheet(login="alice", served=served(), number=NUMBER, password="secret")
    assert sheet.as_json() == {
        "login": "alice",
        "password": "secret",
        "server": "192.0.2.7",
        "uri": [f"sip:alice@{KEY.id.key_name}", "sip:alice@192.0.2.7"],
        "number": "021234567890123",
        "extension": None,
        "name": "",
        "turn": {
            "uris": [
                "turn:192.0.2.7:3478?transport=udp",
                "turn:192.0.2.7:3478?transport=tcp",
                "turns:192.0.2.7:5349?transport=tcp",
            ],
            "username": "alice",
        },
    }


def test_a_password_is_shown_only_when_it_was_just_made() -> None:
    assert "password" not in AccountSheet(login="a", served=served(), number=None).as_json()


def test_the_server_is_the_first_proven_domain_else_the_address() -> None:
    domains = ("example.org", "example.net")
    assert served(domains=domains, proven=0).server == "192.0.2.7"
    assert served(domains=domains, proven=1).server == "example.org"
    assert served(sip_port=5070).server == "192.0.2.7:5070"
    assert served(addresses=("2001:db8::1",), sip_port=5070).server == "[2001:db8::1]:5070"


def test_proven_domains_come_first() -> None:
    config = Config(domains=("a.org", "b.org"), listen="127.0.0.2", port_offset=10)
    of = ServedAt.of(config, KEY.id, proven={"b.org"})
    assert (of.domains, of.proven, of.server) == (("b.org", "a.org"), 1, "b.org:5070")
    assert of.addresses == ("127.0.0.2",)
    assert of.login_domains == ("b.org", "a.org", KEY.id.key_name, "127.0.0.2")


def test_where_it_was_served_survives_as_json() -> None:
    here = served(domains=("example.org",), proven=1)
    assert ServedAt.from_json(here.as_json()) == here


@pytest.mark.parametrize("change", [{"sip_port": "x"}, {"addresses": []}, {"domains": None}])
def test_a_damaged_record_of_the_last_run_is_named(change: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="last-run in the state folder is damaged"):
        ServedAt.from_json(served().as_json() | change)


def test_the_first_page_holds_everything_a_person_needs() -> None:
    sheet = AccountSheet(login="alice", served=served(), number=NUMBER, password="s3cret").as_json()
    page = first_start(sheet, Config(port_offset=10), "/var/ringmesh")
    for part in ("alice", "s3cret", "192.0.2.7", "0212 3456 7890 123", KEY.id.key_name):
        assert part in page
    for port in port_list(Config(port_offset=10)):
        assert port in page
    assert "/var/ringmesh" in page
    assert "▀" in page


def test_the_ports_to_open_follow_the_configuration() -> None:
    assert [line.split()[0] for line in port_list(Config(port_offset=10))] == [
        "5070",
        "5071",
        "7070",
        "3488",
        "5359",
        "10000-19999",
    ]


def test_a_later_start_is_one_line() -> None:
    status = {"node_id": KEY.id.text, "network": "main", "accounts": 2, "server": "192.0.2.7"}
    assert later_start(status) == (
        f"Node {KEY.id.text[:8]}… on network main: 2 accounts, server 192.0.2.7"
    )
