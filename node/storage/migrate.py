"""The way from an older schema to the current one. Imports Alembic, so it is imported late."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection

from node.storage.errors import StorageError

SCRIPTS = Path(__file__).parent / "migrations"


def upgrade(connection: Connection, target: str, *, scripts: Path = SCRIPTS) -> None:
    """Run the migrations up to revision `target` in the transaction of `connection`.

    Raises:
        StorageError: no migrations lead from the database's revision to `target`.
    """
    config = Config()
    config.set_main_option("script_location", str(scripts))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, target)
    except CommandError as error:
        raise StorageError(f"the database could not be upgraded ({error})") from error
