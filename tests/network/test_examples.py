"""The examples do what they say, run as a reader would run them."""

import asyncio
import re
import sys
import tempfile
from pathlib import Path

import pytest

from node.phone.tones import dominant_frequency, read_wav
from tests.support.nodes import add_user, running_nodes
from tests.support.programs import needs_pjsua2

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
PATIENCE = 60.0


async def run(example: str, *options: str) -> tuple[int | None, str, str]:
    """Run an example to its end; returns its exit code, output and complaints."""
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", str(EXAMPLES / example), *options,
        env={"PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(PATIENCE):
            output, complaints = await program.communicate()
    finally:
        if program.returncode is None:
            program.kill()
            await program.wait()
    return program.returncode, output.decode(), complaints.decode()


async def test_two_nodes_find_each_others_accounts() -> None:
    before = set(Path(tempfile.gettempdir()).glob("two-nodes-*"))
    code, output, complaints = await run("two_nodes.py")
    assert (code, complaints) == (0, ""), output
    nodes = re.findall(r"^node (?:one|two): (\w{16})… at (\S+)$", output, re.MULTILINE)
    assert len(nodes) == 2
    (one, at_one), (two, at_two) = nodes
    places = re.findall(r"^    node (\w{16})… at (\S+)$", output, re.MULTILINE)
    assert places == [(two, at_two), (two, at_two), (one, at_one)]
    assert output.count("    200 found in the network\n") == 3
    assert output.count("    404 nobody has this number\n") == 1
    assert set(Path(tempfile.gettempdir()).glob("two-nodes-*")) == before


@needs_pjsua2
async def test_the_softphone_hears_its_own_tone_from_the_echo_test(tmp_path: Path) -> None:
    heard = tmp_path / "heard.wav"
    async with running_nodes(tmp_path, 1) as (node,):
        alice = await add_user(node, "alice")
        server = ("--server", alice["server"], "--login", "alice", "--password", alice["password"])
        code, output, complaints = await run(
            "softphone.py", *server,
            "--call", "*43", "--tone", "440", "--record", str(heard), "--seconds", "2",
        )  # fmt: skip
    assert (code, complaints) == (0, ""), output
    assert output.startswith(f"alice is registered at {alice['server']} for ")
    assert dominant_frequency(read_wav(heard)) == pytest.approx(440, rel=0.01)


@needs_pjsua2
async def test_the_softphone_says_that_the_password_is_wrong(tmp_path: Path) -> None:
    async with running_nodes(tmp_path, 1) as (node,):
        alice = await add_user(node, "alice")
        code, output, complaints = await run(
            "softphone.py", "--server", alice["server"], "--login", "alice",
            "--password", "not the password",
        )  # fmt: skip
    assert (code, output) == (1, "")
    assert len(complaints.splitlines()) == 1, complaints
    assert "40" in complaints


async def test_the_softphone_explains_itself() -> None:
    code, output, complaints = await run("softphone.py", "--help")
    assert (code, complaints) == (0, "")
    for option in ("--server", "--login", "--password", "--call", "--play", "--record"):
        assert option in output
    code, _, complaints = await run("softphone.py", "--server", "x", "--login", "y")
    assert code == 2
    assert "--password" in complaints


async def shows_itself(example: str) -> str:
    """Run an example that judges itself; nothing of it may be left."""
    before = set(Path(tempfile.gettempdir()).glob("ringmesh-example-*"))
    code, output, complaints = await run(example)
    assert (code, complaints) == (0, ""), output
    assert set(Path(tempfile.gettempdir()).glob("ringmesh-example-*")) == before
    return output


@needs_pjsua2
@pytest.mark.slow
async def test_the_menu_of_a_pbx_is_heard_and_obeyed() -> None:
    """Menu, hours, menu again, and the caller's own voice after the transfer."""
    assert "heard: [440, 880, 440, 660]\n" in await shows_itself("ivr_pbx.py")


@needs_pjsua2
@pytest.mark.slow
async def test_three_pbxs_call_each_other_in_both_modes() -> None:
    output = await shows_itself("three_pbxs.py")
    calls = re.findall(r"^(\w+) (\d+) -> \S+: (\w+) is asked for (\w+), sees (\S+)$", output, re.M)
    numbers = dict(re.findall(r"^(\w+): \S+, number (\d+), at", output, re.M))
    assert [(caller, callee, user) for caller, _, callee, user, _ in calls] == [
        ("north", "south", "201"),
        ("south", "north", "102"),
        ("north", "west", "west"),
        ("south", "west", "west"),
        ("west", "north", "104"),
        ("west", "south", "204"),
    ]
    assert all(shown == f"{numbers[caller]}*{extension}" for caller, extension, *_, shown in calls)


@needs_pjsua2
async def test_a_providers_number_leads_to_a_user_and_calls_go_out() -> None:
    output = await shows_itself("provider_did.py")
    assert "bob is called by sip:+442079460000@" in output
    assert "the provider is asked for sip:+442079460000@" in output
    assert "by sip:+49301234567@" in output


async def test_a_supernode_lends_and_takes_back() -> None:
    output = await shows_itself("supernode.py")
    assert "before: 0 nodes" in output
    assert "borrowed: turn:127." in output
    assert output.endswith("after `relay off`: none\n")


async def test_a_call_is_explained_before_it_is_made() -> None:
    output = await shows_itself("resolve_and_explain.py")
    assert "signed by the node its owner delegated to" in output
    assert "099999999999999: 404 nobody has this number\n" in output


async def test_a_load_is_carried() -> None:
    output = await shows_itself("load.py")
    assert "100 calls, 100 answered, other answers: none\n" in output
    assert "answered after " in output
