"""Accounts, their devices, and what is entered in a device."""

from typing import Any
from urllib.parse import quote

from aiohttp import web

from federation.model.errors import RingmeshError
from node.api_resources import ApiControl
from node.control import JsonObject
from node.web.forms import Form, status_of
from node.web.gate import Gate
from node.web.render import page

DONE = {
    "removed": "The account is removed, its devices are logged out.",
    "features": "Forwarding and do-not-disturb are as below.",
}
"What happened, after a form led to another page."


class People:
    """The accounts."""

    def __init__(self, control: ApiControl, gate: Gate) -> None:
        self._control = control
        self._gate = gate

    def routes(self) -> list[web.RouteDef]:
        """What they are reached by."""
        routes = [
            web.get("/accounts", self._all),
            web.post("/accounts", self._add),
            web.get("/accounts/{login}", self._one),
            web.post("/accounts/{login}/features", self._features),
            web.post("/accounts/{login}/remove", self._remove),
            web.get("/accounts/{login}/connect", self._connect),
            web.post("/accounts/{login}/password", self._password),
            web.post("/accounts/{login}/provision", self._provision),
        ]
        return [self._gate.page(route) for route in routes]

    async def _all(self, request: web.Request) -> web.StreamResponse:
        return await self._list(request, Form())

    async def _list(
        self, request: web.Request, form: Form, error: RingmeshError | None = None
    ) -> web.StreamResponse:
        wanted = request.query.get("q", "").strip()
        users = await self._control.users_list()
        return page(
            request,
            "accounts.html",
            status=200 if error is None else status_of(error),
            wanted=wanted,
            users=[user for user in users if _is_meant(user, wanted)],
            groups=self._control.phone_features.desk.groups(),
            form=form,
            error=error,
            done=DONE.get(request.query.get("done", "")),
        )

    async def _add(self, request: web.Request) -> web.StreamResponse:
        form = await Form.of(request)
        try:
            sheet = await self._control.user_add(
                form["login"].lower(),
                extension=form.text("extension"),
                name=form.text("name"),
            )
        except RingmeshError as error:
            return await self._list(request, form, error)
        return self._sheet(request, sheet, f"{sheet['login']} is there.")

    async def _one(self, request: web.Request) -> web.StreamResponse:
        return await self._account(request)

    async def _account(
        self, request: web.Request, error: RingmeshError | None = None
    ) -> web.StreamResponse:
        user = await self._control.user_show(request.match_info["login"])
        return page(
            request,
            "account.html",
            status=200 if error is None else status_of(error),
            user=user,
            waiting=self._control.message_desk.waiting(user["login"]),
            error=error,
            done=DONE.get(request.query.get("done", "")),
        )

    async def _features(self, request: web.Request) -> web.StreamResponse:
        form, login = await Form.of(request), request.match_info["login"]
        try:
            await self._control.phone_features.forward(
                login,
                always=form.text("always"),
                busy=form.text("busy"),
                no_answer=form.text("no_answer"),
                after=form.number("after", "the time") if form.text("no_answer") else None,
                off=True,
                dnd=form.ticked("dnd"),
            )
        except RingmeshError as error:
            return await self._account(request, error)
        raise web.HTTPSeeOther(f"/accounts/{quote(login)}?done=features")

    async def _remove(self, request: web.Request) -> web.StreamResponse:
        try:
            await self._control.user_remove(request.match_info["login"])
        except RingmeshError as error:
            return await self._account(request, error)
        raise web.HTTPSeeOther("/accounts?done=removed")

    # What is entered in a device

    async def _connect(self, request: web.Request) -> web.StreamResponse:
        return self._sheet(request, await self._control.user_show(request.match_info["login"]))

    async def _password(self, request: web.Request) -> web.StreamResponse:
        sheet = await self._control.user_passwd(request.match_info["login"])
        return self._sheet(
            request, sheet, "The password is new. Devices with the old one are logged out."
        )

    async def _provision(self, request: web.Request) -> web.StreamResponse:
        login = request.match_info["login"]
        link = await self._control.provisioning_desk.issue(login)
        return self._sheet(request, await self._control.user_show(login), link=link)

    def _sheet(
        self,
        request: web.Request,
        sheet: JsonObject,
        done: str | None = None,
        *,
        link: JsonObject | None = None,
    ) -> web.StreamResponse:
        return page(request, "connect.html", done=done, link=link, **sheet_of(sheet))


def _is_meant(user: JsonObject, wanted: str) -> bool:
    """Whether a search finds a user: by a part of the login or name, or of the number's digits."""
    text = wanted.casefold()
    digits = text.replace(" ", "")
    return (
        text in user["login"]
        or text in user["name"].casefold()
        or (digits.isdigit() and digits in f"{user['number']} {user['extension']}")
    )


def sheet_of(sheet: JsonObject) -> dict[str, Any]:
    """What the three parameters' part of a page needs."""
    password = sheet.get("password")
    return {"sheet": sheet, "uri": None if password is None else phone_uri(sheet)}


def phone_uri(sheet: JsonObject) -> str:
    """Login, password and server in one text, for phones with a camera."""
    return f"sip:{sheet['login']}:{quote(sheet['password'])}@{sheet['server']}"
