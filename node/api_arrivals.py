"""The admin API's way in for accounts that come from other nodes.

POST /v1/users/import

There is no way out: `ringmesh user export` reads keys where they are stored, so that no answer of
the API ever holds one.
"""

from typing import Protocol

import msgspec
from aiohttp import web

from node.accounts.login import AccountError
from node.accounts.moved import Arrival, MovedAccount
from node.api_answers import answer, body_of
from node.control import JsonObject, RefusedError
from node.storage.errors import StorageError


class ArrivalControl(Protocol):
    """What the resource asks of a node."""

    async def user_import(self, moved: MovedAccount, arrival: Arrival) -> JsonObject:
        """Take an account in; its sheet, with the password where it is a new one."""


class NewArrival(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The body of `POST /v1/users/import`."""

    account: MovedAccount
    arrival: Arrival = Arrival()


def arrival_routes(control: ArrivalControl) -> list[web.RouteDef]:
    """The resource for users that move here."""

    async def take(request: web.Request) -> web.Response:
        new = await body_of(request, NewArrival)
        try:
            return answer(await control.user_import(new.account, new.arrival), status=201)
        except (AccountError, StorageError) as error:
            raise RefusedError(str(error)) from error

    return [web.post("/v1/users/import", take)]
