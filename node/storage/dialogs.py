"""The edge's dialogs, kept so that a restart can end what a crash left open."""

from sqlalchemy import Connection, select

from node.storage.schema import dialogs
from node.storage.writer import Writer


def load_dialogs(connection: Connection) -> dict[str, bytes]:
    """Every stored dialog by its id."""
    return {row.id: row.data for row in connection.execute(select(dialogs))}


class DialogStore:
    """Writes dialogs behind; what is in `data` is the edge's own affair."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def put(self, dialog_id: str, data: bytes) -> None:
        """Keep a dialog that was confirmed just now."""
        row = {"id": dialog_id, "data": data}
        self._writer.put("dialogs", (dialog_id,), row, is_new=True)

    def remove(self, dialog_id: str) -> None:
        """Forget a dialog that has ended."""
        self._writer.remove("dialogs", (dialog_id,))
