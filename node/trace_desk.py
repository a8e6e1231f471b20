"""Traces of calls as the operator meets them: found by the ids that other commands show."""

from sqlalchemy import Connection

from federation.model.clocks import Clock, UnixTime
from node.control import JsonObject, RefusedError
from node.edge.call_list import call_id_of
from node.edge.edge import Edge
from node.storage.call_records import call_id_of_record
from node.storage.storage import Storage
from node.tracing.shown import as_json
from node.tracing.tap import Tap
from node.tracing.traces import CallTraces

MAX_ID = 512
"Characters of an id or Call-ID that can be asked for."


class TraceDesk:
    """Shows the traces of a running node. Every method may raise `RefusedError`."""

    def __init__(
        self,
        edge: Edge,
        tap: Tap,
        traces: CallTraces | None,
        storage: Storage,
        clock: Clock,
    ) -> None:
        """`traces` is `None` where the settings switch them off."""
        self._edge = edge
        self._tap = tap
        self._traces = traces
        self._storage = storage
        self._clock = clock
        self._since = clock.unix()

    async def trace(self, call: str) -> JsonObject:
        """The SIP messages of one call: `call` is an id of `calls` or `records`, or a Call-ID."""
        if self._traces is None:
            raise RefusedError("traces of calls are switched off: set trace.calls = true")
        if not 0 < len(call) <= MAX_ID:
            raise RefusedError(f"an id has 1 to {MAX_ID} characters", 400)
        call_id = await self._call_id_of(call)
        self._tap.look()
        found = self._traces.find(call_id)
        if found is None:
            raise RefusedError(
                f"nothing is kept of a call {call!r}: `ringmesh call list` and `ringmesh call log` "
                "show ids; of calls long ago, or before the node's last start, nothing is kept",
                404,
            )
        offset = self._clock.unix() - self._clock.monotonic()
        return as_json(
            found,
            call=call,
            under_way=any(group.call_id == call_id for group in self._edge.dialogs),
            unix_of=lambda at: at + offset,
        )

    async def _call_id_of(self, call: str) -> str:
        edge = self._edge
        known = call_id_of(edge.dialogs, call) or edge.journal.call_id_of(call)
        if known is not None:
            return known
        since = UnixTime(self._since)

        def read(connection: Connection) -> str | None:
            return call_id_of_record(connection, call, since=since)

        return await self._storage.run(read) or call
