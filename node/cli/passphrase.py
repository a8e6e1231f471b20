"""Where the passphrase of a sealed file comes from: a file, the environment, or a question."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

VARIABLE = "RINGMESH_PASSPHRASE"
PassphraseFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Its first line is the passphrase; `-` reads standard input "
        f"(else ${VARIABLE}, else you are asked).",
    ),
]


def passphrase_for_new(file: Path | None) -> str:
    """The passphrase to seal with; one that is typed is asked for twice.

    Raises:
        SealedFileError: it protects nothing.
        OptionError: there is none, or two different ones were typed.
    """
    from node.backup.sealed import check_passphrase

    given = _given(file)
    if given is None:
        given = _asked("Passphrase of the new file: ")
        check_passphrase(given)
        if _asked("The same again: ") != given:
            raise _usage("these were two different passphrases; nothing was made")
    check_passphrase(given)
    return given


def passphrase_of(file: Path | None, name: str) -> str:
    """The passphrase that the file `name` was sealed with.

    Raises:
        OptionError: there is none.
    """
    given = _given(file)
    return _asked(f"Passphrase of {name}: ") if given is None else given


def _given(file: Path | None) -> str | None:
    if file is None:
        return os.environ.get(VARIABLE)
    try:
        if str(file) == "-":
            return sys.stdin.readline().rstrip("\r\n")
        with file.open(encoding="utf-8") as stream:
            return stream.readline().rstrip("\r\n")
    except OSError as error:
        raise _usage(f"--passphrase-file: {file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise _usage(f"--passphrase-file: {file} is not UTF-8 text") from error


def _asked(question: str) -> str:
    import getpass

    if not sys.stdin.isatty():
        raise _usage(
            "no passphrase, and nobody to ask for it: give --passphrase-file FILE, "
            f"or set {VARIABLE}"
        )
    try:
        return getpass.getpass(question)
    except EOFError as error:
        raise _usage("no passphrase was typed") from error


def _usage(sentence: str) -> Exception:
    from node.settings import OptionError

    return OptionError(sentence)
