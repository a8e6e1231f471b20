"""What was relayed for strangers each month, and receipts of what others relayed for us."""

from typing import Any

import msgspec
from sqlalchemy import Connection, select

from node.storage import schema
from node.storage.meta import read_meta, write_meta

CONSENT_NAME = "relay-consent"
"Name of the owner's choice by command among the single values."


def load_relay_usage(connection: Connection) -> dict[str, int]:
    """Bytes by month."""
    rows = connection.execute(select(schema.relay_usage.c.month, schema.relay_usage.c.bytes))
    return {row.month: row.bytes for row in rows}


def load_consent(connection: Connection) -> dict[str, Any] | None:
    """What a command chose last, `None` if none did."""
    value = read_meta(connection, CONSENT_NAME)
    return None if value is None else dict(msgspec.json.decode(value))


def keep_consent(connection: Connection, consent: dict[str, Any]) -> None:
    """Keep what a command chose."""
    write_meta(connection, CONSENT_NAME, msgspec.json.encode(consent))
