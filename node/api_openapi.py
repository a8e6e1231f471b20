"""The API's description as OpenAPI 3.1, generated from `OPERATIONS` and the types it names."""

import functools
import re
from typing import Any

import msgspec
from aiohttp import web

from node.api_answers import answer
from node.api_schema import Refused
from node.software import VERSION

REFUSALS = {
    400: "Malformed, or a value that cannot be.",
    401: "No right to it.",
    403: "Not from a page of this node.",
    404: "No such thing.",
    409: "Against the present state.",
    413: "Too long.",
    421: "Not by that name: over HTTP, where the server is for this machine alone.",
    503: "Not now.",
}
_REF = "#/components/schemas/{name}"
_JSON = "application/json"


def openapi_routes() -> list[web.RouteDef]:
    """The resource that describes the others."""

    async def description(_: web.Request) -> web.Response:
        return answer(document())

    return [web.get("/v1/openapi.json", description)]


@functools.cache
def document() -> dict[str, Any]:
    """The whole description."""
    from node.api_operations import OPERATIONS, Operation

    kinds = [Refused]
    for operation in OPERATIONS.values():
        kinds += [kind for kind in (operation.answer, operation.body) if kind is not None]
    schemas, components = msgspec.json.schema_components(kinds, ref_template=_REF)
    written = iter(schemas[1:])

    def described(operation: Operation, path: str) -> dict[str, Any]:
        made: dict[str, Any] = {"summary": operation.summary, "responses": {}}
        parameters = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in re.findall(r"{(\w+)}", path)
        ]
        for name, meaning in operation.query.items():
            parameters.append(
                {
                    "name": name.rstrip("!"),
                    "in": "query",
                    "required": name.endswith("!"),
                    "description": meaning,
                    "schema": {"type": "string"},
                }
            )
        if parameters:
            made["parameters"] = parameters
        content = {_JSON: {"schema": next(written)}}
        made["responses"][str(operation.status)] = {"description": "Done.", "content": content}
        refused = {_JSON: {"schema": schemas[0]}}
        for status, meaning in REFUSALS.items():
            made["responses"][str(status)] = {"description": meaning, "content": refused}
        if operation.body is not None:
            made["requestBody"] = {"content": {_JSON: {"schema": next(written)}}}
        return made

    paths: dict[str, Any] = {}
    for name, operation in OPERATIONS.items():
        method, _, path = name.partition(" ")
        paths.setdefault(path, {})[method.lower()] = described(operation, path)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Ringmesh admin API",
            "version": VERSION,
            "description": "The operator's side of a node. `/v1` stays; answers may gain keys.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"token": []}, {"session": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Of `ringmesh console token NAME`.",
                },
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "ringmesh-8060",
                    "description": (
                        "Of the console. What changes something also needs `X-CSRF-Token`. "
                        "The name holds the port; over TLS it begins with `__Host-`."
                    ),
                },
            },
        },
    }
