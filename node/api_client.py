"""The command line's side of the admin API: HTTP over the Unix socket, by the standard library."""

import http.client
import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from federation.model.errors import RingmeshError
from node.control import RefusedError
from node.unix_socket import connect_to

TIMEOUT = 30.0
"Seconds a request may take; the slowest, a lookup that fails, needs about five."
MAX_ANSWER_BYTES = 64 << 20


class NodeNotRunningError(RingmeshError):
    """Nobody listens at the state folder's socket."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("node", timeout=timeout)
        self._path = path
        self._seconds = timeout

    def connect(self) -> None:
        self.sock: socket.socket = connect_to(self._path, self._seconds)


class ApiClient:
    """Asks the node that runs on a state folder. Safe to share between threads."""

    def __init__(self, path: Path, timeout: float = TIMEOUT) -> None:
        self._path = path
        self._timeout = timeout

    def get(self, *segments: str, **query: str) -> Any:
        """The resource at `/v1/` and `segments`; raises as `request`."""
        return self.request("GET", *segments, query=query)

    def post(self, *segments: str, body: dict[str, Any]) -> Any:
        """Post JSON to a resource; raises as `request`."""
        return self.request("POST", *segments, body=body)

    def delete(self, *segments: str) -> Any:
        """Remove a resource; raises as `request`."""
        return self.request("DELETE", *segments)

    def request(
        self,
        method: str,
        *segments: str,
        body: dict[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Any:
        """Send one request and return its JSON answer.

        Raises:
            NodeNotRunningError: nobody listens there.
            RefusedError: the node said no, or did not answer in time.
        """
        target = "/v1/" + "/".join(quote(segment, safe="") for segment in segments)
        if query:
            target += "?" + urlencode(query)
        connection = _UnixConnection(self._path, self._timeout)
        try:
            connection.connect()
        except OSError as error:
            raise NodeNotRunningError(
                f"no node is running on {self._path.parent}: start one with `ringmesh up`, "
                "or name its folder with --state"
            ) from error
        try:
            connection.request(
                method,
                target,
                body=None if body is None else json.dumps(body),
                headers={"Content-Type": "application/json"},
            )
            response = connection.getresponse()
            return _read(response.status, response.read(MAX_ANSWER_BYTES))
        except TimeoutError as error:
            raise RefusedError(
                f"the node gave no answer in {self._timeout:g} s; look at its log", 503
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise RefusedError("the node ended while it was asked; look at its log", 503) from error
        finally:
            connection.close()


def _read(status: int, content: bytes) -> Any:
    try:
        answer = json.loads(content)
    except ValueError as error:
        raise RefusedError(
            f"the node answered {status} without JSON; look at its log", status
        ) from error
    if status >= 400:
        sentence = answer.get("error") if isinstance(answer, dict) else None
        raise RefusedError(str(sentence or f"the node answered {status}"), status)
    return answer
