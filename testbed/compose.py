"""Makes docker-compose.yml from the topology.

`python -m testbed.compose` writes it, `--check` says whether it is up to date (a test does, too).
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from testbed.folder import Folder
from testbed.programs import handset_command, node_command, node_settings, server_commands
from testbed.ruleset import SYSCTLS
from testbed.topology import Host, Topology, bridge_address, read
from testbed.yaml import to_yaml

FILE = Path(__file__).parent.parent / "docker-compose.yml"
SHARED = Folder(Path("/run/testbed"))
"Where the volume is that all containers share."
NETWORK = "testbed"
"The nodes' network, by name."
IMAGE = "ringmesh-testbed"
PROFILES = ("pbx", "provider", "chaos")
_HEAD = """\
# A whole network of nodes, gateways and phones; docs/testbed.md tells what it is and how to run it.
# Made from testbed/topology.toml: change that, then run `python -m testbed.compose`.
"""
_CHECK = ("python", "-m", "testbed.check", "--folder", str(SHARED.root))
Service = dict[str, Any]


def compose_file(topology: Topology) -> str:
    """The whole text."""
    return _HEAD + to_yaml(
        {
            "services": _services(topology),
            "networks": {name: _network(topology, name) for name in topology.networks},
            "volumes": {"shared": {}},
        }
    )


def _services(topology: Topology) -> dict[str, Service]:
    hosts = {host.name: host for host in topology.hosts(pbx=True, provider=True)}
    made: dict[str, Service] = {}
    for name in topology.gateways:
        made[name] = _gateway(topology, hosts[name])
    for name in topology.nodes:
        command = node_command(topology, name, SHARED, network=NETWORK, ringmesh=("ringmesh",))
        made[name] = _host(topology, hosts[name], command)
        made[name]["environment"] = dict(node_settings(topology, name, SHARED))
        made[name]["stop_grace_period"] = "15s"
    for name in topology.phones:
        made[name] = _host(topology, hosts[name], handset_command(name, SHARED)) | _NO_NODE
    usual = list(made)
    made["check"] = _check_service([], usual)
    for profile, extra in (("pbx", topology.pbxs), ("provider", topology.providers)):
        added = []
        for name, command in server_commands(
            topology, SHARED, pbx=profile == "pbx", provider=profile == "provider"
        ):
            made[name] = _host(topology, hosts[name], command) | _NO_NODE
            added.append(name)
        for server in extra.values():
            phone = server.phone.name
            made[phone] = _host(topology, hosts[phone], handset_command(phone, SHARED)) | _NO_NODE
            added.append(phone)
        made[f"{profile}-check"] = _check_service([f"--{profile}"], [*usual, *added])
        for name in (*added, f"{profile}-check"):
            made[name]["profiles"] = [profile]
    made["chaos"] = _check_service(["--chaos"], usual) | {"profiles": ["chaos"]}
    return made


def _image() -> Service:
    """Every service runs the one image, so each of them can have it built."""
    arguments = {
        "BASE_IMAGE": "${BASE_IMAGE:-python:3.12-slim-bookworm}",
        "PIP_INDEX_URL": "${PIP_INDEX_URL:-https://pypi.org/simple}",
    }
    return {
        "image": IMAGE,
        "build": {"context": ".", "target": "testbed", "args": arguments},
        "init": True,
    }


_NO_NODE: Service = {"healthcheck": {"disable": True}}
"The image's own check asks a node."


def _host(topology: Topology, host: Host, command: Sequence[str]) -> Service:
    """A container that gives itself the topology's way out, and then gives up its rights."""
    via = ("--via", str(host.via)) if host.via is not None else ()
    networks = [network for network, _ in host.links]
    before = [name for name, g in topology.gateways.items() if g.inside in networks]
    return (
        _image()
        | {
            "user": "root",
            "cap_add": ["NET_ADMIN"],
            "command": ["python", "-m", "testbed.attach", *via, "--", *command],
            "networks": _addresses(host),
            "volumes": [f"shared:{SHARED.root}"],
        }
        | ({"depends_on": before} if before else {})
    )


def _gateway(topology: Topology, host: Host) -> Service:
    outer = topology.gateway_of(topology.gateways[host.name].outside)
    before = [name for name, gateway in topology.gateways.items() if gateway is outer]
    return (
        _image()
        | {
            "user": "root",
            "cap_add": ["NET_ADMIN"],
            "sysctls": dict(SYSCTLS),
            "environment": {"TESTBED_LOSS": "${TESTBED_LOSS:-0}"},
            "command": ["python", "-m", "testbed.gateway", host.name],
            "healthcheck": {"disable": True},
            "networks": _addresses(host),
        }
        | ({"depends_on": before} if before else {})
    )


def _check_service(options: Sequence[str], needed: Sequence[str]) -> Service:
    """The check has no network: it speaks to nodes and phones through the shared volume."""
    loss = ("--loss", "${TESTBED_LOSS:-0}")
    return _image() | {
        "network_mode": "none",
        "entrypoint": [*_CHECK, *loss, *options],
        **_NO_NODE,
        "volumes": [f"shared:{SHARED.root}"],
        "depends_on": list(needed),
    }


def _addresses(host: Host) -> dict[str, Any]:
    return {network: {"ipv4_address": str(address)} for network, address in host.links}


def _network(topology: Topology, name: str) -> dict[str, Any]:
    subnet = topology.networks[name]
    return {
        # The engine's own NAT would be a way out; and an "internal" network passes no packets of
        # other networks, which is what gateways are for.
        "driver_opts": {"com.docker.network.bridge.enable_ip_masquerade": "false"},
        "ipam": {"config": [{"subnet": str(subnet), "gateway": str(bridge_address(subnet))}]},
    }


def main() -> int:
    """Write the file, or compare."""
    options = argparse.ArgumentParser(prog="testbed.compose", description=__doc__)
    options.add_argument("--check", action="store_true", help="only say whether it is up to date")
    given = options.parse_args()
    text = compose_file(read())
    if given.check:
        if FILE.exists() and FILE.read_text(encoding="utf-8") == text:
            return 0
        sys.stderr.write(f"{FILE.name} is out of date: run `python -m testbed.compose`\n")
        return 1
    FILE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
