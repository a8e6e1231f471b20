"""Writes plain values as YAML, in the manner of a person."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_PLAIN = re.compile(r"[A-Za-z/._][A-Za-z0-9/._+-]*")
_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})
"What a bare word would be read as something else for."
_WIDTH = 100


def to_yaml(value: Mapping[str, Any]) -> str:
    """The text of a mapping of mappings, lists, texts, numbers and truths."""
    return "\n".join(_block(value, 0)) + "\n"


def _block(value: Mapping[str, Any], depth: int) -> Iterator[str]:
    margin = "  " * depth
    for key, inner in value.items():
        if isinstance(inner, Mapping) and inner:
            yield f"{margin}{_scalar(key)}:"
            yield from _block(inner, depth + 1)
        elif isinstance(inner, Sequence) and not isinstance(inner, str):
            yield from _list(key, inner, depth)
        else:
            yield f"{margin}{_scalar(key)}: {_scalar(inner)}"


def _list(key: str, values: Sequence[Any], depth: int) -> Iterator[str]:
    margin = "  " * depth
    if any(isinstance(value, Mapping) for value in values):
        yield f"{margin}{_scalar(key)}:"
        for value in values:
            first, *more = _block(value, depth + 2)
            yield f"{margin}  - {first.lstrip()}"
            yield from more
        return
    line = f"{margin}{_scalar(key)}: [{', '.join(map(_scalar, values))}]"
    if len(line) <= _WIDTH:
        yield line
        return
    yield f"{margin}{_scalar(key)}:"
    for value in values:
        yield f"{margin}  - {_scalar(value)}"


def _scalar(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{}"
    if isinstance(value, bool | int | float) or value is None:
        return json.dumps(value)
    text = str(value)
    is_plain = _PLAIN.fullmatch(text) is not None and text.lower() not in _WORDS
    return text if is_plain else json.dumps(text, ensure_ascii=False)
