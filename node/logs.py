"""How the node writes its log: for people on a terminal, as JSON otherwise; never a secret.

A line that strangers can cause carries `limit_by=<source>`: of one event and source at most one
line a second is written, the next one says how many were left out.
"""

import json
import logging
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from federation.model.clocks import Monotonic
from node.config import LogConfig

LIMIT_INTERVAL = 1.0
"Seconds between two lines of one event and source."
LIMIT_TABLE = 1024
"Sources remembered; over that the one heard longest ago is forgotten."
LIMIT_LINES = 50
"Such lines of all events and sources in one interval; forged sources do not add up to more."
SECRET_FIELDS = frozenset(
    {
        "password",
        "secret",
        "seed",
        "ha1",
        "ha1_md5",
        "ha1_sha256",
        "private_key",
        "authorization",
        "proxy_authorization",
    }
)
_MAX_TEXT = 500
_JSON = json.JSONEncoder(default=str)
"Made once, not for each line."


class RateLimit:
    """Decides which of the lines that strangers cause are written. No clock of its own."""

    def __init__(
        self,
        interval: float = LIMIT_INTERVAL,
        table: int = LIMIT_TABLE,
        lines: int = LIMIT_LINES,
    ) -> None:
        self._interval = interval
        self._table = table
        self._most_lines = lines
        self._window = Monotonic(float("-inf"))
        self._lines = 0
        self._seen: OrderedDict[tuple[str, str], tuple[Monotonic, int]] = OrderedDict()

    def admit(self, event: str, source: str, *, now: Monotonic) -> int | None:
        """How many lines were left out before this one; `None` if this one is left out too."""
        key = event, source
        written, left_out = self._seen.get(key, (None, 0))
        if written is not None and now - written < self._interval:
            self._seen[key] = written, left_out + 1
            return None
        if now - self._window >= self._interval:
            self._window, self._lines = now, 0
        if self._lines >= self._most_lines:
            return None
        self._lines += 1
        self._seen[key] = now, 0
        self._seen.move_to_end(key)
        if len(self._seen) > self._table:
            self._seen.popitem(last=False)
        return left_out


def configure(config: LogConfig, stream: TextIO | None = None) -> None:
    """Set up structlog, and the standard library's logging for what we lean on.

    Libraries are heard from `warning` on.
    """
    stream = stream or sys.stderr
    as_text = config.format == "text" or (config.format == "auto" and stream.isatty())
    level = logging.getLevelNamesMapping()[config.level.upper()]
    shared: list[Processor] = [
        structlog.stdlib.add_log_level if as_text else structlog.processors.add_log_level,
        structlog.processors.TimeStamper(
            fmt="%H:%M:%S" if as_text else "iso", utc=not as_text, key="time"
        ),
        hide_secrets,
    ]
    last: Processor = (
        structlog.dev.ConsoleRenderer(colors=stream.isatty(), timestamp_key="time")
        if as_text
        else structlog.processors.JSONRenderer(serializer=_as_json)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            limiter(RateLimit(), lambda: Monotonic(time.monotonic())),
            *shared,
            structlog.processors.format_exc_info,
            last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                last,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.WARNING))
    # It warns of every socket it could not use; `node.discovery` says that once and in one line.
    logging.getLogger("zeroconf").setLevel(logging.ERROR)
    # It warns of every handshake that fails, and strangers can make as many as they like.
    logging.getLogger("quic").setLevel(logging.ERROR)


def _as_json(event: EventDict, **_: Any) -> str:
    return _JSON.encode(event)


def limiter(limit: RateLimit, clock: Callable[[], Monotonic]) -> Processor:
    """The structlog processor that obeys `limit_by`."""

    def obey(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        source = event.pop("limit_by", None)
        if source is None:
            return event
        left_out = limit.admit(str(event.get("event")), str(source), now=clock())
        if left_out is None:
            raise structlog.DropEvent
        event["source"] = str(source)
        if left_out:
            event["left_out"] = left_out
        return event

    return obey


def hide_secrets(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Blank out fields with secret names, write bytes as hex, and shorten what is very long."""
    for name, value in event.items():
        event[name] = "(hidden)" if name.lower() in SECRET_FIELDS else _shown(value)
    return event


def _shown(value: Any) -> Any:
    if isinstance(value, bytes) and type(value).__str__ is bytes.__str__:
        value = value.hex()
    if isinstance(value, str) and len(value) > _MAX_TEXT:
        return f"{value[:_MAX_TEXT]}… ({len(value)} characters)"
    return str(value) if isinstance(value, bytes) else value
