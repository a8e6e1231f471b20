"""What stands before every handler of the web server: who is asking, and from which page.

A person is known by the session in a cookie, a program by `Authorization: Bearer`. A request with a
cookie that changes something must come from a page of this server (`Origin`, or `Sec-Fetch-Site`)
and carry that session's form token, in the field `csrf` or the header `X-CSRF-Token`.
"""

import hmac
from urllib.parse import quote, urlsplit

from aiohttp import web

from federation.model.errors import RingmeshError
from node.control import RefusedError
from node.storage.grants import Grant, GrantKind
from node.web.access import Access, form_token
from node.web.forms import Form

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
GRANT = web.RequestKey("grant", Grant)
"Who asks, once a guard has let the request pass."
SESSION = web.RequestKey("session", str)
"The cookie of a person."
HEADERS = {
    "Server": "ringmesh",
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'; object-src 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"Of every answer. `no-referrer` would make browsers say `Origin: null` on our own forms."
_BEARER = "bearer "


class NotAllowedError(RingmeshError):
    """The request has no right to what it asks for."""


class Gate:
    """Guards handlers."""

    def __init__(self, access: Access, *, port: int, secure: bool, login: str = "/login") -> None:
        """`secure`: TLS is spoken. Browsers share cookies between ports, so its name holds ours."""
        self.access = access
        self.cookie = f"{'__Host-' if secure else ''}ringmesh-{port}"
        self._secure = secure
        self._login = login

    def api(self, route: web.RouteDef) -> web.RouteDef:
        """A route for programs and scripts: without a right, 401 and a sentence as JSON."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            await self._let_in(request, self._program(request) or self._person(request))
            return await route.handler(request)

        return web.RouteDef(route.method, route.path, guarded, route.kwargs)

    def page(self, route: web.RouteDef) -> web.RouteDef:
        """A route for people: without a session they are led to the login."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            grant = self._person(request)
            if grant is None and request.method in SAFE_METHODS:
                raise web.HTTPSeeOther(f"{self._login}?next={quote(request.path_qs, safe='/')}")
            await self._let_in(request, grant)
            return await route.handler(request)

        return web.RouteDef(route.method, route.path, guarded, route.kwargs)

    def is_person(self, request: web.Request) -> bool:
        """Whether a request comes with a session."""
        return self._person(request) is not None

    def remember(self, response: web.StreamResponse, session: str, seconds: int) -> None:
        """Give a browser its session."""
        response.set_cookie(
            self.cookie,
            session,
            max_age=seconds,
            path="/",
            secure=self._secure,
            httponly=True,
            samesite="Lax",  # with Strict, a link in a message would ask for the login again
        )

    def forget(self, request: web.Request, response: web.StreamResponse) -> None:
        """End a browser's session."""
        grant = self._person(request)
        if grant is not None:
            self.access.book.remove(grant)
        response.del_cookie(
            self.cookie, path="/", secure=self._secure, httponly=True, samesite="Lax"
        )

    async def _let_in(self, request: web.Request, grant: Grant | None) -> None:
        if grant is None:
            raise RefusedError(
                "that needs a right: a session of the console, or "
                "`Authorization: Bearer` with a token of `ringmesh console token NAME`",
                401,
            )
        request[GRANT] = grant
        if grant.kind is GrantKind.SESSION:
            request[SESSION] = request.cookies[self.cookie]
            if request.method not in SAFE_METHODS:
                await self._check_source(request)

    def _program(self, request: web.Request) -> Grant | None:
        header = request.headers.get("Authorization", "")
        if header[: len(_BEARER)].lower() != _BEARER:
            return None
        return self.access.check(GrantKind.TOKEN, header[len(_BEARER) :].strip())

    def _person(self, request: web.Request) -> Grant | None:
        session = request.cookies.get(self.cookie)
        return None if session is None else self.access.check(GrantKind.SESSION, session)

    async def _check_source(self, request: web.Request) -> None:
        """Raise unless the request was made by a page of this server."""
        check_origin(request)
        given = request.headers.get("X-CSRF-Token")
        if given is None and request.content_type in (
            "application/x-www-form-urlencoded",
            "multipart/form-data",
        ):
            given = (await Form.of(request)).text("csrf")
        wanted = form_token(request[SESSION])
        if given is None or not hmac.compare_digest(wanted.encode(), given.encode()):
            raise RefusedError(
                "this form is older than your login: load the page again and repeat", 403
            )


def check_origin(request: web.Request) -> None:
    """Raise unless the request comes from a page of this server, by what the browser says."""
    origin = request.headers.get("Origin")
    if origin is None:
        own = request.headers.get("Sec-Fetch-Site", "") in ("same-origin", "none")
    else:
        own = _host_of(origin) == request.host.lower()
    if not own:
        raise RefusedError("that came from another site: open the console's own page", 403)


def _host_of(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """The headers of every answer; nothing with a session's content is kept by caches."""
    response.headers.update(HEADERS)
    is_static = request.path.startswith("/static/")
    response.headers.setdefault("Cache-Control", "no-cache" if is_static else "no-store")
