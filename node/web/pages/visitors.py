"""What people without a session see: invitations, and the files that devices fetch."""

import asyncio
from collections.abc import Callable

import structlog
from aiohttp import web

from federation.model.errors import RingmeshError
from node.api_resources import ApiControl
from node.control import JsonObject, RefusedError
from node.storage.one_time import DeviceLink
from node.web.device_files import DeviceFile, file_at
from node.web.forms import Form, status_of
from node.web.gate import check_origin
from node.web.invitations import InvitationDesk
from node.web.pages.people import sheet_of
from node.web.provisioning import ProvisioningDesk
from node.web.rates import Tries
from node.web.render import page

WRONG_SECONDS = 1.0
"How long a wrong secret waits for its answer."
_NO_INVITATION = (
    "this invitation is used up, too old, or was taken back: ask whoever sent it for another"
)
_NO_LINK = "this link was used already, is too old, or was taken back: ask for another"
log = structlog.get_logger("node")


class Visitors:
    """Public pages; a secret in the address is what opens them."""

    def __init__(
        self,
        control: ApiControl,
        invitations: InvitationDesk,
        provisioning: ProvisioningDesk,
        tries: Tries,
        *,
        url: Callable[[], str],
    ) -> None:
        self._control = control
        self._invitations = invitations
        self._provisioning = provisioning
        self._tries = tries
        self._url = url

    def routes(self) -> list[web.RouteDef]:
        """What they are reached by. HEAD is not answered: a look must not use anything up."""
        return [
            web.get("/join/{token}", self._join, allow_head=False),
            web.post("/join/{token}", self._accept),
            web.get("/p/{token}/", self._device, allow_head=False),
            web.get("/p/{token}/{file:.+}", self._file, allow_head=False),
        ]

    # Invitations

    async def _join(self, request: web.Request) -> web.StreamResponse:
        return await self._form(request, Form())

    async def _form(
        self, request: web.Request, form: Form, error: RingmeshError | None = None
    ) -> web.StreamResponse:
        await self._open(request)
        status = 200 if error is None else status_of(error)
        return page(request, "join.html", status=status, form=form, error=error, path=request.path)

    async def _accept(self, request: web.Request) -> web.StreamResponse:
        check_origin(request)
        invitation = self._invitations.find(await self._open(request))
        assert invitation is not None
        form = await Form.of(request)
        try:
            sheet = await self._invitations.accept(
                invitation, form["login"].lower(), form.text("name"), self._add
            )
        except RingmeshError as error:
            if status_of(error) == 410:
                raise
            return await self._form(request, form, error)
        log.info("invitation_accepted", invitation=invitation.id, login=sheet["login"])
        return page(request, "joined.html", **sheet_of(sheet))

    async def _add(self, login: str, name: str | None) -> JsonObject:
        return await self._control.user_add(login, name=name)

    async def _open(self, request: web.Request) -> str:
        """The secret of an invitation that is open; anything else waits, is logged and refused."""
        token = request.match_info["token"]
        self._must_be_slow(request)
        if self._invitations.find(token) is None:
            await self._wrong(request, "invitation_refused")
            raise RefusedError(_NO_INVITATION, 410)
        self._tries.was_right(request.remote)
        return token

    # Devices

    async def _device(self, request: web.Request) -> web.StreamResponse:
        """For a person who opens the link itself: nothing is used up."""
        link = await self._link(request)
        folder = f"{self._url()}{request.path}"
        return page(request, "device.html", login=link.login, folder=folder)

    async def _file(self, request: web.Request) -> web.StreamResponse:
        link, wanted = await self._link(request), file_at(request.match_info["file"])
        if wanted is None:
            raise web.HTTPNotFound
        if not wanted.holds_password:
            return web.Response(text=wanted.write(None), content_type=wanted.content_type)
        with self._provisioning.fetching(link):
            response = await self._send(request, wanted, link)
        log.info(
            "device_provisioned", login=link.login, file=wanted.template, source=request.remote
        )
        return response

    async def _send(
        self, request: web.Request, wanted: DeviceFile, link: DeviceLink
    ) -> web.StreamResponse:
        sheet = await self._control.user_passwd(link.login)
        body = wanted.write(sheet).encode()
        response = web.StreamResponse(headers={"Content-Length": str(len(body))})
        response.content_type = wanted.content_type
        response.charset = "utf-8"
        await response.prepare(request)
        await response.write(body)
        await response.write_eof()
        return response

    async def _link(self, request: web.Request) -> DeviceLink:
        self._must_be_slow(request)
        link = self._provisioning.find(request.match_info["token"])
        if link is None:
            await self._wrong(request, "provisioning_refused")
            raise RefusedError(_NO_LINK, 410)
        self._tries.was_right(request.remote)
        return link

    def _must_be_slow(self, request: web.Request) -> None:
        if not self._tries.may_try(request.remote):
            if self._tries.refusals.may_say():
                log.warning("tries_refused", source=request.remote)
            raise RefusedError("too many tries came from there: wait a minute", 429)

    async def _wrong(self, request: web.Request, event: str) -> None:
        log.warning(event, source=request.remote)
        await asyncio.sleep(WRONG_SECONDS)
