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
