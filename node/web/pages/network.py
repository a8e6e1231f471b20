"""Relaying, the explanation of a call's way, domains and bans."""

from aiohttp import web

from federation.model.errors import RingmeshError
from node.api_resources import MAX_TARGET, ApiControl
from node.ban_desk import read_seconds
from node.cli.explaining import explained
from node.control import JsonObject, RefusedError
from node.relaying.consent import ConsentChange
from node.web.forms import Form, status_of
from node.web.gate import Gate
from node.web.render import page

DONE = {
    "on": "This node relays for others within the limits below.",
    "off": "This node relays for its own accounts only.",
    "domain": "This node no longer answers for that domain.",
    "banned": "Nothing is heard from there any more.",
    "unbanned": "That address is heard again.",
}


class Network:
    """What concerns other nodes and networks."""

    def __init__(self, control: ApiControl, gate: Gate) -> None:
        self._control = control
        self._gate = gate

    def routes(self) -> list[web.RouteDef]:
        """What they are reached by."""
        routes = [
            web.get("/relay", self._relay),
            web.post("/relay", self._relay_set),
            web.get("/why", self._why),
            web.get("/domains", self._domains),
            web.post("/domains", self._domain_add),
            web.get("/domains/{name}", self._domain),
            web.post("/domains/{name}/remove", self._domain_remove),
            web.get("/bans", self._bans),
            web.post("/bans", self._ban),
            web.post("/bans/lift", self._unban),
        ]
        return [self._gate.page(route) for route in routes]

    # Relaying for others

    async def _relay(self, request: web.Request) -> web.StreamResponse:
        return await self._relay_page(request, Form())

    async def _relay_page(
        self, request: web.Request, form: Form, error: RingmeshError | None = None
    ) -> web.StreamResponse:
        return page(
            request,
            "relay.html",
            status=200 if error is None else status_of(error),
            node=await self._control.status(),
            candidates=await self._control.relay_candidates(),
            form=form,
            error=error,
            done=DONE.get(request.query.get("done", "")),
        )

    async def _relay_set(self, request: web.Request) -> web.StreamResponse:
        form = await Form.of(request)
        try:
            if form["strangers"] != "on":
                await self._control.relay_off()
                raise web.HTTPSeeOther("/relay?done=off")
            await self._control.relay_on(
                ConsentChange(
                    kbit=form.number("kbit", "the speed"),
                    sessions=form.number("sessions", "the number of sessions"),
                    gb_month=form.amount("gb_month", "the amount"),
                    hours=form.text("hours") or "all",
                )
            )
        except RingmeshError as error:
            return await self._relay_page(request, form, error)
        raise web.HTTPSeeOther("/relay?done=on")

    # Why

    async def _why(self, request: web.Request) -> web.StreamResponse:
        uri, error = request.query.get("uri", "").strip(), None
        answer: JsonObject | None = None
        try:
            if len(uri) > MAX_TARGET:
                raise RefusedError(f"a target has at most {MAX_TARGET} characters", 400)
            answer = await self._control.why(uri) if uri else None
        except RefusedError as refused:
            error = refused
        lines = [] if answer is None else list(explained(answer))
        return page(
            request,
            "why.html",
            status=200 if error is None else error.status,
            uri=uri[:MAX_TARGET],
            answer=answer,
            lines=lines,
            error=error,
        )

    # Domains

    async def _domains(self, request: web.Request) -> web.StreamResponse:
        return await self._domains_page(request, Form())

    async def _domains_page(
        self,
        request: web.Request,
        form: Form,
        error: RingmeshError | None = None,
        added: JsonObject | None = None,
    ) -> web.StreamResponse:
        return page(
            request,
            "domains.html",
            status=200 if error is None else status_of(error),
            domains=await self._control.domains(),
            added=added,
            form=form,
            error=error,
            done=DONE.get(request.query.get("done", "")),
        )

    async def _domain_add(self, request: web.Request) -> web.StreamResponse:
        form = await Form.of(request)
        try:
            added = await self._control.domain_add(form["name"])
        except RingmeshError as error:
            return await self._domains_page(request, form, error)
        return await self._domains_page(request, Form(), added=added)

    async def _domain(self, request: web.Request) -> web.StreamResponse:
        checked = await self._control.domain_verify(request.match_info["name"])
        return page(request, "domain.html", domain=checked)

    async def _domain_remove(self, request: web.Request) -> web.StreamResponse:
        try:
            await self._control.domain_remove(request.match_info["name"])
        except RingmeshError as error:
            return await self._domains_page(request, Form(), error)
        raise web.HTTPSeeOther("/domains?done=domain")

    # Bans

    async def _bans(self, request: web.Request) -> web.StreamResponse:
        return self._bans_page(request, Form())

    def _bans_page(
        self, request: web.Request, form: Form, error: RingmeshError | None = None
    ) -> web.StreamResponse:
        return page(
            request,
            "bans.html",
            status=200 if error is None else status_of(error),
            bans=self._control.ban_desk.all(),
            form=form,
            error=error,
            done=DONE.get(request.query.get("done", "")),
        )

    async def _ban(self, request: web.Request) -> web.StreamResponse:
        form = await Form.of(request)
        try:
            lasting = form.text("for")
            self._control.ban_desk.ban(
                form["address"],
                seconds=None if lasting is None else read_seconds(lasting),
                reason=form.text("reason"),
            )
            await self._control.storage.flush()
        except RingmeshError as error:
            return self._bans_page(request, form, error)
        raise web.HTTPSeeOther("/bans?done=banned")

    async def _unban(self, request: web.Request) -> web.StreamResponse:
        form = await Form.of(request)
        try:
            self._control.ban_desk.unban(form["address"])
            await self._control.storage.flush()
        except RingmeshError as error:
            return self._bans_page(request, form, error)
        raise web.HTTPSeeOther("/bans?done=unbanned")
