"""The rules of a gateway, for nft: what its NAT does, and how much it loses.

Rules name addresses and never interfaces, whose names differ between containers and namespaces.
"""

from testbed.topology import Topology

MOST_LOSS = 50
"Per cent; beyond that no call can be expected."
UDP_TIMEOUT = 20
"Seconds a gateway remembers a UDP flow; cheap routers have 30. What is quiet for longer is lost."
SYSCTLS = {"net.ipv4.ip_forward": "1"}
"What a gateway's kernel is told."
_MEMORY = f"""
    ct timeout cheap {{
        protocol udp
        l3proto ip
        policy = {{ unreplied : {UDP_TIMEOUT}, replied : {UDP_TIMEOUT} }}
    }}
    chain memory {{
        type filter hook prerouting priority filter; policy accept;
        meta l4proto udp ct timeout set "cheap"
    }}"""


def ruleset(topology: Topology, name: str, *, loss: float = 0) -> str:
    """The rules of the gateway `name`, for `nft -f`; they replace those of an earlier call.

    Flows from inside leave with the outside address. Of those from outside the ones to a node's
    ports are forwarded, also where they come from inside (hairpinning: the sender then appears
    with the outside address, RFC 4787 6). `loss` per cent of what comes in from outside are lost.
    """
    gateway = topology.gateways[name]
    inside, outside = topology.networks[gateway.inside], gateway.outside_address
    random = " fully-random" if gateway.ports == "random" else ""
    lost: tuple[str, ...] = ()
    if loss:
        # In parts of 10,000, since a per cent is coarse.
        share = f"numgen random mod 10000 < {round(loss * 100)}"
        lost = (f"meta l4proto udp ip saddr != {inside} {share} counter drop",)
    chains = (
        _chain(
            "prerouting",
            "type nat hook prerouting priority dstnat; policy accept;",
            *_forwards(topology, name),
        ),
        _chain(
            "postrouting",
            "type nat hook postrouting priority srcnat; policy accept;",
            f"ip saddr {inside} ip daddr {inside} ct status dnat snat to {outside}",
            f"ip saddr {inside} ip daddr != {inside} snat to {outside}{random}",
        ),
        _chain(
            "forward",
            "type filter hook forward priority filter; policy drop;",
            *lost,
            f"ip saddr {inside} accept",
            "ct status dnat accept",
            "ct state established,related accept",
        ),
        # A router that is asked for a port it forwards to nobody is silent to strangers.
        _chain(
            "input",
            "type filter hook input priority filter; policy accept;",
            f"ip saddr != {inside} meta l4proto {{ tcp, udp }} drop",
        ),
    )
    return "table ip testbed\ndelete table ip testbed\n" + "\n".join(
        ["table ip testbed {" + _MEMORY, *chains, "}", ""]
    )


def _forwards(topology: Topology, name: str) -> list[str]:
    gateway = topology.gateways[name]
    rules = []
    for node in topology.nodes.values():
        if node.network == gateway.inside:
            to = f"dnat to {node.address}"
            for protocol, spans in (("udp", node.udp_ports), ("tcp", node.tcp_ports)):
                ports = ", ".join(
                    f"{span[0]}-{span[1]}" if isinstance(span, tuple) else str(span)
                    for span in spans
                )
                rules.append(
                    f"ip daddr {gateway.outside_address} {protocol} dport {{ {ports} }} {to}"
                )
    return rules


def _chain(name: str, kind: str, *rules: str) -> str:
    return "\n".join(
        [f"    chain {name} {{", *(f"        {line}" for line in (kind, *rules)), "    }"]
    )
