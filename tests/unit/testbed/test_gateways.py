"""Gateways: what they let through; and a build leaves the machine's own network alone."""

import os
import shutil
import subprocess

import pytest

from testbed.namespaces import steps
from testbed.ruleset import ruleset
from testbed.topology import read

EAST = """\
table ip testbed
delete table ip testbed
table ip testbed {
    ct timeout cheap {
        protocol udp
        l3proto ip
        policy = { unreplied : 20, replied : 20 }
    }
    chain memory {
        type filter hook prerouting priority filter; policy accept;
        meta l4proto udp ct timeout set "cheap"
    }
    chain prerouting {
        type nat hook prerouting priority dstnat; policy accept;
        ip daddr 11.1.0.1 udp dport { 3478, 5060, 7060, 10000-10199 } dnat to 10.1.0.11
        ip daddr 11.1.0.1 tcp dport { 3478, 5060, 5061, 5349 } dnat to 10.1.0.11
        ip daddr 11.1.0.1 udp dport { 3488, 5070, 7070, 10200-10399 } dnat to 10.1.0.12
        ip daddr 11.1.0.1 tcp dport { 3488, 5070, 5071, 5359 } dnat to 10.1.0.12
    }
    chain postrouting {
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr 10.1.0.0/24 ip daddr 10.1.0.0/24 ct status dnat snat to 11.1.0.1
        ip saddr 10.1.0.0/24 ip daddr != 10.1.0.0/24 snat to 11.1.0.1
    }
    chain forward {
        type filter hook forward priority filter; policy drop;
        ip saddr 10.1.0.0/24 accept
        ct status dnat accept
        ct state established,related accept
    }
    chain input {
        type filter hook input priority filter; policy accept;
        ip saddr != 10.1.0.0/24 meta l4proto { tcp, udp } drop
    }
}
"""


def test_a_nodes_gateway_forwards_the_ports_of_its_nodes() -> None:
    assert ruleset(read(), "east-gw") == EAST


def test_a_homes_gateway_forwards_nothing() -> None:
    rules = ruleset(read(), "home2-gw", loss=2.5)
    assert "dnat to" not in rules
    assert "snat to 11.5.0.1 fully-random" in rules
    assert "ip saddr != 192.168.2.0/24 numgen random mod 10000 < 250 counter drop" in rules


@pytest.mark.skipif(
    shutil.which("nft") is None or os.geteuid() != 0, reason="nft and root check the rules"
)
def test_nft_takes_the_rules_of_every_gateway() -> None:
    topology = read()
    for name in topology.gateways:
        done = subprocess.run(
            ["nft", "--check", "-f", "-"],
            input=ruleset(topology, name, loss=5),
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")


def test_nothing_is_done_outside_the_runs_own_namespaces() -> None:
    """Every command makes a namespace of this run, or works inside one."""
    topology = read()
    hosts = list(topology.hosts(pbx=True, provider=True))
    made = set()
    for step in steps(topology, hosts, "abcdef", loss=5):
        match step.command:
            case ("ip", "netns", "add", name):
                made.add(name)
                continue
            case ("ip", "netns", "exec", name, *_) | ("ip", "-n", name, "-batch", "-"):
                assert name in made
            case other:
                pytest.fail(f"not inside: {other}")
        for line in step.given.splitlines():
            if "netns" in line:
                assert line.endswith("netns ringmesh-abcdef-switch")
    assert made == {f"ringmesh-abcdef-{name}" for name in [*(h.name for h in hosts), "switch"]}
    others = {name for step in steps(topology, hosts, "fedcba") for name in step.command}
    assert made & others == set()
