"""What a person may say of a trunk, and the settings that come of it."""

from typing import Any

import msgspec

from node.accounts.login import AccountError
from node.trunks.e164 import read_number
from node.trunks.offer import read_node, read_offer
from node.trunks.rules import Rule
from node.trunks.trunk import CallerId, Mode, PbxSettings, ProviderSettings, Settings, TrunkKind


class TrunkOptions(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Options as they were given; `None` is one that was not.

    An empty text, an empty list or 0 takes a setting away.
    """

    password: str | None = None
    mode: str | None = None
    static: str | None = None
    transport: str | None = None
    max_calls: int | None = None
    extensions: bool | None = None
    servers: list[str] | None = None
    login: str | None = None
    domain: str | None = None
    expires: int | None = None
    rules: list[str] | None = None
    priority: int | None = None
    country: str | None = None
    caller: str | None = None
    caller_id: str | None = None
    max_daily: int | None = None
    emergency: bool | None = None
    sources: list[str] | None = None
    offers: list[str] | None = None
    offer_to: list[str] | None = None
    offer_calls: int | None = None
    offer_daily: int | None = None


class NewTrunk(TrunkOptions, kw_only=True):
    """A trunk that somebody asks for; the body of `POST /v1/trunks`."""

    name: str
    kind: str
    dids: list[str] = []
    "`NUMBER=TARGET` of numbers that are mapped with it."


FLAGS = {
    "mode": "--mode", "static": "--static", "transport": "--transport", "max_calls": "--max-calls",
    "extensions": "--extensions", "servers": "--server", "login": "--login", "domain": "--domain",
    "expires": "--expires", "rules": "--prefix", "priority": "--priority", "country": "--country",
    "caller": "--caller", "caller_id": "--caller-id", "max_daily": "--max-daily",
    "emergency": "--emergency", "sources": "--source", "password": "--password",
    "offers": "--offer", "offer_to": "--offer-to", "offer_calls": "--offer-calls",
    "offer_daily": "--offer-daily",
}  # fmt: skip
"How the command line calls each option."
_NEVER_EMPTY = frozenset(
    {"mode", "servers", "expires", "caller_id", "priority", "offer_calls", "offer_daily"}
)


def settings_with(name: str, before: Settings, options: TrunkOptions) -> Settings:
    """`before` with the options that were given.

    Raises:
        AccountError: one does not fit this kind of trunk, or cannot be read.
    """
    changes: dict[str, Any] = {}
    country = (options.country or "").removeprefix("+") or _country_of(before)
    for option in FLAGS:
        value = getattr(options, option)
        if value is None or option == "password":
            continue
        if option not in before.__struct_fields__:
            kind = "provider" if isinstance(before, PbxSettings) else "pbx"
            raise AccountError(f"trunk {name}: {FLAGS[option]} is for a trunk with --{kind}")
        if option not in _NEVER_EMPTY and value in ("", 0, [""]) and value is not False:
            value = () if isinstance(value, list) else None
        changes[option] = _read(name, option, value, country)
    return msgspec.structs.replace(before, **changes)


def fresh_settings(name: str, kind: str) -> Settings:
    """The settings of a new trunk, before its options.

    Raises:
        AccountError: there is no such kind.
    """
    if kind == TrunkKind.PBX:
        return PbxSettings()
    if kind == TrunkKind.PROVIDER:
        return ProviderSettings(servers=())
    raise AccountError(
        f"trunk {name}: say --pbx for a PBX of yours, or --provider for one whose account you have"
    )


def _country_of(settings: Settings) -> str | None:
    return settings.country if isinstance(settings, ProviderSettings) else None


def _read(name: str, option: str, value: Any, country: str | None) -> Any:
    if value is None:
        return None
    match option:
        case "mode":
            return _word(name, option, value, Mode)
        case "caller_id":
            return _word(name, option, value, CallerId)
        case "servers" | "sources":
            return _parts(value)
        case "offers":
            return tuple(sorted({read_offer(name, part) for part in _parts(value)}))
        case "offer_to":
            return tuple(dict.fromkeys(read_node(name, part) for part in _parts(value)))
        case "rules":
            return tuple(Rule.parse(text) for text in value)
        case "caller":
            return read_number(value, country)
        case "country":
            return value.removeprefix("+")
    return value


def _parts(texts: list[str]) -> tuple[str, ...]:
    return tuple(part.strip() for text in texts for part in text.split(",") if part.strip())


def _word(name: str, option: str, value: str, words: type[Mode] | type[CallerId]) -> Any:
    try:
        return words(value)
    except ValueError as error:
        known = " or ".join(words)
        raise AccountError(f"trunk {name}: {FLAGS[option]} {value[:32]!r}: use {known}") from error
