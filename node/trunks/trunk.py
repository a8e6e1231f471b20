"""What a trunk is: a PBX with an account of this node, or a provider that this node has one at."""

import enum
from dataclasses import dataclass, field
from typing import Any

import msgspec

from federation.model.address import AddressError, parse_ip
from federation.model.clocks import UnixTime
from node.accounts.login import AccountError
from node.sip.errors import SipParseError
from node.sip.locate import LocateError, Target
from node.sip.uri import Uri
from node.trunks.e164 import check_country
from node.trunks.offer import check_offers
from node.trunks.rules import Rule, check_rules

MAX_SERVERS = 8
"Servers of one provider."
MAX_SOURCES = 32
"Further addresses or networks that a provider's calls may come from."
MAX_CALLS_LIMIT = 100_000
MAX_DAILY_LIMIT = 1_000_000
MAX_PRIORITY = 65_535
MAX_TEXT = 255
"Characters of a login, password, host or domain at a provider."
MIN_EXPIRES, MAX_EXPIRES = 60, 86_400
"Seconds that a registration may be asked to last."
PROVIDER_SIDE = "trunk:"
"How the name of a provider's end of a dialog begins; no login has a colon."
TRANSPORTS = ("udp", "tcp", "tls")


class TrunkKind(enum.StrEnum):
    """Who has the account."""

    PBX = "pbx"
    "The PBX has an account here and registers, or is known by its address."
    PROVIDER = "provider"
    "This node has an account there and registers, or is known there by its address."


class Mode(enum.StrEnum):
    """How a PBX is told who is called."""

    SINGLE = "single"
    "Every call goes to the Contact that it registered, as it stands."
    PER_USER = "per-user"
    "The user part of the Request-URI is the extension that was called, or the number."


class CallerId(enum.StrEnum):
    """Which number a provider is told as the caller's."""

    DID = "did"
    "A number that is mapped to the caller; `caller` where it has none."
    FIXED = "fixed"
    "Always `caller`."


class PbxSettings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="pbx"):
    """How a PBX is reached."""

    mode: Mode = Mode.SINGLE
    static: str | None = None
    "`HOST[:PORT]` of a PBX that does not register."
    transport: str | None = None
    "udp, tcp or tls towards `static`; unset: as DNS says, else udp."
    max_calls: int | None = None
    "Calls at a time, both directions; unset: any number."
    extensions: bool = False
    "Whether the mesh is told that `NAME*123` may be called. Per-user mode implies it."

    @property
    def takes_extensions(self) -> bool:
        """Whether calls to extensions behind it make sense."""
        return self.extensions or self.mode is Mode.PER_USER


class ProviderSettings(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="provider"
):
    """How a provider is reached, and what goes there."""

    servers: tuple[str, ...]
    "`HOST[:PORT]` of its registrars and proxies, the preferred first."
    login: str | None = None
    "The account there; unset: the provider knows this node by its address."
    domain: str | None = None
    "What stands behind the `@` of our address there; unset: the host of the first server."
    transport: str | None = None
    expires: int = 600
    "Seconds that a registration is asked to last."
    rules: tuple[Rule, ...] = ()
    "Which dialled digits go out here."
    priority: int = 10
    "Among trunks whose rules fit a number equally well, the lowest is tried first."
    country: str | None = None
    "Calling code of the country whose national numbers (`030…`) this provider uses."
    caller: str | None = None
    "The number shown for callers that have none, digits of E.164."
    caller_id: CallerId = CallerId.DID
    max_calls: int | None = None
    max_daily: int | None = None
    "Calls out in a day (UTC)."
    emergency: bool = False
    "Whether emergency numbers go out here."
    sources: tuple[str, ...] = ()
    "Addresses and networks that its calls come from, besides those of its servers."
    offers: tuple[str, ...] = ()
    "Numbers that begin so are offered to other nodes; digits of E.164 without `+`, ascending."
    offer_to: tuple[str, ...] = ()
    "Ids of the nodes that may call them; their calls are this node's to pay."
    offer_calls: int = 4
    "Calls at a time of all those nodes together."
    offer_daily: int = 100
    "Their calls in a day (UTC)."

    @property
    def home(self) -> str:
        """The domain of our address at the provider."""
        return self.domain or host_of(self.servers[0])


Settings = PbxSettings | ProviderSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Trunk:
    """One trunk. A PBX's name is the login of its account."""

    name: str
    settings: Settings
    password: str | None = field(default=None, repr=False)
    "For a provider, needed in clear to answer its challenges."
    created_at: UnixTime

    @property
    def kind(self) -> TrunkKind:
        """Who has the account."""
        return TrunkKind.PBX if isinstance(self.settings, PbxSettings) else TrunkKind.PROVIDER

    @property
    def side(self) -> str:
        """The name of this trunk's end of a dialog; for a provider one that no account can have."""
        return self.name if self.kind is TrunkKind.PBX else PROVIDER_SIDE + self.name


def host_of(server: str) -> str:
    """The host of `HOST[:PORT]`, IPv6 with its brackets."""
    uri = Uri.parse(f"sip:{server}")
    return f"[{uri.host}]" if ":" in uri.host else uri.host


def target_of(server: str, transport: str | None) -> Target:
    """What RFC 3263 makes of a server.

    Raises:
        LocateError, SipParseError: it is none that could be asked.
    """
    suffix = "" if transport is None else f";transport={transport}"
    return Target.of(Uri.parse(f"sip:{server}{suffix}"))


def check_settings(name: str, settings: Settings) -> None:
    """Refuse settings that cannot work.

    Raises:
        AccountError: names the option, what was found and what would do.
    """
    _check_number(name, "--max-calls", settings.max_calls, MAX_CALLS_LIMIT)
    if settings.transport is not None and settings.transport not in TRANSPORTS:
        raise AccountError(
            f"trunk {name}: --transport {settings.transport!r}: use udp, tcp or tls, "
            "or leave it out"
        )
    if isinstance(settings, PbxSettings):
        if settings.static is not None:
            _check_server(name, "--static", settings.static, settings.transport)
        elif settings.transport is not None:
            raise AccountError(
                f"trunk {name}: --transport is for --static or --provider; "
                "a PBX that registers chooses its transport itself"
            )
        return
    _check_provider(name, settings)


def _check_provider(name: str, settings: ProviderSettings) -> None:
    if not settings.servers:
        raise AccountError(f"trunk {name}: --server is missing: name the provider's SIP server")
    if len(settings.servers) > MAX_SERVERS:
        raise AccountError(f"trunk {name}: a trunk has at most {MAX_SERVERS} servers")
    for server in settings.servers:
        _check_server(name, "--server", server, settings.transport)
    if settings.domain is not None:
        _check_server(name, "--domain", settings.domain, None)
    if settings.login is not None:
        _check_login(name, settings.login)
    if settings.country is not None:
        check_country(settings.country)
    if not MIN_EXPIRES <= settings.expires <= MAX_EXPIRES:
        raise AccountError(
            f"trunk {name}: --expires {settings.expires}: use {MIN_EXPIRES} to {MAX_EXPIRES} "
            "seconds"
        )
    if not 0 <= settings.priority <= MAX_PRIORITY:
        raise AccountError(f"trunk {name}: --priority: use 0 to {MAX_PRIORITY}")
    _check_number(name, "--max-daily", settings.max_daily, MAX_DAILY_LIMIT)
    if settings.caller_id is CallerId.FIXED and settings.caller is None:
        raise AccountError(
            f"trunk {name}: --caller-id fixed needs --caller NUMBER, the number to be shown"
        )
    check_rules(name, settings.rules)
    _check_sources(name, settings.sources)
    check_offers(name, settings.offers, settings.offer_to, settings.rules)
    _check_number(name, "--offer-calls", settings.offer_calls, MAX_CALLS_LIMIT)
    _check_number(name, "--offer-daily", settings.offer_daily, MAX_DAILY_LIMIT)


def _check_login(name: str, login: str) -> None:
    try:
        uri = Uri.parse(f"sip:{login}@x.example")
    except SipParseError:
        uri = None
    if uri is None or uri.user != login or uri.password is not None or len(login) > MAX_TEXT:
        raise AccountError(
            f"trunk {name}: --login {login[:32]!r}: a SIP address cannot hold it; "
            "give only what stands before the '@'"
        )


def _check_number(name: str, option: str, value: int | None, most: int) -> None:
    if value is not None and not 1 <= value <= most:
        raise AccountError(
            f"trunk {name}: {option} {value}: use 1 to {most}, or leave it out for no limit"
        )


def _check_server(name: str, option: str, server: str, transport: str | None) -> None:
    try:
        target_of(server, transport)
        if len(server) > MAX_TEXT or "@" in server or ";" in server or "?" in server:
            raise SipParseError(400, "more than a host")
    except (SipParseError, LocateError) as error:
        raise AccountError(
            f"trunk {name}: {option} {server[:64]!r}: give a host name or an IP address, with a "
            "port if it is not the usual one, such as sip.example.org or 192.0.2.1:5080"
        ) from error


def _check_sources(name: str, sources: tuple[str, ...]) -> None:
    if len(sources) > MAX_SOURCES:
        raise AccountError(f"trunk {name}: at most {MAX_SOURCES} addresses with --source")
    for source in sources:
        address, slash, bits = source.partition("/")
        try:
            longest = 128 if parse_ip(address).version == 6 else 32
        except AddressError:
            longest = 0
        good = not slash or (bits.isascii() and bits.isdigit() and 8 <= int(bits) <= longest)
        if not longest or not good:
            raise AccountError(
                f"trunk {name}: --source {source[:64]!r}: give an IP address or a network, "
                "such as 192.0.2.0/24"
            )


def encode_settings(settings: Settings) -> bytes:
    """As JSON, for storage."""
    return msgspec.json.encode(settings)


def decode_settings(data: bytes) -> Settings:
    """Read what `encode_settings` gave; unknown fields of later versions are ignored.

    Raises:
        msgspec.DecodeError: these are other bytes.
    """
    settings: Settings = msgspec.json.decode(data, type=Settings)
    return settings


def settings_as_json(settings: Settings) -> dict[str, Any]:
    """Plain values, defaults included, for the API."""
    plain: dict[str, Any] = msgspec.to_builtins(
        {name: getattr(settings, name) for name in settings.__struct_fields__}
    )
    return plain
