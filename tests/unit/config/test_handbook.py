"""The handbook names every setting, command and route there is."""

import re
from pathlib import Path

from typer.main import get_command

from node.api import ApiServer
from node.cli.commands import app
from node.config import Config
from tests.support.memory_node import MemoryNode

HANDBOOK = (Path(__file__).parents[3] / "node" / "README.md").read_text(encoding="utf-8")


def keys(tree: dict[str, object], prefix: str = "") -> list[str]:
    found = []
    for name, value in tree.items():
        if isinstance(value, dict):
            found += keys(value, f"{prefix}{name}.")
        else:
            found.append(prefix + name)
    return found


def test_every_setting_is_described() -> None:
    settings = HANDBOOK.partition("## Settings")[2].partition("\n## ")[0]
    described = re.findall(r"`([a-z_.]+)`", "".join(re.findall(r"(?m)^\|([^|]*)\|", settings)))
    assert sorted(described) == sorted(keys(Config().as_dict()))


def test_every_command_is_described() -> None:
    commands = HANDBOOK.partition("## Commands")[2].partition("\n## ")[0]
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        for word in getattr(command, "commands", {"": None}):
            assert f"`{name} {word}".rstrip() in commands


def test_every_option_of_up_is_described() -> None:
    up = get_command(app).commands["up"]  # type: ignore[attr-defined]
    options = {option for parameter in up.params for option in parameter.opts}
    described = set(re.findall(r"\[(--[a-z-]+)", HANDBOOK))
    assert described == options


def test_every_route_is_described(tmp_path: Path) -> None:
    application = ApiServer(MemoryNode(), tmp_path / "api.sock")._application()
    for route in application.router.routes():
        if route.method != "HEAD":
            assert route.resource is not None
            assert f"{route.method} {route.resource.canonical}" in HANDBOOK
