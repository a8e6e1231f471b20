"""The CSV file of `ringmesh user add --from`."""

import csv
import io
import sys
from dataclasses import dataclass
from pathlib import Path

from federation.model.errors import ConfigError

COLUMNS = ("login", "password", "extension", "name")
MAX_FILE_BYTES = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class NewUser:
    """A user to add."""

    login: str
    password: str | None = None
    "`None` has one generated."
    extension: str | None = None
    name: str | None = None
    place: str = ""
    "Where in a file it stands, for complaints."


def read_users(file: Path) -> list[NewUser]:
    """Read the whole file before anybody is added.

    A first line of column names may name and order the columns; without it they are login,
    password, extension, name, of which only the login must be there. Empty lines are passed over.

    Raises:
        ConfigError: the file cannot be read, or a line of it will not do.
    """
    text = _text_of(file)
    rows = [
        (number, [value.strip() for value in row])
        for number, row in enumerate(_rows(file, text), start=1)
        if any(value.strip() for value in row)
    ]
    columns: tuple[str, ...] = COLUMNS
    if rows and rows[0][1][0].lower() == "login":
        columns = tuple(name.lower() for name in rows.pop(0)[1])
        for name in columns:
            if name not in COLUMNS:
                raise ConfigError(f"{file}: the column {name!r} is none of {', '.join(COLUMNS)}")
    users: dict[str, NewUser] = {}
    for number, row in rows:
        if len(row) > len(columns):
            raise ConfigError(
                f"{file}: line {number} has {len(row)} values for the columns {', '.join(columns)}"
            )
        values = {name: value for name, value in zip(columns, row, strict=False) if value}
        if "login" not in values:
            raise ConfigError(f"{file}: line {number} has no login")
        user = NewUser(**values, place=f"line {number}, ")
        if user.login in users:
            raise ConfigError(
                f"{file}: {user.login} appears twice, the second time in line {number}"
            )
        users[user.login] = user
    if not users:
        raise ConfigError(f"{file}: holds no users; a line is login,password,extension,name")
    return list(users.values())


def _text_of(file: Path) -> str:
    try:
        if str(file) == "-":
            raw = sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
        else:
            with file.open("rb") as stream:
                raw = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from error
    if len(raw) > MAX_FILE_BYTES:
        raise ConfigError(f"{file} has over {MAX_FILE_BYTES} bytes; split it")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not UTF-8 text (byte {error.start})") from error


def _rows(file: Path, text: str) -> list[list[str]]:
    try:
        return list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise ConfigError(f"{file} is not CSV: {error}") from error
