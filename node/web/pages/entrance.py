"""The ways in and out: the one-time link, the login page, the logout."""

import asyncio

import structlog
from aiohttp import web

from node.control import RefusedError
from node.web.access import LONGEST_PASSWORD, SESSION_SECONDS, Access
from node.web.forms import Form
from node.web.gate import Gate, check_origin
from node.web.rates import Tries
from node.web.render import page

WRONG_SECONDS = 1.0
"How long a wrong secret waits for its answer."
MAX_AT_ONCE = 2
"Passwords that are tried at one time: each takes 32 MB."
log = structlog.get_logger("node")


class Entrance:
    """Public pages that open a session."""

    def __init__(self, access: Access, gate: Gate, tries: Tries) -> None:
        self._access = access
        self._gate = gate
        self._tries = tries
        self._hashing = asyncio.Semaphore(MAX_AT_ONCE)

    def routes(self) -> list[web.RouteDef]:
        """What they are reached by; the first three answer anybody."""
        return [
            web.get("/enter/{token}", self._enter, allow_head=False),
            web.get("/login", self._login),
            web.post("/login", self._try_password),
            self._gate.page(web.post("/logout", self._logout)),
        ]

    async def _enter(self, request: web.Request) -> web.StreamResponse:
        self._must_be_slow(request)
        session = self._access.use_link(request.match_info["token"], _browser(request))
        if session is None:
            await self._wrong(request, "console_link_refused")
            raise RefusedError(
                "this link was used already, or is older than an hour: "
                "`ringmesh console link` prints a new one",
                410,
            )
        return self._let_in(request, session, "/")

    async def _login(self, request: web.Request) -> web.StreamResponse:
        return self._page(request, _own_path(request.query.get("next", "/")))

    async def _try_password(self, request: web.Request) -> web.StreamResponse:
        check_origin(request)
        self._must_be_slow(request)
        form = await Form.of(request)
        after, password = _own_path(form["next"]), form["password"]
        right = False
        if len(password) <= LONGEST_PASSWORD and self._access.has_password:
            async with self._hashing:
                right = await asyncio.to_thread(self._access.is_password, password)
        if not right:
            await self._wrong(request, "console_login_refused")
            return self._page(request, after, "That is not the password.", 403)
        return self._let_in(request, self._access.open_session(_browser(request)), after)

    async def _logout(self, request: web.Request) -> web.StreamResponse:
        response = web.HTTPSeeOther("/login")
        self._gate.forget(request, response)
        return response

    def _must_be_slow(self, request: web.Request) -> None:
        if not self._tries.may_try(request.remote):
            if self._tries.refusals.may_say():
                log.warning("tries_refused", source=request.remote)
            raise RefusedError("too many tries came from there: wait a minute", 429)

    async def _wrong(self, request: web.Request, event: str) -> None:
        log.warning(event, source=request.remote)
        await asyncio.sleep(WRONG_SECONDS)

    def _let_in(self, request: web.Request, session: str, path: str) -> web.StreamResponse:
        self._tries.was_right(request.remote)
        log.info("console_opened", source=request.remote)
        response = web.HTTPSeeOther(path)
        self._gate.remember(response, session, SESSION_SECONDS)
        return response

    def _page(
        self, request: web.Request, after: str, error: str | None = None, status: int = 200
    ) -> web.StreamResponse:
        has_password = self._access.has_password
        return page(
            request, "login.html", status=status, next=after, error=error, has_password=has_password
        )


def _own_path(text: str) -> str:
    """A path on this server, whatever was asked for: never another site."""
    is_path = text.startswith("/") and text[1:2] not in ("/", "\\") and text.isprintable()
    return text if is_path and "\\" not in text else "/"


def _browser(request: web.Request) -> str:
    agent = request.headers.get("User-Agent", "")
    names = ("Firefox", "Edg", "Chrome", "Safari", "curl")
    name = next((name for name in names if name in agent), "browser")
    return f"{name.replace('Edg', 'Edge')} at {request.remote}"
