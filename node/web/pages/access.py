"""Invitations, messages, and who may use the console."""

from aiohttp import web

from federation.model.errors import RingmeshError
from node.api_resources import ApiControl
from node.ban_desk import read_seconds
from node.control import JsonObject, RefusedError
from node.web.forms import Form, status_of
from node.web.gate import Gate
from node.web.invitations import INVITATION_SECONDS
from node.web.render import page

DONE = {
    "revoked": "The invitation is taken back. Accounts that were made by it stay.",
    "delivered": "The message was delivered.",
    "kept": "Nobody is there; the message waits until a device registers.",
    "ended": "That way in is closed.",
    "password": "The console's password is new. Whoever is in stays in.",
}


class AccessPages:
    """Invitations, messages and ways into the console."""

    def __init__(self, control: ApiControl, gate: Gate) -> None:
        self._control = control
        self._gate = gate

    def routes(self) -> list[web.RouteDef]:
        """What they are reached by."""
        routes = [
            web.get("/invitations", self._invitations),
            web.post("/invitations", self._invite),
            web.post("/invitations/{id}/revoke", self._revoke),
            web.get("/messages", self._messages),
            web.post("/messages", self._send),
            web.get("/access", self._access),
            web.post("/access/tokens", self._token),
            web.post("/access/password", self._password),
            web.post("/access/{id}/end", self._end),
        ]
        return [self._gate.page(route) for route in routes]

    # Invitations

    async def _invitations(self, request: web.Request) -> web.StreamResponse:
        return self._invitations_page(request, Form())

    def _invitations_page(
        self,
        request: web.Request,
        form: Form,
        error: RingmeshError | None = None,
        made: JsonObject | None = None,
    ) -> web.StreamResponse:
        return page(
            request,
            "invitations.html",
            status=200 if error is None else status_of(error),
            invitations=self._control.invitation_desk.all(),
            links=self._control.provisioning_desk.all(),
            made=made,
            form=form,
            error=error,
            done=DONE.get(request.query.get("done", "")),
        )

    async def _invite(self, request: web.Request) -> web.StreamResponse:
        form = await Form.of(request)
        try:
            lasting = form.text("for")
            made = await self._control.invitation_desk.create(
                uses=form.number("uses", "the number of people") or 1,
                seconds=INVITATION_SECONDS if lasting is None else read_seconds(lasting),
                note=form["note"],
            )
        except RingmeshError as error:
            return self._invitations_page(request, form, error)
        return self._invitations_page(request, Form(), made=made)

    async def _revoke(self, request: web.Request) -> web.StreamResponse:
        try:
            await self._control.invitation_desk.revoke(request.match_info["id"])
        except RingmeshError as error:
            return self._invitations_page(request, Form(), error)
        raise web.HTTPSeeOther("/invitations?done=revoked")

    # Messages

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        return await self._messages_page(request, Form())

    async def _messages_page(
        self, request: web.Request, form: Form, error: RingmeshError | None = None
    ) -> web.StreamResponse:
        users = await self._control.users_list()
        waiting = [
            (user["login"], message)
            for user in users
            for message in self._control.message_desk.waiting(user["login"])
        ]
        return page(
            request,
            "messages.html",
            status=200 if error is None else status_of(error),
            users=users,
            waiting=waiting,
            form=form,
            error=error,
            done=DONE.get(request.query.get("done", "")),
        )

    async def _send(self, request: web.Request) -> web.StreamResponse:
        form = await Form.of(request)
        try:
            sent = await self._control.message_desk.send(form["from"], form["to"], form["text"])
        except RingmeshError as error:
            return await self._messages_page(request, form, error)
        raise web.HTTPSeeOther(f"/messages?done={'kept' if sent['kept'] else 'delivered'}")

    # The console itself

    async def _access(self, request: web.Request) -> web.StreamResponse:
        return self._access_page(request)

    def _access_page(
        self,
        request: web.Request,
        error: RingmeshError | None = None,
        token: JsonObject | None = None,
    ) -> web.StreamResponse:
        return page(
            request,
            "access.html",
            status=200 if error is None else status_of(error),
            grants=self._control.web_desk.grants(),
            token=token,
            error=error,
            done=DONE.get(request.query.get("done", "")),
        )

    async def _token(self, request: web.Request) -> web.StreamResponse:
        form = await Form.of(request)
        try:
            token = await self._control.web_desk.token(form["name"], None)
        except RingmeshError as error:
            return self._access_page(request, error)
        return self._access_page(request, token=token)

    async def _password(self, request: web.Request) -> web.StreamResponse:
        form = await Form.of(request)
        try:
            if form["password"] != form["again"]:
                raise RefusedError("the two passwords are not the same; nothing was changed", 400)
            await self._control.web_desk.password(form["password"])
        except RingmeshError as error:
            return self._access_page(request, error)
        raise web.HTTPSeeOther("/access?done=password")

    async def _end(self, request: web.Request) -> web.StreamResponse:
        try:
            await self._control.web_desk.revoke(request.match_info["id"])
        except RingmeshError as error:
            return self._access_page(request, error)
        raise web.HTTPSeeOther("/access?done=ended")
