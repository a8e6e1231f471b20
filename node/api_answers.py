"""How the admin API reads and writes JSON."""

from typing import Any, TypeVar

import msgspec
from aiohttp import web

from federation.model.errors import UsageError
from federation.model.identity import PublicKey
from node.control import RefusedError

Body = TypeVar("Body", bound=msgspec.Struct)


async def body_of(request: web.Request, kind: type[Body]) -> Body:
    """The JSON of a request.

    Raises:
        RefusedError: it is something else.
    """
    try:
        return msgspec.json.decode(await request.read() or b"{}", type=kind)
    except msgspec.DecodeError as error:
        raise RefusedError(f"the request's JSON will not do: {error}", 400) from error


def answer(value: Any, status: int = 200) -> web.Response:
    """A value as JSON."""
    return web.Response(
        body=msgspec.json.encode(value, enc_hook=_plain),
        status=status,
        content_type="application/json",
    )


def _plain(value: Any) -> str:
    """Numbers and keys are texts of their own types; anything else is a mistake of ours."""
    if isinstance(value, (str, PublicKey)):
        return str(value)
    raise UsageError(f"an answer holds a {type(value).__name__}, which JSON has not")
