"""Commands, their output for people and programs, and their exit codes."""

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.cli.commands import run
from tests.support.admin_server import serving
from tests.support.memory_node import KEY, MemoryNode

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[MemoryNode]:
    memory = MemoryNode()
    with serving(memory, tmp_path / "api.sock"):
        yield memory


def outcome(capsys: Capture, *arguments: str) -> tuple[int, str, str]:
    code = run(arguments)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize(
    "command",
    [("status",), ("peers",), ("resolve", "echo"), ("call", "list"), ("call", "hangup", "all")],
)
def test_without_a_node_the_exit_code_is_3(
    capsys: Capture, tmp_path: Path, command: tuple[str, ...]
) -> None:
    code, out, err = outcome(capsys, *command, "--state", str(tmp_path))
    assert (code, out) == (3, "")
    assert err.startswith("ringmesh: no node is running on ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (("frob",), "No such command 'frob'"),
        (("up", "--frob"), "No such option: --frob"),
        (("up", "--workers", "x"), "Invalid value for '--workers'"),
        (("up", "--port-offset", "15"), "--port-offset is 15, but must be 0, or a multiple of 10"),
        (("up", "--listen", "here"), "--listen is 'here', but must be one IP address"),
        (("up", "--join", "a:b"), "--join is 'a:b', but must be HOST:PORT"),
        (("up", "--domain", "x"), "--domain is 'x', but must be a domain name"),
        (("up", "--log-format", "xml"), "--log-format is 'xml', but must be auto, text or json"),
        (("user", "add"), "Invalid value: give one LOGIN, or --from FILE.csv"),
        (("user", "add", "a", "--from", "f"), "Invalid value: give one LOGIN, or --from FILE.csv"),
        (("user", "show"), "Missing argument 'LOGIN'"),
        (("call", "hangup", ""), "Invalid value: say which call: an id from `ringmesh call list`"),
        (("resolve", "a" * 1025), "Invalid value: a target has at most 1024 characters"),
    ],
)
def test_wrong_usage_is_one_sentence_and_exit_code_2(
    capsys: Capture, command: tuple[str, ...], sentence: str
) -> None:
    code, out, err = outcome(capsys, *command)
    assert (code, out) == (2, "")
    assert err.startswith(f"ringmesh: {sentence}")
    assert err.count("\n") == 1


def test_nothing_at_all_shows_the_help(capsys: Capture) -> None:
    code, out, err = outcome(capsys)
    assert (code, err) == (2, "")
    assert "Usage: ringmesh" in out


@pytest.mark.usefixtures("node")
def test_status_is_for_programs_and_for_people(capsys: Capture, tmp_path: Path) -> None:
    state = ("--state", str(tmp_path))
    code, out, _ = outcome(capsys, "status", "--json", *state)
    status = json.loads(out)
    assert code == 0
    assert status["node_id"] == KEY.id.text
    assert {"ready", "node_id", "key_name", "addresses", "peers", "accounts"} <= status.keys()
    assert {"registrations", "calls", "relay"} <= status.keys()
    code, out, _ = outcome(capsys, "status", *state)
    assert code == 0
    assert out.splitlines()[0].split() == ["ready", "yes"]
    assert KEY.id.key_name in out


@pytest.mark.usefixtures("node")
def test_a_trace_is_a_ladder_a_text_or_json(capsys: Capture, tmp_path: Path) -> None:
    asked = ("call", "trace", "c1@x/y", "--state", str(tmp_path))
    code, out, _ = outcome(capsys, *asked)
    assert (code, "INVITE sip:bob@192.0.2.7" in out, "---->" in out) == (0, True, True)
    assert "SIP/2.0" not in out
    assert "INVITE sip:bob@192.0.2.7 SIP/2.0" in outcome(capsys, *asked, "--text")[1]
    assert json.loads(outcome(capsys, *asked, "--json")[1])["call_id"] == "c1@x/y"
    assert outcome(capsys, *asked, "--json", "--text")[0] == 2
    assert outcome(capsys, "call", "trace", "x", "--state", str(tmp_path))[0] == 1


@pytest.mark.usefixtures("node")
def test_peers_are_a_table(capsys: Capture, tmp_path: Path) -> None:
    code, out, _ = outcome(capsys, "peers", "--state", str(tmp_path))
    assert code == 0
    heading, row = out.splitlines()
    assert " ".join(heading.split()) == (
        "node address linked round trip heard requests no answer 5xx 6xx loss jitter"
    )
    assert row.split() == [
        *(KEY.id.text[:16], "192.0.2.8:7060", "yes", "12.3", "ms", "2", "s", "ago"),
        *("3", "/", "5", "1", "2", "2.00%", "4", "ms"),
    ]


@pytest.mark.usefixtures("node")
def test_resolve_says_by_its_exit_code_whether_a_call_could_be_made(
    capsys: Capture, tmp_path: Path
) -> None:
    state = ("--state", str(tmp_path))
    assert outcome(capsys, "resolve", "echo", *state)[0] == 0
    code, out, _ = outcome(capsys, "resolve", "nobody", *state)
    assert code == 1
    assert "answer  404 Not Found\n" in out
    code, out, _ = outcome(capsys, "resolve", "nobody", "--json", *state)
    assert (code, json.loads(out)["status"]) == (1, 404)


def test_calls_are_listed_and_ended(capsys: Capture, tmp_path: Path, node: MemoryNode) -> None:
    state = ("--state", str(tmp_path))
    row = outcome(capsys, "call", "list", *state)[1].splitlines()[-1].split()
    assert row[:6] == ["c1", "a", "b", "up", "3", "s"]
    assert outcome(capsys, "call", "hangup", "nope", *state) == (
        1,
        "",
        "ringmesh: there is no call nope: see ringmesh call list\n",
    )
    assert outcome(capsys, "call", "hangup", "c1", *state)[:2] == (0, "1 call ended\n")
    assert outcome(capsys, "call", "list", *state)[:2] == (0, "no calls\n")
    assert node.live_calls == {}


def test_users_of_a_running_node(capsys: Capture, tmp_path: Path, node: MemoryNode) -> None:
    state = ("--state", str(tmp_path))
    code, out, _ = outcome(
        capsys, "user", "add", "alice", "--extension", "101", "--name", "Alice", "--json", *state
    )
    sheet = json.loads(out)
    assert code == 0
    assert list(sheet)[:5] == ["login", "password", "server", "uri", "number"]
    assert sheet["turn"]["username"] == "alice"
    assert sheet["turn"]["uris"][0].startswith("turn:")
    assert node.users == {"alice": {"extension": "101", "name": "Alice"}}
    assert outcome(capsys, "user", "add", "alice", *state) == (
        1,
        "",
        "ringmesh: alice exists already: choose another login\n",
    )
    assert json.loads(outcome(capsys, "user", "list", "--json", *state)[1])[0]["login"] == "alice"
    assert "0200 0000 0000 001" in outcome(capsys, "user", "list", *state)[1]
    shown = outcome(capsys, "user", "show", "alice", *state)[1]
    assert "password" not in shown
    assert "sip:alice@192.0.2.7:5070" in shown
    changed = outcome(capsys, "user", "passwd", "alice", "--password", "longer-one", *state)[1]
    assert "longer-one" in changed
    assert outcome(capsys, "user", "remove", "alice", *state)[:2] == (0, "alice is removed\n")
    code, _, err = outcome(capsys, "user", "show", "alice", *state)
    assert (code, err) == (1, "ringmesh: there is no user alice: see ringmesh user list\n")


@pytest.mark.usefixtures("node")
def test_a_password_can_come_from_standard_input(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There it is in no list of processes and in no shell's history."""
    state = ("--state", str(tmp_path), "--json")
    for command in (("add",), ("passwd",)):
        monkeypatch.setattr(sys, "stdin", io.StringIO("from a pipe\nrest"))
        code, out, _ = outcome(capsys, "user", *command, "alice", "--password", "-", *state)
        assert (code, json.loads(out)["password"]) == (0, "from a pipe")


def test_many_users_come_from_a_file(capsys: Capture, tmp_path: Path, node: MemoryNode) -> None:
    """Who is refused is told with the line, the others are there all the same."""
    node.users["bob"] = {"extension": None, "name": None}
    file = tmp_path / "users.csv"
    file.write_text("login,name,extension\nalice,Alice,101\nbob,,\n\ncarol,Carol,\n")
    state = ("--state", str(tmp_path))
    code, out, err = outcome(capsys, "user", "add", "--from", str(file), "--json", *state)
    answer = json.loads(out)
    assert (code, err) == (1, "")
    assert [sheet["login"] for sheet in answer["added"]] == ["alice", "carol"]
    assert answer["refused"] == ["line 3, bob: bob exists already: choose another login"]
    assert set(node.users) == {"alice", "bob", "carol"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "holds no users"),
        ("login,colour\na,red\n", "the column 'colour' is none of login, password"),
        ("alice\nbob\nalice\n", "alice appears twice, the second time in line 3"),
        ("a,b,c,d,e\n", "line 1 has 5 values"),
        (",secret\n", "line 1 has no login"),
        ('a,"b\n', "is not CSV"),
    ],
)
def test_a_file_that_will_not_do_adds_nobody(
    capsys: Capture, tmp_path: Path, node: MemoryNode, text: str, sentence: str
) -> None:
    file = tmp_path / "users.csv"
    file.write_text(text)
    code, out, err = outcome(capsys, "user", "add", "--from", str(file), "--state", str(tmp_path))
    assert (code, out, node.users) == (1, "", {})
    assert err.startswith(f"ringmesh: {file}")
    assert sentence in err


def test_users_of_a_folder_that_is_not_there(capsys: Capture, tmp_path: Path) -> None:
    code, _, err = outcome(capsys, "user", "list", "--state", str(tmp_path / "nope"))
    assert code == 1
    assert err.startswith(f"ringmesh: there is no state folder {tmp_path / 'nope'}: ")
    assert not (tmp_path / "nope").exists()


def test_the_configuration_is_checked_and_shown(capsys: Capture, tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text("port_offset = 20\n")
    assert outcome(capsys, "config", "check", "--config", str(file)) == (0, "fine\n", "")
    code, out, _ = outcome(capsys, "config", "show", "--config", str(file), "--json")
    assert (code, json.loads(out)["port_offset"]) == (0, 20)
    assert (
        "port_offset                 20\n"
        in outcome(capsys, "config", "show", "--config", str(file))[1]
    )
    file.write_text("port_offset = 21\n")
    code, _, err = outcome(capsys, "config", "check", "--config", str(file))
    assert code == 1
    assert err.startswith(f"ringmesh: {file}: port_offset is 21, but must be 0, or a multiple")


def test_control_characters_of_others_never_reach_the_terminal(
    capsys: Capture, tmp_path: Path, node: MemoryNode
) -> None:
    node.live_calls["c1"]["from"] = "\x1b[2Jevil\n"
    out = outcome(capsys, "call", "list", "--state", str(tmp_path))[1]
    assert "\x1b" not in out
    assert "?[2Jevil?" in out


def test_version_starts_without_the_heavy_parts() -> None:
    """Start-up stays short because nothing of the node is imported."""
    script = (
        "import sys; from node.cli.commands import run; code = run(['version', '--json']);"
        "heavy = {'asyncio', 'aiohttp', 'sqlalchemy', 'aioquic', 'structlog', 'zeroconf', 'uvloop',"
        " 'cryptography', 'rich.console'} & set(sys.modules);"
        "sys.exit(f'imported: {heavy}' if heavy else code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["protocol"] == "ringmesh/1"
