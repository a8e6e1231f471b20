"""What runs on each host: the same command lines for containers and for namespaces."""

from collections.abc import Iterator, Mapping, Sequence

from testbed.folder import Folder
from testbed.topology import SIP_PORT, Topology

KAMAILIO = "testbed/kamailio.cfg"
"Beside the program, from the root of the project."
REALM = "provider.test"
PASSWORD = "a secret of the testbed"  # noqa: S105 - there is nothing behind it
PROVIDER_LOGIN = "u100"
"The node's account at the provider."


def node_command(
    topology: Topology, name: str, folder: Folder, *, network: str, ringmesh: Sequence[str]
) -> tuple[str, ...]:
    """How a node is started under its keeper; `ringmesh` is how the program is called."""
    node, joined = topology.nodes[name], topology.supernode
    options = ["--network", network]
    options += ["--port-offset", str(node.port_offset)] if node.port_offset else []
    options += ["--join", topology.mesh_target(joined)] if name != joined else []
    return (
        *("python", "-m", "testbed.keeper", "--socket", str(folder.keeper(name)), "--"),
        *(*ringmesh, "up", *options, "--workers", "1", "--log-format", "json", "--json"),
    )


def node_settings(topology: Topology, name: str, folder: Folder) -> Mapping[str, str]:
    """What a node is told by its environment: where its state is, its ports, its outer address."""
    node, external = topology.nodes[name], topology.external_address(name)
    settings = {
        "RINGMESH_STATE": str(folder.state(name)),
        "RINGMESH_MEDIA_FIRST_PORT": str(node.media[0]),
        "RINGMESH_MEDIA_LAST_PORT": str(node.media[1]),
    }
    if external != node.address:
        settings["RINGMESH_RELAY_EXTERNAL_ADDRESS"] = str(external)
    return settings


def handset_command(name: str, folder: Folder) -> tuple[str, ...]:
    """How a phone is started."""
    return ("python", "-m", "testbed.handset", "--socket", str(folder.handset(name)))


def server_commands(
    topology: Topology, folder: Folder, *, pbx: bool, provider: bool
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """How the PBXs and providers are started, by name."""
    for name, server in topology.pbxs.items() if pbx else ():
        node = topology.sip_server(server.node)
        yield name, _kamailio(folder, name, str(server.address), node, "PBX=1")
    for name, one in topology.providers.items() if provider else ():
        yield name, _kamailio(folder, name, str(one.address), topology.sip_server(one.node))


def _kamailio(folder: Folder, name: str, address: str, node: str, *more: str) -> tuple[str, ...]:
    given = {
        "REALM": REALM,
        "PASSWORD": PASSWORD,
        "LOGIN": PROVIDER_LOGIN,
        "NODE": node,
        "NODE_IP": node.rpartition(":")[0],
    }
    defines = [*(f'{key}="{value}"' for key, value in given.items()), *more]
    options = [part for define in defines for part in ("-A", define)]
    listen = ("-l", f"udp:{address}:{SIP_PORT}")
    files = ("-Y", str(folder.sockets), "-P", str(folder.sockets / f"{name}.pid"))
    memory = ("-m", "32", "-M", "4")
    return ("kamailio", "-DD", "-E", "-f", KAMAILIO, *listen, *files, *memory, *options)
