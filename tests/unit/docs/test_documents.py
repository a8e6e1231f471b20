"""Links, commands, options and settings in the documents are those that there are."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from node.cli.commands import app
from node.settings import load

ROOT = Path(__file__).parents[3]
DOCUMENTS = sorted(
    {
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(
            path
            for room in ("node", "dht", "federation", "media_relay", "examples")
            for path in (ROOT / room).rglob("*.md")
        ),
    }
)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"(?:\.venv/bin/|/bin/|^|[`$ ])ringmesh ([a-z][^`\n#|]*)", re.MULTILINE)
NO_COMMANDS = ("oid 1", "number 1", "sealed")
"Salts of Argon2id, the magic of sealed files."
COMMANDS = typer.main.get_command(app)


def read(document: Path) -> str:
    return document.read_text(encoding="utf-8")


def slug(heading: str) -> str:
    """The anchor that forges make of a heading."""
    plain = re.sub(r"[`*_]|\[|\]\([^)]*\)", "", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def anchors(document: Path) -> set[str]:
    prose = FENCE.sub("", read(document))
    return {slug(match[1]) for match in re.finditer(r"^#+ (.+)$", prose, re.MULTILINE)}


def commands_in(text: str) -> Iterator[str]:
    """Command lines of ours in code: in fences, and between backquotes."""
    for match in FENCE.finditer(text):
        if match[1] in ("", "sh", "bash", "console", "ini"):
            code = re.sub(r"(?m)(^|\s)#.*$", "", match[2])
            yield from (found[1] for found in COMMAND.finditer(code))
    for inline in re.finditer(r"`([^`\n]+)`", FENCE.sub("", text)):
        yield from (found[1] for found in COMMAND.finditer(inline[0].strip("`")))


def complaint(line: str) -> str | None:
    """What is wrong with a command line; placeholders and values are not looked at."""
    command: Any = COMMANDS
    if line in NO_COMMANDS:
        return None
    words = line.split()
    while words and words[0] == "ringmesh":  # `sudo -u ringmesh ringmesh status`
        words = words[1:]
    while words and not words[0].startswith("/") and hasattr(command, "commands"):
        named = command.commands.get(words[0])
        if named is None:
            return f"ringmesh has no command {words[0]!r}: {line}"
        command = named
        words = words[1:]
    options = {
        name
        for parameter in command.params
        for name in (*parameter.opts, *parameter.secondary_opts)
    }
    for word in words:
        name = word.split("=")[0].strip("[]().,;:…")
        if name.startswith("--") and len(name) > 2 and name not in options | {"--help"}:
            return f"{command.name} has no option {name}: {line}"
    return None


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    broken = []
    for link in LINK.findall(FENCE.sub("", read(document))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        if target.is_dir():
            target /= "README.md"
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_and_options_exist(document: Path) -> None:
    if document.name == "CHANGELOG.md":
        return
    wrong = [said for line in commands_in(read(document)) if (said := complaint(line.strip()))]
    assert wrong == []


def test_a_wrong_command_or_option_is_noticed() -> None:
    assert complaint("status --json") is None
    assert complaint("user add NAME --extension 102") is None
    assert complaint("user ad NAME") == "ringmesh has no command 'ad': user ad NAME"
    assert complaint("status --jason") == "status has no option --jason: status --jason"
    assert list(commands_in("run `ringmesh user add bob`, or\n```\n$ ringmesh peers\n```\n")) == [
        "peers",
        "user add bob",
    ]


@pytest.mark.parametrize(
    ("document", "text"),
    [
        (document, match[2])
        for document in DOCUMENTS
        for match in FENCE.finditer(read(document))
        if match[1] == "toml"
    ],
    ids=lambda value: str(value.relative_to(ROOT)) if isinstance(value, Path) else "",
)
def test_settings_in_documents_are_accepted(document: Path, text: str, tmp_path: Path) -> None:
    """Every TOML example is a configuration that the node would take."""
    tomllib.loads(text)
    file = tmp_path / "node.toml"
    file.write_text(text, encoding="utf-8")
    load(file, {}, {})
