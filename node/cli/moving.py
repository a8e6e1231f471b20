"""`ringmesh user export|import`: an account goes from one node to another."""

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from node.cli.options import AsJson, ConfigFile, State, state_path_of
from node.cli.output import print_fields, print_json, spoken
from node.cli.passphrase import PassphraseFile, passphrase_for_new, passphrase_of
from node.cli.users import Login, given_password, print_sheet

File = Annotated[Path, typer.Argument(metavar="FILE", help="The sealed file.")]


def export(
    login: Login,
    file: File,
    passphrase_file: PassphraseFile = None,
    without_password: Annotated[
        bool,
        typer.Option("--without-password", help="The user gets another password at the new node."),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it is there.")] = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
    state: State = None,
) -> None:
    """Write a user's key, and so the number, to a sealed file that another node can import.

    The user stays here until you remove it, and should not stay long: with two nodes for one
    number, callers reach one of them, and phones at the other do not ring.
    """
    from node.accounts.moved import MovedAccount
    from node.accounts.rows import load_accounts
    from node.backup.making import check_target, seal_account
    from node.cli.backups import database_url
    from node.control import RefusedError
    from node.state import StateError, StateFolder
    from node.storage.database import Database

    path = state_path_of(state)
    if not path.is_dir():
        raise StateError(f"there is no state folder {path}: name it with --state")
    check_target(file, replace=force)
    folder = StateFolder.open(path)
    with (
        contextlib.closing(Database.look(path, database_url(config, folder))) as database,
        database.read() as connection,
    ):
        accounts = {account.login: account for account in load_accounts(connection)}
    if login not in accounts:
        raise RefusedError(
            f"no account {login!r} here; `ringmesh user list` shows which there are", 404
        )
    node = folder.existing_node_key().id
    moved = MovedAccount.of(accounts[login], node.text, with_password=not without_password)
    seal_account(file, moved.encode(), passphrase_for_new(passphrase_file), replace=force)
    facts = {
        "file": str(file),
        "login": login,
        "number": moved.number,
        "password": bool(moved.hashes),
    }
    if as_json:
        print_json(facts)
        return
    print_fields(
        [
            ("file", str(file)),
            ("login", login),
            ("number", spoken(moved.number)),
            ("password", "in it, as hashes" if moved.hashes else "not in it"),
        ]
    )
    typer.echo(
        f"On the other node: ringmesh user import {file.name}\n"
        f"Then here: ringmesh user remove {login} - until then calls for the number reach either "
        "node, and only its phones ring.\n"
        f"The number stays the same; addresses of this node (sip:{login}@{node.key_name}) end with "
        "it.\nWhoever has this file and its passphrase has the number."
    )


def import_user(
    file: File,
    passphrase_file: PassphraseFile = None,
    login: Annotated[
        str | None, typer.Option(metavar="LOGIN", help="Another login; the password is new then.")
    ] = None,
    extension: Annotated[
        str | None,
        typer.Option(metavar="DIGITS", help="Another short number; an empty text is none."),
    ] = None,
    password: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT", help="Another password; `-` reads a line (default: the one it had)."
        ),
    ] = None,
    as_json: AsJson = False,
    state: State = None,
) -> None:
    """Take in a user of another node with its number, and its password if the file has that."""
    from node.accounts.moved import MAX_BYTES, Arrival, MovedAccount
    from node.backup.sealed import ACCOUNT, SealedFile, opened
    from node.cli.desk import open_desk

    with opened(file) as stream:
        sealed = SealedFile.look(stream, str(file), ACCOUNT, most=MAX_BYTES)
        reader = sealed.open(passphrase_of(passphrase_file, str(file)))
        content = reader.take(sealed.length)
    moved = MovedAccount.decode(content)
    arrival = Arrival(login=login, extension=extension, password=given_password(password))
    with open_desk(state_path_of(state), create=True) as desk:
        sheet = desk.take_in(content, arrival)
    print_sheet(sheet, as_json=as_json)
    if not as_json:
        if "password" not in sheet:
            typer.echo("The password is the one it had.")
        typer.echo(
            f"On the node it came from ({moved.node[:8]}…): ringmesh user remove {moved.login} - "
            "until then calls for the number reach either node, and only its phones ring."
        )
