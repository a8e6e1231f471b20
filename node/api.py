"""The admin API's server: JSON over HTTP on a Unix socket in the state folder.

Whoever may open the socket may do everything: its mode is 0600, in a folder of mode 0700. Errors
are `{"error": "<sentence>"}` with a fitting status. What it offers stands in `node.api_resources`;
`node.web` offers the same to those who prove who they are.
"""

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from federation.model.errors import ConfigError, PeerError, RingmeshError, UsageError
from node.api_answers import answer
from node.api_resources import ApiControl, api_routes
from node.control import RefusedError
from node.unix_socket import listen_at

MAX_BODY_BYTES = 65536
SHUTDOWN_SECONDS = 1.0
"How long a request under way may still take when the node stops."
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ApiServer:
    """Serves a `NodeControl` at a socket path from `start` to `close`."""

    def __init__(self, control: ApiControl, path: Path) -> None:
        self._control = control
        self._path = path
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Begin to listen.

        Raises:
            ConfigError: the socket cannot be made.
        """
        try:
            listener = listen_at(self._path)
        except OSError as error:
            raise ConfigError(
                f"{self._path} cannot be made: {error.strerror}; "
                "give another state folder with --state"
            ) from error
        runner = web.AppRunner(
            self._application(),
            access_log=None,
            logger=server_log(),
            shutdown_timeout=SHUTDOWN_SECONDS,
        )
        await runner.setup()
        await web.SockSite(runner, listener).start()
        self._runner = runner

    async def close(self) -> None:
        """Stop listening and remove the socket; calling again is harmless."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
            self._path.unlink(missing_ok=True)

    def _application(self) -> web.Application:
        application = web.Application(
            middlewares=[errors_as_sentences], client_max_size=MAX_BODY_BYTES
        )
        application.add_routes(api_routes(self._control))
        monitor = self._control.monitor
        application.add_routes([*monitor.health_routes(), *monitor.metrics_routes()])
        return application


def server_log() -> logging.Logger:
    """The server's log without what is no HTTP: the client hears of that, and it is no fault."""
    log = logging.getLogger("ringmesh.api")
    if not log.filters:
        log.addFilter(lambda record: not _is_clients_fault(record))
    return log


def _is_clients_fault(record: logging.LogRecord) -> bool:
    return record.exc_info is not None and isinstance(record.exc_info[1], HttpProcessingError)


@web.middleware
async def errors_as_sentences(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error of ours, and of HTTP's, as JSON with a sentence."""
    try:
        return await handler(request)
    except RefusedError as error:
        return _error(str(error), error.status)
    except (ConfigError, PeerError) as error:
        return _error(str(error), 400)
    except UsageError:
        raise  # a mistake of ours: 500, and the whole of it in the log
    except RingmeshError as error:
        return _error(str(error), 503)
    except web.HTTPRedirection:
        raise
    except web.HTTPException as error:
        return _error(_HTTP_SENTENCES.get(error.status, error.reason), error.status)


_HTTP_SENTENCES = {
    404: "there is no such resource; the API's resources stand in node/README.md",
    405: "that resource does not take this method",
    413: f"a request may have at most {MAX_BODY_BYTES} bytes",
}


def _error(sentence: str, status: int) -> web.Response:
    return answer({"error": sentence}, status)
