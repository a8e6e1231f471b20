"""What containers run at their start, in a network namespace in place of a container."""

import asyncio
import contextlib
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import pytest

from testbed.namespaces import lacking
from tests.support.programs import Program, running

REASON = lacking() if sys.platform == "linux" else "network namespaces are Linux's"
pytestmark = pytest.mark.skipif(REASON is not None, reason=REASON or "")


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def namespace() -> Iterator[str]:
    """One with the addresses that the topology gives east-gw, and a default route elsewhere."""
    name = f"rm-test-{secrets.token_hex(3)}"
    lines = (
        "link set dev lo up",
        "link add name east type bridge",
        "link add name internet type bridge",
        "address add 10.1.0.1/24 dev east",
        "address add 11.1.0.1/12 dev internet",
        "link set dev east up",
        "link set dev internet up",
        "route add default via 11.15.255.254",
    )
    assert run("ip", "netns", "add", name).returncode == 0
    try:
        for line in lines:
            done = run("ip", "-n", name, *line.split())
            assert done.returncode == 0, done.stderr
        yield name
    finally:
        run("ip", "netns", "delete", name)


def inside(name: str, *command: str) -> tuple[str, ...]:
    return ("ip", "netns", "exec", name, *command)


def attach(name: str, *options: str) -> subprocess.CompletedProcess[str]:
    script = "grep -E '^(Uid|CapEff|CapPrm)' /proc/self/status; ip route show default; id -un"
    command = (sys.executable, "-m", "testbed.attach", "--user", "nobody", *options)
    return run(*inside(name, *command, "--", "sh", "-c", script))


def test_a_program_gets_its_way_out_and_no_rights(namespace: str) -> None:
    done = attach(namespace, "--via", "10.1.0.254")
    assert done.stderr == ""
    uids, permitted, effective, route, user = done.stdout.splitlines()
    assert uids.split()[1:] == uids.split()[1:2] * 4 != ["0"] * 4
    assert permitted.split()[1] == effective.split()[1] == "0" * 16
    assert route.startswith("default via 10.1.0.254 dev east")
    assert user == "nobody"


def test_without_a_gateway_there_is_no_way_out(namespace: str) -> None:
    done = attach(namespace)
    assert (done.returncode, "default" in done.stdout) == (0, False)


def test_a_way_that_does_not_exist_is_told(namespace: str) -> None:
    done = attach(namespace, "--via", "172.31.0.1")
    assert done.returncode == 1
    assert done.stderr.startswith("ip route add default via 172.31.0.1: ")


def rules(name: str) -> str:
    return run(*inside(name, "nft", "list", "ruleset")).stdout


@contextlib.asynccontextmanager
async def gateway(name: str, *arguments: str) -> AsyncIterator[Program]:
    command = inside(name, sys.executable, "-m", "testbed.gateway", *arguments)
    async with running(*command) as program:
        yield program


async def test_a_gateway_loads_its_rules_and_stays(namespace: str) -> None:
    run(*inside(namespace, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"))
    async with gateway(namespace, "east-gw") as program:
        async with asyncio.timeout(5):
            while "dnat to 10.1.0.11" not in rules(namespace):
                await asyncio.sleep(0.1)
        await asyncio.sleep(0.2)
        assert run("ip", "-n", namespace, "route", "show", "default").stdout == ""
        program.process.terminate()
        assert await program.ends(3) == 0


async def test_a_gateway_that_cannot_be_says_why(namespace: str) -> None:
    async with gateway(namespace, "east-gw") as program:
        assert await program.ends() == 1
        assert program.output.startswith("net.ipv4.ip_forward is 0: it has to be 1")
    async with gateway(namespace, "moon") as program:
        assert await program.ends() == 1
        assert program.output.startswith("say which gateway: east-gw, ")
