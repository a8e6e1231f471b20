"""docker-compose.yml: up to date, and what compose demands of it."""

import ipaddress
import os
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from testbed.compose import FILE, compose_file
from testbed.topology import read
from testbed.yaml import to_yaml


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return loaded


def test_the_file_is_what_the_topology_makes() -> None:
    assert FILE.read_text(encoding="utf-8") == compose_file(read()), "python -m testbed.compose"


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    services, networks = document["services"], document["networks"]
    subnets = {
        name: ipaddress.ip_network(network["ipam"]["config"][0]["subnet"])
        for name, network in networks.items()
    }
    taken = [network["ipam"]["config"][0]["gateway"] for network in networks.values()]
    for name, service in services.items():
        profiles = set(service.get("profiles", []))
        for needed in service.get("depends_on", []):
            # What is needed has to be started by whatever starts the one that needs it.
            assert set(services[needed].get("profiles", [])) <= profiles, (name, needed)
        for network, given in service.get("networks", {}).items():
            assert ipaddress.ip_address(given["ipv4_address"]) in subnets[network]
            taken.append(given["ipv4_address"])
        for volume in service.get("volumes", []):
            assert volume.partition(":")[0] in document["volumes"]
    assert len(set(taken)) == len(taken)
    for one in subnets.values():
        assert [other for other in subnets.values() if other.overlaps(one)] == [one]


def test_nodes_are_told_of_one_node_and_of_their_outer_address(document: dict[str, Any]) -> None:
    services = document["services"]
    joins = {
        name: [word for word in services[name]["command"] if word.endswith(":7060")]
        for name in read().nodes
    }
    everybody_else = ["11.3.0.1:7060"]
    assert joins.pop("super") == []
    assert all(targets == everybody_else for targets in joins.values())
    assert services["west2"]["environment"]["RINGMESH_RELAY_EXTERNAL_ADDRESS"] == "11.2.0.1"
    assert "RINGMESH_RELAY_EXTERNAL_ADDRESS" not in services["super"]["environment"]


def test_the_check_has_no_network_and_each_profile_one_of_its_own(document: dict[str, Any]) -> None:
    services = document["services"]
    checks = {name: service for name, service in services.items() if "entrypoint" in service}
    assert set(checks) == {"check", "pbx-check", "provider-check", "chaos"}
    assert all(service["network_mode"] == "none" for service in checks.values())
    assert services["pbx-check"]["profiles"] == services["firm"]["profiles"] == ["pbx"]
    assert services["abroad"]["profiles"] == ["provider"]


def test_only_what_sets_routes_starts_with_rights(document: dict[str, Any]) -> None:
    for name, service in document["services"].items():
        command = service.get("command", [])[:3]
        sets_routes = command[2:] in (["testbed.attach"], ["testbed.gateway"])
        assert (service.get("user") == "root") == sets_routes, name
        assert service.get("cap_add", []) == (["NET_ADMIN"] if sets_routes else []), name
        assert "privileged" not in service


def test_a_compose_client_takes_it() -> None:
    commands = (["docker", "compose"], ["docker-compose"])
    for command in commands:
        if shutil.which(command[0]) is None:
            continue
        version = subprocess.run([*command, "version"], capture_output=True, check=False)
        if version.returncode == 0:
            break
    else:
        pytest.skip("no compose client is here: docker compose, or docker-compose")
    done = subprocess.run(
        [*command, "-f", str(FILE), "--profile", "pbx", "config", "--quiet"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COMPOSE_PROJECT_NAME": "testbed"},
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_what_the_writer_writes_is_read_back() -> None:
    value = {
        "texts": {"plain": "a/b.c", "number": "10", "truth": "yes", "mark": "a: b #c", "empty": ""},
        "values": [1, True, None, "-x", "ö"],
        "long": [f"word number {n}" for n in range(20)],
        "things": [{"a": 1, "b": {"c": 2}}, {"a": []}],
        "nothing": {},
    }
    assert yaml.safe_load(to_yaml(value)) == value
