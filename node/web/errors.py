"""What the web server says when something is wrong: JSON to programs, a page to people."""

import structlog
from aiohttp import web

from federation.model.errors import ConfigError, PeerError, RingmeshError, UsageError
from node.api import MAX_BODY_BYTES, Handler, errors_as_sentences
from node.control import RefusedError
from node.web.render import page

log = structlog.get_logger("node")
_HEADINGS = {
    400: "That will not do",
    401: "Log in first",
    403: "Not from here",
    404: "Nothing here",
    408: "Too slow",
    410: "This link is used up",
    421: "Not by that name",
    429: "Too fast",
    503: "Not now",
}
_SENTENCES = {
    404: "There is no such page. It may have been removed, or the address may be mistyped.",
    405: "That page does not take this kind of request.",
    413: f"A form may have at most {MAX_BODY_BYTES} bytes.",
}


@web.middleware
async def errors_for_asker(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error of ours, and of HTTP's, in the form that whoever asks can read."""
    if is_program(request):
        return await errors_as_sentences(request, handler)
    try:
        return await handler(request)
    except RefusedError as error:
        return _page(request, error.status, str(error))
    except (ConfigError, PeerError) as error:
        return _page(request, 400, str(error))
    except UsageError:
        raise  # a mistake of ours: 500, and the whole of it in the log
    except RingmeshError as error:
        return _page(request, 503, str(error))
    except web.HTTPRedirection:
        raise
    except web.HTTPException as error:
        return _page(request, error.status, _SENTENCES.get(error.status, error.reason))


def is_program(request: web.Request) -> bool:
    """Whether an answer should be JSON: for the API, and for all that does not ask for pages."""
    return request.path.startswith("/v1/") or "text/html" not in request.headers.get("Accept", "")


def _page(request: web.Request, status: int, sentence: str) -> web.Response:
    heading = _HEADINGS.get(status, "That cannot be done")
    if status == 401:
        back, back_text = "/login", "Log in"
    else:
        back, back_text = "/", "To the overview"
    return page(
        request,
        "error.html",
        status=status,
        heading=heading,
        sentence=sentence[:1].upper() + sentence[1:],
        back=back,
        back_text=back_text,
    )
