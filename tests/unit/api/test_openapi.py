"""The API's description tells of every route there is, and of no other."""

import re

from node.api_openapi import document
from node.api_operations import OPERATIONS
from node.api_resources import api_routes
from tests.support.memory_node import MemoryNode


def test_every_route_is_described_and_nothing_else() -> None:
    routes = {f"{route.method} {route.path}" for route in api_routes(MemoryNode())}
    assert set(OPERATIONS) == routes


def test_every_reference_leads_to_a_schema() -> None:
    described = document()
    named = set(re.findall(r"#/components/schemas/(\w+)", str(described)))
    assert named == set(described["components"]["schemas"])
    assert "NewUser" in named


def test_each_operation_says_what_it_takes_and_answers() -> None:
    for path, methods in document()["paths"].items():
        for method, operation in methods.items():
            where = f"{method} {path}"
            assert operation["summary"].endswith("."), where
            in_path = {p["name"] for p in operation.get("parameters", ()) if p["in"] == "path"}
            assert in_path == set(re.findall(r"{(\w+)}", path)), where
            assert "401" in operation["responses"], where
            if method in ("post", "patch") and path != "/v1/console/links":
                assert "requestBody" in operation, where
