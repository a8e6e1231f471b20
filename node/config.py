"""What a node can be told: a tree of frozen values, each part checking itself.

Nothing has to be set. Every field stands with its default, its unit and what it changes; the same
key is `mesh.port` in the TOML file and `RINGMESH_MESH_PORT` in the environment. `node.settings`
reads and joins those sources. Each part of the program receives its own branch.
"""

import re
from typing import Any

import msgspec

from federation.model.address import AddressError, Endpoint, parse_ip
from federation.model.errors import ConfigError
from federation.model.identity import KEY_NAME_SUFFIX
from federation.model.network import MAIN, Network
from node.accounts.login import EMERGENCY_NUMBERS
from node.limits_config import LimitsConfig
from node.offerer import MAX_OFFERERS, Offerer
from node.relay_config import RelayConfig
from node.setting import PORT as _PORT
from node.setting import Section as _Section
from node.setting import SettingError as SettingError
from node.setting import one_of as _one_of
from node.setting import require as _require
from node.sip_config import SipConfig
from node.storage_config import StorageConfig
from node.trace_config import HepConfig, TraceConfig
from node.web_config import WebConfig

PORT_OFFSET_STEP = 10
PORT_OFFSET_MAX = 280
"The highest offset that keeps every listening port of one node below the next service's."
MAX_WORKERS = 64
MAX_MEDIA_TIMEOUT = 86_400
MAX_JOIN = 64
MAX_DOMAINS = 256
MAX_DNS_SERVERS = 8
DNS_PORT = 53
MESH_PORT = 7060
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?")
_LOG_FORMATS = ("auto", "text", "json")
_LOG_LEVELS = ("debug", "info", "warning", "error")


class TlsConfig(_Section, frozen=True, kw_only=True):
    """What this node shows and believes where TLS is spoken."""

    certificate: str | None = None
    "PEM file with the certificate to show, issuers following; unset: the node makes its own."
    key: str | None = None
    "PEM file with the certificate's key, without a passphrase; unset: in `certificate`'s file."
    authorities: str | None = None
    "PEM file of those whose certificates are believed; unset: those of the system."

    def __post_init__(self) -> None:
        _require(
            self.key is None or self.certificate is not None,
            "tls.key",
            self.key,
            "set together with tls.certificate",
        )
        for name in ("certificate", "key", "authorities"):
            path = getattr(self, name)
            _require(path is None or bool(path.strip()), f"tls.{name}", path, "the path of a file")


class MeshConfig(_Section, frozen=True, kw_only=True):
    """Where other nodes find this node, and where it looks for them."""

    port: int = MESH_PORT
    "UDP port, before `port_offset`. Other nodes must be able to reach it."
    join: tuple[str, ...] = ()
    "`HOST:PORT` of nodes to ask first; one that answers is enough. Peers are remembered after."
    mdns: bool = True
    "Whether to look for nodes, and be found, on the local network by multicast DNS."

    def __post_init__(self) -> None:
        _require(0 < self.port < 65536, "mesh.port", self.port, _PORT)
        _require(
            len(self.join) <= MAX_JOIN, "mesh.join", len(self.join), f"at most {MAX_JOIN} nodes"
        )
        for target in self.join:
            split_target(target)


class MediaConfig(_Section, frozen=True, kw_only=True):
    """What carries sound."""

    workers: int = 0
    "Relay processes; 0 means one for each processor core."
    first_port: int = 10000
    "Lowest UDP port for media; `port_offset` leaves it alone, nodes on one machine share."
    last_port: int = 19999
    "Highest UDP port for media. A call between two phones needs up to four ports a stream."
    timeout: int = 60
    "Seconds without sound from either phone, neither on hold, after which a call is over."

    def __post_init__(self) -> None:
        _require(
            0 <= self.workers <= MAX_WORKERS,
            "media.workers",
            self.workers,
            f"a number from 1 to {MAX_WORKERS}, or 0 for one for each core",
        )
        _require(
            1024 <= self.first_port <= 65535, "media.first_port", self.first_port, "1024 to 65535"
        )
        _require(
            self.first_port + 99 <= self.last_port <= 65535,
            "media.last_port",
            self.last_port,
            "at least 99 above media.first_port, and at most 65535",
        )
        _require(
            10 <= self.timeout <= MAX_MEDIA_TIMEOUT,
            "media.timeout",
            self.timeout,
            f"10 to {MAX_MEDIA_TIMEOUT} seconds",
        )


class DiallingConfig(_Section, frozen=True, kw_only=True):
    """What some digits mean."""

    emergency_numbers: tuple[str, ...] = tuple(sorted(EMERGENCY_NUMBERS))
    "Refused with a text that says so, never looked up in the mesh; no login may be one of them."
    offers_from: tuple[str, ...] = ()
    "`TRUNK@KEYNAME` of other nodes' trunks whose offers count: numbers that no trunk here takes."

    def __post_init__(self) -> None:
        for number in self.emergency_numbers:
            _require(
                number.isascii() and number.isdigit() and len(number) <= 6,
                "dialling.emergency_numbers",
                number,
                "up to six digits each",
            )
        count = len(self.offers_from)
        _require(
            count <= MAX_OFFERERS, "dialling.offers_from", count, f"at most {MAX_OFFERERS} trunks"
        )
        for text in self.offers_from:
            wanted = "TRUNK@KEYNAME, such as telco@<key>.ringmesh.alt"
            _require(_is_offerer(text), "dialling.offers_from", text, wanted)

    @property
    def offerers(self) -> tuple[Offerer, ...]:
        """`offers_from` as values."""
        return tuple(Offerer.parse(text) for text in self.offers_from)


def _is_offerer(text: str) -> bool:
    try:
        Offerer.parse(text)
    except ValueError:
        return False
    return True


class DnsConfig(_Section, frozen=True, kw_only=True):
    """Whom this node asks about domains."""

    servers: tuple[str, ...] = ()
    "`IP` or `IP:PORT` of DNS servers, asked in this order; unset: those of the system."

    def __post_init__(self) -> None:
        _require(
            len(self.servers) <= MAX_DNS_SERVERS,
            "dns.servers",
            len(self.servers),
            f"at most {MAX_DNS_SERVERS} servers",
        )
        for server in self.servers:
            read_dns_server(server)

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """The servers as addresses; none means those of the system."""
        return tuple(read_dns_server(server) for server in self.servers)


class DhtConfig(_Section, frozen=True, kw_only=True):
    """How this node takes part in the directory of all nodes."""

    asn_map: str | None = None
    "File that tells autonomous systems by address, so that one provider counts as one."
    sealed: bool = True
    "Ask strangers for records under seal only; off saves a round trip and shows what is asked."


class LogConfig(_Section, frozen=True, kw_only=True):
    """What the node says about itself, on standard error."""

    format: str = "auto"
    "`text` for people, `json` for machines, `auto`: text on a terminal, else JSON."
    level: str = "info"
    "`debug`, `info`, `warning` or `error`: the least important kind of line to write."

    def __post_init__(self) -> None:
        _require(self.format in _LOG_FORMATS, "log.format", self.format, _one_of(_LOG_FORMATS))
        _require(self.level in _LOG_LEVELS, "log.level", self.level, _one_of(_LOG_LEVELS))


class Config(_Section, frozen=True, kw_only=True):
    """Everything a node can be told."""

    network: str = MAIN
    "The network to belong to; nodes of different networks never meet."
    puzzle_bits: int | None = None
    "Price of an overlay id, in zero bits; unset: 13 on `main`, else 2. One value a network."
    listen: str | None = None
    "The one IP address to listen on; unset: all of them, IPv4 and IPv6."
    port_offset: int = 0
    "Added to every listening port, so that nodes can share an address; not to media ports."
    domains: tuple[str, ...] = ()
    "Domains of yours this node answers for. Others believe them once their DNS says so."
    sip: SipConfig = SipConfig()
    mesh: MeshConfig = MeshConfig()
    media: MediaConfig = MediaConfig()
    dialling: DiallingConfig = DiallingConfig()
    dns: DnsConfig = DnsConfig()
    dht: DhtConfig = DhtConfig()
    tls: TlsConfig = TlsConfig()
    relay: RelayConfig = RelayConfig()
    log: LogConfig = LogConfig()
    limits: LimitsConfig = LimitsConfig()
    web: WebConfig = WebConfig()
    trace: TraceConfig = TraceConfig()
    hep: HepConfig = HepConfig()
    storage: StorageConfig = StorageConfig()

    def __post_init__(self) -> None:
        self._check_network()
        if self.listen is not None:
            _check_listen(self.listen)
        _require(
            0 <= self.port_offset <= PORT_OFFSET_MAX and self.port_offset % PORT_OFFSET_STEP == 0,
            "port_offset",
            self.port_offset,
            f"0, or a multiple of {PORT_OFFSET_STEP} up to {PORT_OFFSET_MAX}",
        )
        _require(
            len(self.domains) <= MAX_DOMAINS,
            "domains",
            len(self.domains),
            f"at most {MAX_DOMAINS} names",
        )
        for domain in self.domains:
            check_domain(domain)
        self._check_ports()

    def _check_ports(self) -> None:
        ports = {
            "sip.port": self.sip_port,
            "mesh.port": self.mesh_port,
            "sip.tls_port": self.tls_port,
            "relay.port": self.turn_port,
            "relay.tls_port": self.turn_tls_port,
            "web.port": self.web_port,
        }
        if self.turn_second_port is not None:
            ports["relay.second_port"] = self.turn_second_port
        taken: dict[int, str] = {}
        for key, port in ports.items():
            found = port - self.port_offset
            _require(port < 65536, key, found, "below 65536 with port_offset")
            other = taken.setdefault(port, key)
            _require(other == key, key, found, f"another port than {other}")

    def _check_network(self) -> None:
        try:
            Network.named(self.network, self.puzzle_bits)
        except ConfigError as error:
            key = str(error).partition(":")[0]
            if key == "puzzle_bits":
                raise SettingError(key, self.puzzle_bits, "a number from 0 to 32") from error
            raise SettingError(
                "network", self.network, "1 to 32 letters, digits, '-', '_' or '.'"
            ) from error

    @property
    def net(self) -> Network:
        """The network as a value, with its puzzle."""
        return Network.named(self.network, self.puzzle_bits)

    @property
    def sip_port(self) -> int:
        """The SIP port to bind, offset included."""
        return self.sip.port + self.port_offset

    @property
    def tls_port(self) -> int:
        """The port of SIP over TLS to bind, offset included."""
        port = self.sip.port + 1 if self.sip.tls_port is None else self.sip.tls_port
        return port + self.port_offset

    @property
    def mesh_port(self) -> int:
        """The mesh port to bind, offset included."""
        return self.mesh.port + self.port_offset

    @property
    def turn_port(self) -> int:
        """The port of STUN and TURN to bind, UDP and TCP, offset included."""
        return self.relay.port + self.port_offset

    @property
    def turn_tls_port(self) -> int:
        """The port of TURN over TLS to bind, offset included."""
        return self.relay.tls_port + self.port_offset

    @property
    def turn_second_port(self) -> int | None:
        """The second UDP port of STUN, offset included; `None` without a second address."""
        return self.relay.second_port + self.port_offset if self.relay.second_address else None

    @property
    def web_port(self) -> int:
        """The port of the console and API to bind, offset included."""
        return self.web.port + self.port_offset

    def as_dict(self) -> dict[str, Any]:
        """The tree as plain values, for showing; a secret is not among them."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        if self.relay.secret is not None:
            plain["relay"]["secret"] = "(set)"  # noqa: S105  (that it is there, not what it is)
        if self.hep.password is not None:
            plain["hep"]["password"] = "(set)"  # noqa: S105
        plain["storage"]["url"] = self.storage.shown
        return plain


def split_target(text: str) -> tuple[str, int]:
    """Read `HOST:PORT`, where HOST is a name or an IP address (IPv6 in brackets).

    The port may be left out for the usual mesh port.

    Raises:
        SettingError: the text is something else.
    """
    wanted = "HOST:PORT, like node.example.org:7060 or [2001:db8::1]:7060"
    host, port_text = text, ""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        _require(bool(bracket) and (not rest or rest.startswith(":")), "mesh.join", text, wanted)
        port_text = rest[1:]
        _require(":" in host and _is_ip(host), "mesh.join", text, wanted)
    elif text.count(":") > 1:
        _require(_is_ip(text), "mesh.join", text, wanted)
    else:
        host, colon, port_text = text.partition(":")
        _require(not colon or bool(port_text), "mesh.join", text, wanted)
        _require(_is_ip(host) or _is_host_name(host), "mesh.join", text, wanted)
    if port_text:
        _require(port_text.isascii() and port_text.isdigit(), "mesh.join", text, wanted)
        _require(0 < int(port_text[:6]) < 65536, "mesh.join", text, wanted)
    return host, int(port_text) if port_text else MESH_PORT


def read_dns_server(text: str) -> Endpoint:
    """Read `IP` or `IP:PORT` (IPv6 in brackets where a port follows).

    Raises:
        SettingError: the text is something else; a name would need a DNS server itself.
    """
    wanted = "the IP address of a DNS server, like 192.0.2.53 or [2001:db8::53]:5353"
    host, port_text = text, ""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        _require(text.count("]") == 1 and rest[:1] in ("", ":"), "dns.servers", text, wanted)
        _require(":" in host and rest != ":", "dns.servers", text, wanted)
        port_text = rest[1:]
    elif text.count(":") == 1:
        host, _, port_text = text.partition(":")
        _require(bool(port_text), "dns.servers", text, wanted)
    _require(_is_ip(host), "dns.servers", text, wanted)
    if port_text:
        _require(port_text.isascii() and port_text.isdigit(), "dns.servers", text, wanted)
        _require(0 < int(port_text[:6]) < 65536, "dns.servers", text, wanted)
    return Endpoint.from_ip(parse_ip(host), int(port_text) if port_text else DNS_PORT)


def check_domain(domain: str) -> None:
    """Refuse what cannot be a domain of an operator's own.

    Raises:
        SettingError: not a domain name in lower case, or one nobody can own.
    """
    wanted = "a domain name you own, in lower case, like example.org"
    _require(
        _is_host_name(domain) and "." in domain and domain == domain.lower(),
        "domains",
        domain,
        wanted if domain.isascii() else wanted + " (other alphabets in their xn-- form)",
    )
    _require(
        not domain.endswith((KEY_NAME_SUFFIX, ".alt")),
        "domains",
        domain,
        "a name from the DNS; names in .alt prove themselves and need not be set",
    )
    _require(not domain.rpartition(".")[2].isdigit(), "domains", domain, wanted)


def _check_listen(text: str) -> None:
    try:
        address = parse_ip(text)
    except AddressError as error:
        raise SettingError("listen", text, "one IP address of this machine") from error
    _require(not address.is_multicast, "listen", text, "an address of this machine, not multicast")


def _is_ip(text: str) -> bool:
    try:
        parse_ip(text)
    except AddressError:
        return False
    return True


def _is_host_name(text: str) -> bool:
    labels = text.lower().split(".")
    return len(text) <= 253 and all(_LABEL.fullmatch(label) for label in labels)
