"""Joins the sources of configuration: a TOML file < `RINGMESH_*` variables < command line options.

Every complaint is one sentence that names where the setting came from, its key, what was found
and what would do. Unknown keys are complaints too: a misspelt one would otherwise do nothing.
"""

import difflib
import tomllib
import types
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec

from federation.model.errors import ConfigError
from node.config import Config, SettingError

PREFIX = "RINGMESH_"
RESERVED_VARIABLES = frozenset({"RINGMESH_STATE", "RINGMESH_CONFIG", "RINGMESH_PASSPHRASE"})
"Variables with our prefix that commands read, which do not say how the node behaves."
MAX_FILE_BYTES = 1 << 20
OPTION_NAMES = {
    "network": "--network",
    "listen": "--listen",
    "port_offset": "--port-offset",
    "domains": "--domain",
    "mesh.join": "--join",
    "mesh.mdns": "--no-mdns",
    "media.workers": "--workers",
    "log.format": "--log-format",
}
"The keys that have an option of their own."
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


class OptionError(ConfigError):
    """An option on the command line holds what it may not: wrong usage."""


@dataclass(frozen=True, slots=True)
class _Found:
    """One value and the place it came from, in words a person can look up."""

    value: Any
    place: str
    from_option: bool = False

    def refuse(self, wanted: str, found: object | None = None) -> ConfigError:
        shown = self.value if found is None else found
        sentence = f"{self.place} is {shown!r}, but must be {wanted}"
        return OptionError(sentence) if self.from_option else ConfigError(sentence)


def load(
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
) -> Config:
    """Read and join all sources; later ones win key by key.

    `options` maps dotted keys to values; `None` means the option was not given.

    Raises:
        ConfigError: a source cannot be read, or a key or value in it will not do
            (`OptionError` if it stood on the command line).
    """
    leaves = dict(_leaves(Config))
    found: dict[str, _Found] = {}
    if file is not None:
        found |= _from_file(file, leaves)
    found |= _from_environment(environment or {}, leaves)
    for key, value in (options or {}).items():
        if value is not None:
            found[key] = _Found(value, OPTION_NAMES[key], from_option=True)
    values = {key: _convert(leaves[key], item) for key, item in found.items()}
    return _build(values, found)


def variable_of(key: str) -> str:
    """The environment variable of a dotted key."""
    return PREFIX + key.upper().replace(".", "_")


def _leaves(section: type[msgspec.Struct], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, hint in get_type_hints(section).items():
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            yield from _leaves(hint, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", hint


def _from_file(file: Path, leaves: Mapping[str, Any]) -> dict[str, _Found]:
    try:
        with file.open("rb") as stream:
            raw = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from error
    if len(raw) > MAX_FILE_BYTES:
        raise ConfigError(f"{file} has over {MAX_FILE_BYTES} bytes; a configuration is smaller")
    try:
        tree = tomllib.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not UTF-8 text (byte {error.start})") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file} is not TOML: {error}") from error
    return dict(_flatten(tree, "", str(file), leaves))


def _flatten(
    tree: Mapping[str, Any], prefix: str, file: str, leaves: Mapping[str, Any]
) -> Iterator[tuple[str, _Found]]:
    sections = {key.rpartition(".")[0] for key in leaves}
    for name, value in tree.items():
        key = f"{prefix}{name}"
        if key in leaves:
            yield key, _Found(value, f"{file}: {key}")
        elif key not in sections:
            raise ConfigError(f"{file}: {key} is not a setting; {_suggest(key, leaves)}")
        elif not isinstance(value, dict):
            raise ConfigError(f"{file}: {key} is {value!r}, but must be a section: [{key}]")
        else:
            yield from _flatten(value, f"{key}.", file, leaves)


def _from_environment(
    environment: Mapping[str, str], leaves: Mapping[str, Any]
) -> dict[str, _Found]:
    variables = {variable_of(key): key for key in leaves}
    found = {}
    for name, text in environment.items():
        if not name.startswith(PREFIX) or name in RESERVED_VARIABLES:
            continue
        key = variables.get(name)
        if key is None:
            raise ConfigError(
                f"{name} in the environment is not a setting; {_suggest(name, variables)}"
            )
        place = f"{name} in the environment"
        found[key] = _Found(_from_text(text, leaves[key], place), place)
    return found


def _from_text(text: str, hint: Any, place: str) -> Any:
    kind = _kind(hint)
    if kind is tuple:
        return [part.strip() for part in text.split(",") if part.strip()]
    if kind is bool:
        if text.lower() not in _TRUE | _FALSE:
            raise _Found(text, place).refuse("true or false")
        return text.lower() in _TRUE
    if kind is int:
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdigit() and len(digits) < 10):
            raise _Found(text, place).refuse("a whole number")
        return int(text)
    return text


def _kind(hint: Any) -> type:
    if get_origin(hint) in (Union, types.UnionType):
        hint = next(part for part in get_args(hint) if part is not type(None))
    kind: type = get_origin(hint) or hint
    return kind


def _convert(hint: Any, item: _Found) -> Any:
    wanted = {
        int: "a whole number",
        bool: "true or false",
        str: 'text in quotes, like "this"',
        tuple: 'a list of texts, like ["this"]',
    }[_kind(hint)]
    try:
        return msgspec.convert(item.value, hint, strict=True)
    except msgspec.ValidationError as error:
        raise item.refuse(wanted) from error


def _build(values: Mapping[str, Any], found: Mapping[str, _Found]) -> Config:
    top: dict[str, Any] = {}
    sections: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        section, _, name = key.rpartition(".")
        (sections.setdefault(section, {}) if section else top)[name] = value
    hints = get_type_hints(Config)
    try:
        for section, fields in sections.items():
            top[section] = hints[section](**fields)
        return Config(**top)
    except SettingError as error:
        origin = found.get(error.key)
        if origin is None:
            raise
        raise origin.refuse(error.wanted, error.found) from error


def _suggest(key: str, known: Collection[str]) -> str:
    same_name = [other for other in known if other.rpartition(".")[2] == key.rpartition(".")[2]]
    close = same_name or difflib.get_close_matches(key, known, n=1)
    return f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
