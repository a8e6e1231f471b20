"""Which names a request may call the web server by.

A page of elsewhere can have its own name lead to this machine (DNS rebinding): browsers then take
it for a page of this server, and `Origin` agrees with `Host`. What serves this machine alone is
therefore called by an address, by `localhost`, or by the name in `web.url`, and by no other. Opened
to others it has whatever names they gave it; there TLS refuses one that is not the certificate's.
"""

from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Middleware

from federation.model.address import AddressError, parse_ip
from node.api import Handler
from node.control import RefusedError
from node.web_config import WebConfig

MISDIRECTED = 421
"The status of a request for another host (RFC 9110 15.5.20)."
MAX_SHOWN = 64
"Characters of a name that is refused."


def own_host_only(config: WebConfig) -> list[Middleware]:
    """What refuses requests by names of others; nothing where everybody may come."""
    if config.is_open:
        return []
    by_url = None if config.url is None else urlsplit(config.url).hostname

    @web.middleware
    async def checked(request: web.Request, handler: Handler) -> web.StreamResponse:
        name = _name_in(request.host)
        if not (_is_here(name) or (by_url is not None and name == by_url)):
            raise RefusedError(
                f"the console is for this machine and not called {name[:MAX_SHOWN]!r}: open it by "
                "127.0.0.1 or localhost, or set web.url where a proxy is in front",
                MISDIRECTED,
            )
        return await handler(request)

    return [checked]


def _name_in(host: str) -> str:
    """The name or address in a Host header, in small letters; empty where there is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_here(name: str) -> bool:
    """Whether no DNS is asked for it: an address, or a name that means the loopback (RFC 6761)."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        parse_ip(name)
    except AddressError:
        return False
    return True
