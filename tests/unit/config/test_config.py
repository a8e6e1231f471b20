"""What the configuration takes, and the sentences for what it does not."""

import pytest

from federation.model.errors import ConfigError
from node.config import (
    MAX_DNS_SERVERS,
    Config,
    DnsConfig,
    MediaConfig,
    MeshConfig,
    SettingError,
    SipConfig,
    TlsConfig,
    split_target,
)
from node.relay_config import MAX_ALLOWED_PEERS, MAX_INSIDE_NETWORKS, RelayConfig
from node.relaying.consent import MAX_KBIT


def test_nothing_has_to_be_set() -> None:
    """The defaults are the ports and the network of the handbook."""
    config = Config()
    assert (config.network, config.sip_port, config.mesh_port) == ("main", 5060, 7060)
    assert config.tls_port == 5061
    assert (config.media.first_port, config.media.last_port) == (10000, 19999)
    assert config.net.puzzle_bits == 13


def test_the_offset_moves_listening_ports_and_not_the_media_range() -> None:
    config = Config(port_offset=280)
    assert (config.sip_port, config.tls_port, config.mesh_port) == (5340, 5341, 7340)
    assert config.media == MediaConfig()


@pytest.mark.parametrize("offset", [-10, 1, 5, 285, 290, 1000])
def test_other_offsets_are_refused_with_the_rule(offset: int) -> None:
    with pytest.raises(SettingError) as caught:
        Config(port_offset=offset)
    assert str(caught.value) == (
        f"port_offset is {offset}, but must be 0, or a multiple of 10 up to 280"
    )


@pytest.mark.parametrize("offset", [0, 10, 280])
def test_these_offsets_are_taken(offset: int) -> None:
    assert Config(port_offset=offset).port_offset == offset


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("node.example.org:7060", ("node.example.org", 7060)),
        ("node", ("node", 7060)),
        ("192.0.2.1:1", ("192.0.2.1", 1)),
        ("192.0.2.1", ("192.0.2.1", 7060)),
        ("[2001:db8::1]:65535", ("2001:db8::1", 65535)),
        ("[2001:db8::1]", ("2001:db8::1", 7060)),
        ("2001:db8::1", ("2001:db8::1", 7060)),
    ],
)
def test_a_join_target_is_read(text: str, target: tuple[str, int]) -> None:
    assert split_target(text) == target


@pytest.mark.parametrize(
    "text",
    ["", ":7060", "a:", "a:0", "a:65536", "a:x", "a b:1", "[::1", "[::1]x", "[a]:1", "a:1:2",
     "-a:1", "a..b:1", "x" * 254, "a:9999999999"],
)  # fmt: skip
def test_what_is_no_join_target_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match="but must be HOST:PORT"):
        MeshConfig(join=(text,))


@pytest.mark.parametrize("domain", ["example.org", "a-b.example", "xn--bcher-kva.example"])
def test_a_domain_is_taken(domain: str) -> None:
    assert Config(domains=(domain,)).domains == (domain,)


@pytest.mark.parametrize(
    "domain",
    ["", "example", "Example.org", "example.org.", "bücher.example", "-a.org", "a_.org", "1.2.3.4",
     "a b.org", "x.ringmesh.alt", "foo.alt", f"{'a' * 64}.org", "a." * 127 + "org"],
)  # fmt: skip
def test_what_is_no_domain_of_ones_own_is_refused(domain: str) -> None:
    with pytest.raises(SettingError, match=r"^domains is"):
        Config(domains=(domain,))


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("192.0.2.53", ("192.0.2.53", 53)),
        ("192.0.2.53:5353", ("192.0.2.53", 5353)),
        ("2001:db8::53", ("2001:db8::53", 53)),
        ("[2001:db8::53]", ("2001:db8::53", 53)),
        ("[2001:db8::53]:5353", ("2001:db8::53", 5353)),
    ],
)
def test_a_dns_server_is_taken(text: str, endpoint: tuple[str, int]) -> None:
    assert DnsConfig(servers=(text,)).endpoints == (endpoint,)


@pytest.mark.parametrize(
    "text",
    ["", "dns.example.org", "192.0.2.53:", "192.0.2.53:0", "192.0.2.53:65536", "[192.0.2.53]",
     "[2001:db8::53", "[2001:db8::53]5353", "[2001:db8::53]:", "192.0.2.53:x"],
)  # fmt: skip
def test_what_is_no_dns_server_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match=r"^dns\.servers is"):
        DnsConfig(servers=(text,))


def test_dns_servers_have_a_bound() -> None:
    DnsConfig(servers=("192.0.2.53",) * MAX_DNS_SERVERS)
    with pytest.raises(SettingError, match=r"^dns\.servers is 9"):
        DnsConfig(servers=("192.0.2.53",) * (MAX_DNS_SERVERS + 1))


@pytest.mark.parametrize("listen", ["192.0.2.1", "::1", "0.0.0.0", "::"])
def test_a_listening_address_is_taken(listen: str) -> None:
    assert Config(listen=listen).listen == listen


@pytest.mark.parametrize("listen", ["", "localhost", "192.0.2.1:5060", "224.0.0.1", "ff02::1"])
def test_what_is_no_listening_address_is_refused(listen: str) -> None:
    with pytest.raises(SettingError, match=r"^listen is"):
        Config(listen=listen)


@pytest.mark.parametrize("workers", [-1, 65])
def test_workers_have_a_bound(workers: int) -> None:
    with pytest.raises(SettingError, match=r"media\.workers"):
        MediaConfig(workers=workers)


@pytest.mark.parametrize(("first", "last"), [(1023, 5000), (10000, 10098), (65000, 65536)])
def test_a_media_range_holds_a_hundred_ports(first: int, last: int) -> None:
    with pytest.raises(SettingError, match=r"media\."):
        MediaConfig(first_port=first, last_port=last)


def test_turn_has_its_usual_ports_and_moves_with_the_offset() -> None:
    assert (Config().turn_port, Config().turn_tls_port) == (3478, 5349)
    moved = Config(port_offset=280)
    assert (moved.turn_port, moved.turn_tls_port) == (3758, 5629)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("port", 0),
        ("tls_port", 65536),
        ("allow_peers", ("10.0.0.1/8",)),
        ("allow_peers", ("here",)),
        ("allow_peers", ("10.0.0.0/8",) * (MAX_ALLOWED_PEERS + 1)),
        ("external_address", ("example.org",)),
        ("external_address", ("192.0.2.1", "192.0.2.2")),
        ("account_kbit", 63),
        ("account_kbit", MAX_KBIT + 1),
        ("second_address", ("192.0.2.1", "192.0.2.2")),
        ("second_address", ("here",)),
        ("second_port", 0),
        ("inside_networks", ("10.0.0.1/8",)),
        ("inside_networks", ("10.0.0.0/8",) * (MAX_INSIDE_NETWORKS + 1)),
        ("secret", "short"),
    ],
)
def test_what_the_relay_cannot_take(key: str, value: object) -> None:
    with pytest.raises(SettingError) as caught:
        RelayConfig(**{key: value})  # type: ignore[arg-type]
    assert caught.value.key == f"relay.{key}"


def test_a_second_address_lies_outside_any_nat() -> None:
    with pytest.raises(SettingError) as caught:
        RelayConfig(external_address=("198.51.100.7",), second_address=("192.0.2.2",))
    assert caught.value.key == "relay.second_address"
    other = RelayConfig(external_address=("198.51.100.7",), second_address=("2001:db8::2",))
    assert Config(relay=other, port_offset=10).turn_second_port == 3489
    assert Config().turn_second_port is None
    with pytest.raises(SettingError) as caught:
        Config(relay=RelayConfig(second_address=("192.0.2.2",), second_port=3478))
    assert caught.value.key == "relay.second_port"


def test_the_relays_secret_is_not_shown() -> None:
    config = Config(relay=RelayConfig(secret="sixteen letters and more"))
    assert "letters" not in str(config.as_dict())


def test_turn_needs_ports_of_its_own() -> None:
    with pytest.raises(SettingError, match="another port"):
        Config(relay=RelayConfig(port=5060))


def test_sip_and_mesh_need_ports_of_their_own() -> None:
    with pytest.raises(SettingError, match="another port"):
        Config(sip=SipConfig(port=7060))


def test_tls_is_one_port_above_unless_it_is_told() -> None:
    assert Config(sip=SipConfig(port=5070)).tls_port == 5071
    assert Config(sip=SipConfig(port=5070, tls_port=443), port_offset=10).tls_port == 453


@pytest.mark.parametrize(
    ("sip", "key"),
    [
        (SipConfig(port=7059), "sip.tls_port"),
        (SipConfig(port=5060, tls_port=5060), "sip.tls_port"),
        (SipConfig(port=65535), "sip.tls_port"),
    ],
)
def test_tls_needs_a_port_of_its_own(sip: SipConfig, key: str) -> None:
    with pytest.raises(SettingError) as caught:
        Config(sip=sip)
    assert caught.value.key == key


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_what_is_no_tls_port_is_refused(port: int) -> None:
    with pytest.raises(SettingError, match=r"sip\.tls_port"):
        SipConfig(tls_port=port)


def test_a_key_belongs_to_a_certificate() -> None:
    assert TlsConfig(certificate="c.pem").key is None
    with pytest.raises(SettingError, match=r"tls\.key"):
        TlsConfig(key="k.pem")
    with pytest.raises(SettingError, match=r"tls\.authorities"):
        TlsConfig(authorities=" ")


@pytest.mark.parametrize("name", ["", "a b", "x" * 33, "naïve"])
def test_a_network_has_a_plain_name(name: str) -> None:
    with pytest.raises(SettingError, match=r"^network is"):
        Config(network=name)


def test_a_setting_error_is_a_configuration_error() -> None:
    assert issubclass(SettingError, ConfigError)
