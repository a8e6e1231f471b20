"""`ringmesh backup` and `restore`."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from node.cli.options import AsJson, ConfigFile, State, state_path_of
from node.cli.output import print_fields, print_json
from node.cli.passphrase import PassphraseFile, passphrase_for_new, passphrase_of

if TYPE_CHECKING:
    from node.backup.contents import Contents
    from node.state import StateFolder

File = Annotated[Path, typer.Argument(metavar="FILE", help="The backup.")]


def backup(
    file: File,
    passphrase_file: PassphraseFile = None,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it is there.")] = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
    state: State = None,
) -> None:
    """Write all that this node keeps to one sealed file, while it runs or is stopped.

    Key, place in the network, accounts, trunks with their passwords, pins, messages, call records,
    the node's own certificate and the peers it knows. The settings are not in it.
    """
    from node.backup.making import check_target, make_backup
    from node.state import StateError, StateFolder, StateInUseError

    path = state_path_of(state)
    if not path.is_dir():
        raise StateError(f"there is no state folder {path}: name it with --state")
    check_target(file, replace=force)
    folder = StateFolder.open(path)
    url = database_url(config, folder)
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(
            StateInUseError
        ):  # the node runs: its files can be read all the same
            stack.enter_context(folder.lock())
        passphrase = passphrase_for_new(passphrase_file)
        on_progress = stack.enter_context(bar("Backing up"))
        contents = make_backup(
            folder, url, file, passphrase, replace=force, on_progress=on_progress
        )
    _tell(contents, file, as_json=as_json)
    if not as_json:
        typer.echo(
            "Only the passphrase opens this file, and nothing brings that back. "
            "Whoever has both has this node."
        )


def restore(
    file: File,
    passphrase_file: PassphraseFile = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the node in the state folder.")
    ] = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
    state: State = None,
) -> None:
    """Put a backup into an empty state folder; the node is started with `ringmesh up` then.

    The node that the backup was made of must not run any more: two with one key would take each
    other's calls.
    """
    from node.backup.restoring import check_unused
    from node.backup.restoring import restore as put_back
    from node.backup.sealed import NODE, SealedFile, opened
    from node.state import StateFolder

    path = state_path_of(state)
    if not force:
        check_unused(path)
    with opened(file) as stream:
        sealed = SealedFile.look(stream, str(file), NODE)
        content = sealed.open(passphrase_of(passphrase_file, str(file)))
        with _new_or_old(path), contextlib.ExitStack() as stack:
            folder = StateFolder.open(path)
            stack.enter_context(folder.lock())
            url = database_url(config, folder)
            database = None
            if url is not None:
                from node.storage.database import Database

                database = stack.enter_context(contextlib.closing(Database.open(path, url)))
            contents = put_back(
                content,
                sealed,
                folder,
                database,
                replace=force,
                on_progress=stack.enter_context(bar("Restoring")),
            )
            if url is not None:
                folder.keep_storage_url(url)
    _tell(contents, path, as_json=as_json)
    if not as_json:
        typer.echo(
            "Start it with ringmesh up. The node that this is a backup of must stay stopped: "
            "two with one key would take each other's calls."
        )


def database_url(config: Path | None, folder: "StateFolder") -> str | None:
    """Where the node's database is; `None` for the state folder."""
    from node.settings import load

    return load(config, os.environ).storage.url or folder.storage_url()


@contextlib.contextmanager
def bar(what: str) -> Iterator[Callable[[float], None]]:
    """A bar on standard error, if that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=1.0)
        yield lambda done: progress.update(task, completed=done)


@contextlib.contextmanager
def _new_or_old(path: Path) -> Iterator[None]:
    """A folder that was not there is not there after a failure either."""
    was_there = path.exists()
    try:
        yield
    except BaseException:
        if not was_there:
            with contextlib.suppress(OSError):
                (path / "lock").unlink(missing_ok=True)
                path.rmdir()
        raise


def _tell(contents: "Contents", where: Path, *, as_json: bool) -> None:
    made = datetime.fromtimestamp(contents.made_at, UTC)
    facts: dict[str, Any] = {
        "file" if where.is_file() else "state": str(where),
        "bytes": where.stat().st_size if where.is_file() else sum(f.size for f in contents.files),
        "made": made.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "node_id": contents.node,
        "software": contents.software,
        "accounts": contents.accounts,
        "messages": contents.messages,
        "records": contents.records,
    }
    if as_json:
        print_json(facts)
    else:
        print_fields(list(facts.items()))
