"""What an operator or the node says about TURN."""

from dataclasses import dataclass, field

from federation.model.address import parse_ip
from federation.model.errors import ConfigError
from media_relay.control_turn import MAX_TURN_NETWORKS, AccountUsage
from media_relay.turn.peers import read_network
from media_relay.turn.quotas import QuotaLimits

LEAST_SECRET_BYTES = 16
LEAST_ACCOUNT_KBITS = 64
"Less carries no call."


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnSettings:
    """Where and for whom TURN is served.

    Raises:
        ConfigError: a value that cannot work.
        AddressError: something that should be an address or a network is not.
    """

    hosts: tuple[str, ...]
    "Addresses of this machine to listen on; relay ports are bound to them, too."
    port: int = 3478
    "UDP and TCP."
    tls_port: int | None = None
    "TCP port for TLS; `None` for no TLS."
    certificate: str | None = None
    "PEM file, with the chain; needed for TLS."
    private_key: str | None = None
    "PEM file."
    external: tuple[str, ...] = ()
    "Addresses that clients are told in place of relay ports' own, one of a family at most."
    own: tuple[str, ...] = ()
    "Further addresses of this node; peers there must be relays or anchors of it."
    second: tuple[str, ...] = ()
    """Second addresses of this machine, one of a family at most: behaviour discovery (RFC 5780) is
    served on them and on the first of `hosts` of that family."""
    second_port: int | None = None
    "The other UDP port of behaviour discovery; needed for it."
    allow_peers: tuple[str, ...] = ()
    "Networks that may be peers though they are denied by default."
    realm: str = "ringmesh"
    rest_secret: bytes | None = field(default=None, repr=False)
    "Makes passwords of time-limited user names; `None` for no such names."
    account_kbits: int | None = None
    "kbit/s that each account may have relayed, both directions added; `None`: no limit."
    limits: QuotaLimits = field(default_factory=QuotaLimits)
    software: str = ""
    "What clients are told we are; nothing by default."

    def __post_init__(self) -> None:
        for name, given in (("external", self.external), ("second", self.second)):
            families = [":" in host for host in given]
            if len(families) != len(set(families)):
                raise ConfigError(f"{name}: give one address of each family at most")
        for host in self.second:
            if self.second_port is None or self._first_beside(host) is None:
                raise ConfigError(
                    f"second: {host} needs another address of this machine and a port"
                )
        for host in (*self.hosts, *self.external, *self.second, *self.own):
            parse_ip(host)
        for text in self.allow_peers:
            read_network(text)
        if max(len(self.own_addresses), len(self.allow_peers)) > MAX_TURN_NETWORKS:
            raise ConfigError(f"allow_peers: at most {MAX_TURN_NETWORKS} networks")
        if self.account_kbits is not None and self.account_kbits < LEAST_ACCOUNT_KBITS:
            raise ConfigError(f"account_kbits: at least {LEAST_ACCOUNT_KBITS}")
        if self.rest_secret is not None and len(self.rest_secret) < LEAST_SECRET_BYTES:
            raise ConfigError(f"rest_secret: at least {LEAST_SECRET_BYTES} bytes")
        if self.tls_port is not None and not (self.certificate and self.private_key):
            raise ConfigError("tls_port: TLS needs a certificate and its private key")

    @property
    def discovery_hosts(self) -> tuple[str, ...]:
        """Addresses on which behaviour discovery is served, two of each family or none."""
        return tuple(
            host for second in self.second for host in (self._first_beside(second), second) if host
        )

    def _first_beside(self, second: str) -> str | None:
        same = (host for host in self.hosts if (":" in host) is (":" in second))
        return next((host for host in same if host != second), None)

    @property
    def own_addresses(self) -> tuple[str, ...]:
        """Every address that leads here."""
        return tuple(dict.fromkeys((*self.hosts, *self.external, *self.second, *self.own)))


@dataclass(frozen=True, slots=True)
class TurnAccount:
    """Who may use the relay, with the hashes of `login:realm:password`."""

    login: str
    md5: bytes = field(repr=False)
    sha256: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class AccountRelayed:
    """What an account has had relayed since the pool started."""

    packets_to_peers: int = 0
    bytes_to_peers: int = 0
    packets_to_clients: int = 0
    bytes_to_clients: int = 0
    bytes_dropped: int = 0
    "Over the account's rate."

    def plus(self, usage: AccountUsage) -> "AccountRelayed":
        """With what a worker reports since its last report."""
        return AccountRelayed(
            self.packets_to_peers + usage.packets_to_peers,
            self.bytes_to_peers + usage.bytes_to_peers,
            self.packets_to_clients + usage.packets_to_clients,
            self.bytes_to_clients + usage.bytes_to_clients,
            self.bytes_dropped + usage.bytes_dropped,
        )


@dataclass(frozen=True, slots=True)
class TurnReport:
    """TURN over all workers, at most a second old."""

    allocations: int
    connections: int
    ports: int
    "Relay ports held, reserved ones included."
    accounts: dict[str, AccountRelayed]
    refused: dict[int, int]
    "Requests by error code; 0: what was no STUN message."
