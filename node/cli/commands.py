"""All commands together; every error becomes one sentence and an exit code.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 no node running.
"""

from collections.abc import Sequence

import typer

from federation.model.errors import RingmeshError
from node.cli import (
    backups,
    bans,
    calls,
    configuration,
    console,
    demo,
    dids,
    directory,
    domains,
    explaining,
    features,
    groups,
    invitations,
    looking,
    messages,
    moving,
    pins,
    relaying,
    trunks,
    turn,
    up,
    users,
    version,
)

DONE, FAILED, USAGE, NOT_RUNNING, INTERRUPTED = 0, 1, 2, 3, 130

app = typer.Typer(
    name="ringmesh",
    help="A telephone network without a centre.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command("up")(up.up)
app.command("demo")(demo.demo)
app.command("status")(looking.status)
users.app.command("forward")(features.forward)
users.app.command("dnd")(features.dnd)
users.app.command("export")(moving.export)
users.app.command("import")(moving.import_user)
users.app.command("provision")(invitations.provision)
users.app.command("links")(invitations.links)
app.add_typer(users.app, name="user")
app.add_typer(groups.app, name="group")
app.add_typer(invitations.app, name="invite")
app.command("ban")(bans.ban)
app.command("unban")(bans.unban)
app.command("bans")(bans.bans)
app.command("peers")(looking.peers)
app.command("resolve")(looking.resolve)
app.command("why")(explaining.why)
app.add_typer(trunks.app, name="trunk")
app.add_typer(dids.app, name="did")
app.add_typer(pins.app, name="pin")
app.add_typer(domains.app, name="domain")
app.add_typer(turn.app, name="turn")
app.add_typer(relaying.app, name="relay")
app.add_typer(directory.app, name="dht")
app.add_typer(calls.app, name="call")
app.add_typer(messages.app, name="message")
app.add_typer(console.app, name="console")
app.add_typer(configuration.app, name="config")
app.command("backup")(backups.backup)
app.command("restore")(backups.restore)
app.command("version")(version.version)


def run(arguments: Sequence[str]) -> int:
    """Carry out one command; complaints go to standard error."""
    try:
        result = app(list(arguments), prog_name="ringmesh", standalone_mode=False)
    except typer.TyperException as error:
        sentence = error.format_message().rstrip(".")
        if not sentence:  # the help was asked for by giving nothing
            return error.exit_code
        return _complain(f"{sentence}; see ringmesh --help", error.exit_code)
    except typer.Abort:
        return INTERRUPTED
    except RingmeshError as error:
        return _complain(str(error), _code_of(error))
    except BrokenPipeError:
        return DONE
    return result if isinstance(result, int) else DONE


def _code_of(error: RingmeshError) -> int:
    from node.api_client import NodeNotRunningError
    from node.settings import OptionError

    if isinstance(error, NodeNotRunningError):
        return NOT_RUNNING
    return USAGE if isinstance(error, OptionError) else FAILED


def _complain(sentence: str, code: int) -> int:
    typer.echo(f"ringmesh: {sentence}", err=True)
    return code
