"""What a node can be told about TURN: the `[relay]` table."""

import ipaddress

from federation.model.address import AddressError, parse_ip
from media_relay.turn_config import LEAST_ACCOUNT_KBITS
from node.relaying.consent import MAX_KBIT, Consent
from node.setting import PORT, require

TURN_PORT = 3478
TURN_TLS_PORT = 5349
TURN_SECOND_PORT = 3479
MAX_ALLOWED_PEERS = 200
MAX_INSIDE_NETWORKS = 64
LEAST_SECRET_BYTES = 16


class RelayConfig(Consent, frozen=True, kw_only=True):
    """TURN, for clients that cannot send sound directly; and for whom (`Consent`)."""

    port: int = TURN_PORT
    "UDP and TCP port of STUN and TURN, before `port_offset`."
    tls_port: int = TURN_TLS_PORT
    "TCP port of TURN over TLS, before `port_offset`."
    account_kbit: int | None = None
    "kbit/s that each account may have relayed by TURN, both directions added; unset: no limit."
    allow_peers: tuple[str, ...] = ()
    "Networks that may be relayed to though they are private or this machine's; for testbeds."
    external_address: tuple[str, ...] = ()
    "Addresses that lead here from outside a static NAT, at most one IPv4 and one IPv6."
    inside_networks: tuple[str, ...] = ()
    "Networks on this side of that NAT, beside those the machine is attached to."
    second_address: tuple[str, ...] = ()
    "A second IPv4 and a second IPv6 address of this machine: STUN tells clients of their NAT then."
    second_port: int = TURN_SECOND_PORT
    "The other UDP port for that, before `port_offset`; used with a second address only."
    secret: str | None = None
    "Shared with a web server that hands out user names `expiry:login`; at least 16 characters."

    @property
    def consent(self) -> Consent:
        """Its part that commands may change."""
        return Consent(
            strangers=self.strangers,
            kbit=self.kbit,
            sessions=self.sessions,
            gb_month=self.gb_month,
            hours=self.hours,
        )

    def __post_init__(self) -> None:
        Consent.__post_init__(self)
        ports = self.port, self.tls_port, self.second_port
        for key, port in zip(("port", "tls_port", "second_port"), ports, strict=True):
            require(0 < port < 65536, f"relay.{key}", port, PORT)
        require(
            self.account_kbit is None or LEAST_ACCOUNT_KBITS <= self.account_kbit <= MAX_KBIT,
            "relay.account_kbit",
            self.account_kbit,
            f"a number from {LEAST_ACCOUNT_KBITS} to {MAX_KBIT}",
        )
        require(
            len(self.allow_peers) <= MAX_ALLOWED_PEERS,
            "relay.allow_peers",
            len(self.allow_peers),
            f"at most {MAX_ALLOWED_PEERS} networks",
        )
        require(
            len(self.inside_networks) <= MAX_INSIDE_NETWORKS,
            "relay.inside_networks",
            len(self.inside_networks),
            f"at most {MAX_INSIDE_NETWORKS} networks",
        )
        for key, networks in (
            ("relay.allow_peers", self.allow_peers),
            ("relay.inside_networks", self.inside_networks),
        ):
            for text in networks:
                require(_is_network(text), key, text, "an address or a network like 10.0.0.0/8")
        families: dict[str, set[bool]] = {}
        for key, given in (
            ("relay.external_address", self.external_address),
            ("relay.second_address", self.second_address),
        ):
            for text in given:
                require(_is_ip(text), key, text, "an IP address")
            families[key] = {":" in text for text in given}
            one_each = len(families[key]) == len(given)
            require(one_each, key, given, "at most one IPv4 and one IPv6 address")
        require(
            families["relay.external_address"].isdisjoint(families["relay.second_address"]),
            "relay.second_address",
            self.second_address,
            "of a family that has no relay.external_address: both addresses have to be outside",
        )
        # A secret is not repeated in a complaint.
        require(
            self.secret is None or len(self.secret.encode()) >= LEAST_SECRET_BYTES,
            "relay.secret",
            "too short",
            f"at least {LEAST_SECRET_BYTES} characters",
        )


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True


def _is_ip(text: str) -> bool:
    try:
        parse_ip(text)
    except AddressError:
        return False
    return True
