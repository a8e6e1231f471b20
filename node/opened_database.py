"""The database of a node that starts: where the configuration says, remembered for commands."""

import structlog

from node.config import Config
from node.state import StateFolder
from node.storage.database import Database

log = structlog.get_logger("storage")


def open_database(config: Config, state: StateFolder) -> Database:
    """Open it and bring it up to date; raises as `Database.open`, and `StateError`."""
    url = config.storage.url
    database = Database.open(state.path, url)
    state.keep_storage_url(url)
    if url is not None:
        log.info("database_elsewhere", database=database.name)
        if state.database.exists():
            log.warning(
                "database_left_aside",
                file=str(state.database),
                reason="storage.url leads elsewhere; delete it if its accounts are there too",
            )
    return database
