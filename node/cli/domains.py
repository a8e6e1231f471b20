"""`ringmesh domain add|list|verify|remove`, with the node running or stopped."""

import contextlib
from collections.abc import Coroutine, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from node.cli.options import AsJson, State, state_path_of
from node.cli.output import cell, print_json, print_table

if TYPE_CHECKING:
    from node.domain_desk import DomainDesk

app = typer.Typer(help="The domains this node answers for.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(metavar="NAME", help="A domain you own, like example.org.")]
_HEADINGS = {
    "proof": "so that others believe the name is yours:",
    "phones": "so that phones find this node by the name:",
    "phones by SRV": "instead of that, where the name's own address is a web server's:",
    "other proof": "instead of TXT, only where TXT records cannot be had (beside the A record):",
}


class DomainCommands(Protocol):
    """Carries out domain commands, on a running node or on a stopped one's storage."""

    def all(self) -> list[dict[str, Any]]:
        """Every domain."""

    def add(self, name: str) -> dict[str, Any]:
        """Answer for a domain."""

    def remove(self, name: str) -> dict[str, Any]:
        """Answer for it no more."""

    def verify(self, name: str) -> dict[str, Any]:
        """Ask DNS."""


@app.command()
def add(name: Name, as_json: AsJson = False, state: State = None) -> None:
    """Answer for a domain from now on, and print the DNS records that it needs.

    It is kept over restarts. Domains may also stand in the configuration (`domains`, --domain).
    """
    with _domains(state_path_of(state), create=True) as desk:
        added = desk.add(name)
    if as_json:
        print_json(added)
        return
    domain = added["domain"]
    typer.echo(f"{domain} is added: this node answers for it. Put these into its DNS:")
    _print_lines(added["dns"])
    if not added["public"]:
        typer.echo(
            "\nThese addresses are not public: where others reach this node by another one "
            "(that of your\nrouter, say), write that in their place."
        )
    typer.echo(f"\nThen check them with: ringmesh domain verify {domain}")
    if added["uri"]:
        more = added["accounts"] - len(added["uri"])
        shown = ", ".join(added["uri"][:3])
        rest = more + len(added["uri"][3:])
        typer.echo(f"New addresses: {shown}{f', and {rest} more' if rest else ''}")
    if added["without_hash"]:
        login = added["logins_without_hash"][0]
        typer.echo(
            f"Phones log in with `{login}` as before. One that logs in with `{login}@{domain}` "
            f"needs a new password first\n(ringmesh user passwd {login}): "
            "passwords are not stored, only what was made of them for the names known then."
        )


@app.command("list")
def list_domains(as_json: AsJson = False, state: State = None) -> None:
    """List the domains, where each comes from, and what its DNS lacks."""
    with _domains(state_path_of(state)) as desk:
        domains = desk.all()
    if as_json:
        print_json(domains)
        return
    print_table(
        ("domain", "from", "works", "lacks"),
        [(d["domain"], d["source"], d["proven"], d["lacks"]) for d in domains],
        "no domains: add one of yours with ringmesh domain add NAME",
    )


@app.command()
def verify(name: Name, as_json: AsJson = False, state: State = None) -> int:
    """Ask DNS now for each record; exit code 1 if the domain does not work yet."""
    with _domains(state_path_of(state)) as desk:
        answer = desk.verify(name)
    works = answer["believed"] is True and answer["phones"]
    if as_json:
        print_json(answer)
    else:
        _print_findings(answer)
    return 0 if works else 1


@app.command()
def remove(name: Name, as_json: AsJson = False, state: State = None) -> None:
    """Answer for an added domain no more; phones that have it as their server must be told."""
    with _domains(state_path_of(state)) as desk:
        answer = desk.remove(name)
    if as_json:
        print_json(answer)
    else:
        typer.echo(
            f"{answer['removed']} is removed. Its DNS records may go too; phones that use it as "
            "their server need another (ringmesh user show LOGIN)."
        )


class _RunningDomains:
    """Asks the running node."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def all(self) -> list[dict[str, Any]]:
        domains: list[dict[str, Any]] = self._client.get("domains")
        return domains

    def add(self, name: str) -> dict[str, Any]:
        return dict(self._client.post("domains", body={"name": name}))

    def remove(self, name: str) -> dict[str, Any]:
        return dict(self._client.delete("domains", name))

    def verify(self, name: str) -> dict[str, Any]:
        return dict(self._client.get("domains", name, "check"))


class _StoppedDomains:
    """Works on the storage of a stopped node."""

    def __init__(self, desk: "DomainDesk") -> None:
        self._desk = desk

    def all(self) -> list[dict[str, Any]]:
        return self._desk.all()

    def add(self, name: str) -> dict[str, Any]:
        return _finished(self._desk.add(name))

    def remove(self, name: str) -> dict[str, Any]:
        return _finished(self._desk.remove(name))

    def verify(self, name: str) -> dict[str, Any]:
        return _finished(self._desk.verify(name))


def _finished(work: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any]:
    import asyncio

    return asyncio.run(work)


@contextlib.contextmanager
def _domains(path: Path, *, create: bool = False) -> Iterator[DomainCommands]:
    from node.cli.reach import reached
    from node.state import StateFolder

    with reached(path, create=create) as node:
        if not isinstance(node, StateFolder):
            yield _RunningDomains(node)
            return
        from node.cli.stopped_desk import stopped_domains

        with stopped_domains(node) as desk:
            yield _StoppedDomains(desk)


def _print_lines(lines: Sequence[dict[str, Any]]) -> None:
    """Lines of a zone file, whole, so that they can be pasted."""
    width = max(len(line["name"]) for line in lines)
    for purpose, heading in _HEADINGS.items():
        chosen = [line for line in lines if line["purpose"] == purpose]
        if chosen:
            typer.echo(f"\n  {heading}")
        for line in chosen:
            name, rest = line["line"].split(" ", 1)
            typer.echo(f"    {name:<{width}} {rest}")


def _print_findings(answer: dict[str, Any]) -> None:
    domain = answer["domain"]
    typer.echo(f"{domain}: {_belief(answer)}")
    typer.echo(f"{'':<{len(domain)}}  {_way(answer)}")
    width = max(len(f"{line['name']} {line['type']}") for line in answer["dns"])
    for purpose, heading in _HEADINGS.items():
        chosen = [line for line in answer["dns"] if line["purpose"] == purpose]
        if chosen:
            typer.echo(f"\n  {heading}")
        for line in chosen:
            record = f"{line['name']} {line['type']}"
            typer.echo(
                f"    {record:<{width}}  {_finding(line, is_needed=_needs(answer, purpose))}"
            )


def _belief(answer: dict[str, Any]) -> str:
    if answer["believed"]:
        return "others believe that it is this node's"
    if answer["believed"] is None:
        return (
            "no TXT record proves it; whether the node behind its addresses does, "
            "is seen only while the node runs"
        )
    return str(cell(answer["lack_of_proof"]))


def _way(answer: dict[str, Any]) -> str:
    return "phones find this node by it" if answer["phones"] else cell(answer["lack_of_way"])


def _needs(answer: dict[str, Any], purpose: str) -> bool:
    """Whether a record that is not there would change anything."""
    return not answer["phones" if purpose.startswith("phones") else "believed"]


def _finding(line: dict[str, Any], *, is_needed: bool) -> str:
    """What DNS says of one line."""
    found = cell(", ".join(line["found"]))
    match line["finding"]:
        case "there":
            return f"there: {found}"
        case "missing" if not is_needed:
            return "not there, and not needed"
        case "missing":
            return f"missing; wanted: {line['value']}"
        case "different":
            return f"different: {found}; wanted: {line['value']}"
        case _:
            return "DNS gives no answer; try again in a moment"
