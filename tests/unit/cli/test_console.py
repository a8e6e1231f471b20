"""`console`, `invite`, `user provision` and `user links` on the command line."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from federation.model.clocks import SystemClock, SystemEntropy
from node.cli.commands import run
from node.control import RefusedError
from node.storage.one_time import DeviceLinkBook, InvitationBook
from node.web.desk import WebDesk
from node.web.invitations import InvitationDesk
from node.web.provisioning import ProvisioningDesk
from tests.support.admin_server import serving
from tests.support.memory_node import MemoryNode
from tests.support.web_client import Kept, an_access

Capture = pytest.CaptureFixture[str]


class Flushed(Kept):
    """A storage that keeps rows at once."""

    async def flush(self) -> None:
        """Nothing waits."""


def account(login: str) -> Any:
    if login != "alice":
        raise RefusedError(f"no account {login!r} here", 404)
    return SimpleNamespace(login=login)


@pytest.fixture
def node() -> MemoryNode:
    node, kept = MemoryNode(), Flushed()
    shared: Any = {"clock": SystemClock(), "entropy": SystemEntropy(), "only_here": True}
    shared["url"] = lambda: "http://127.0.0.1:8060"
    node.web_desk = WebDesk(  # type: ignore[assignment]
        an_access(),
        kept,  # type: ignore[arg-type]
        enabled=True,
        url=shared["url"],
        entropy=SystemEntropy(),
    )
    extra: Any = node
    extra.invitation_desk = InvitationDesk(InvitationBook([], kept), kept, **shared)  # type: ignore[arg-type]
    extra.provisioning_desk = ProvisioningDesk(
        DeviceLinkBook([], kept),
        kept,  # type: ignore[arg-type]
        account=account,
        **shared,
    )
    return node


@pytest.fixture
def state(tmp_path: Path, node: MemoryNode) -> Iterator[tuple[str, str]]:
    with serving(node, tmp_path / "api.sock"):  # type: ignore[arg-type]
        yield "--state", str(tmp_path)


def test_a_link_is_all_that_is_printed(capsys: Capture, state: tuple[str, str]) -> None:
    assert run(["console", "link", *state]) == 0
    assert capsys.readouterr().out.startswith("http://127.0.0.1:8060/enter/")


def test_a_token_is_made_listed_and_revoked(capsys: Capture, state: tuple[str, str]) -> None:
    assert run(["console", "token", "monitor", "--ttl", "7d", *state]) == 0
    made = capsys.readouterr()
    assert len(made.out.strip()) == 32
    assert "only now" in made.err
    assert run(["console", "list", *state]) == 0
    shown = capsys.readouterr().out
    assert "token  monitor" in shown
    assert made.out.strip() not in shown
    assert run(["console", "revoke", "monitor", *state]) == 0
    assert capsys.readouterr().out == "1 ended\n"
    assert run(["console", "revoke", "monitor", *state]) == 1
    assert "`ringmesh console list` shows what there is" in capsys.readouterr().err
    assert run(["console", "token", "x", "--ttl", "soon", *state]) == 1
    assert "'soon' is no time" in capsys.readouterr().err


def test_the_password_is_set_generated_and_taken_away(
    capsys: Capture, state: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("from standard input\n"))
    assert run(["console", "password", "--password", "-", *state]) == 0
    assert "from standard input" in capsys.readouterr().out
    assert run(["console", "password", "--json", *state]) == 0
    assert len(json.loads(capsys.readouterr().out)["password"]) == 16
    assert run(["console", "password", "--password", "short", *state]) == 1
    assert "10 to 256 characters" in capsys.readouterr().err
    assert run(["console", "password", "--off", *state]) == 0
    assert "ringmesh console link opens it" in capsys.readouterr().out


def test_an_invitation_is_made_listed_and_taken_back(
    capsys: Capture, state: tuple[str, str]
) -> None:
    made = ["invite", "create", "--uses", "3", "--ttl", "2d", "--note", "family", *state]
    assert run(made) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("http://127.0.0.1:8060/join/")
    assert "Only this machine can open it" in shown.err
    assert run(["invite", "list", "--json", *state]) == 0
    (one,) = json.loads(capsys.readouterr().out)
    assert (one["note"], one["uses"], one["used"]) == ("family", 3, 0)
    assert run(["invite", "revoke", one["id"], *state]) == 0
    capsys.readouterr()
    assert run(["invite", "list", *state]) == 0
    assert capsys.readouterr().out == "none: ringmesh invite create\n"


def test_a_device_link_says_what_each_device_is_told(
    capsys: Capture, state: tuple[str, str]
) -> None:
    assert run(["user", "provision", "alice", *state]) == 0
    shown = capsys.readouterr().out
    for name in ("linphone.xml", "yealink/", "grandstream/", "snom/{mac}.xml", "poly/"):
        assert name in shown
    assert run(["user", "links", *state]) == 0
    assert "alice" in capsys.readouterr().out
    assert run(["user", "provision", "nobody", *state]) == 1
    assert "no account 'nobody'" in capsys.readouterr().err


def test_a_node_without_a_web_server_says_so(
    capsys: Capture, state: tuple[str, str], node: MemoryNode
) -> None:
    node.web_desk._enabled = False  # type: ignore[attr-defined]
    assert run(["console", "link", *state]) == 1
    assert "set web.enabled to true" in capsys.readouterr().err
