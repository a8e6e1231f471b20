"""`ringmesh message`: what people and programs read of it, and how it is refused."""

import json
from pathlib import Path

import pytest

from node.cli.commands import run
from node.control import JsonObject, RefusedError
from tests.support.admin_server import serving
from tests.support.memory_node import MemoryNode

WAITING = {
    "from": "083207869783895",
    "name": "unverified: \x1b[2J",
    "verified": False,
    "sent": "Sat, 13 Nov 2010 23:29:00 GMT",
    "bytes": 12,
    "expires": "2026-12-07T04:42:14Z",
}


class Desk:
    """Stands for `node.message_desk.MessageDesk`."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, str]] = []
        self.kept = True
        self.messages: list[JsonObject] = [WAITING]

    async def send(self, sender: str, to: str, text: str) -> JsonObject:
        if sender == "nobody":
            raise RefusedError("no account 'nobody' here", 404)
        self.sent.append((sender, to, text))
        return {"from": sender, "to": to, "kept": self.kept}

    def waiting(self, login: str) -> list[JsonObject]:
        return self.messages


def outcome(
    capsys: pytest.CaptureFixture[str], folder: Path, *command: str, desk: Desk
) -> tuple[int, str, str]:
    node = MemoryNode()
    node.message_desk = desk  # type: ignore[attr-defined]
    with serving(node, folder / "api.sock"):  # type: ignore[arg-type]
        code = run(["message", *command, "--state", str(folder)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize(
    ("kept", "said"), [(True, "kept until a device registers\n"), (False, "delivered\n")]
)
def test_what_became_of_a_message(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, kept: bool, said: str
) -> None:
    desk = Desk()
    desk.kept = kept
    found = outcome(capsys, tmp_path, "send", "alice", "bob@b.test", "h\u00e9", desk=desk)
    assert found == (0, said, "")
    assert desk.sent == [("alice", "bob@b.test", "h\u00e9")]
    _, out, _ = outcome(capsys, tmp_path, "send", "alice", "bob", "x", "--json", desk=desk)
    assert json.loads(out) == {"from": "alice", "to": "bob", "kept": kept}


def test_a_message_of_nobody_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, err = outcome(capsys, tmp_path, "send", "nobody", "bob", "x", desk=Desk())
    assert (code, out) == (1, "")
    assert err == "ringmesh: no account 'nobody' here\n"


def test_what_waits_is_listed_without_control_characters(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    desk = Desk()
    code, out, _ = outcome(capsys, tmp_path, "list", "bob", desk=desk)
    assert code == 0
    assert "0832 0786 9783 895" in out
    assert "\x1b" not in out
    _, out, _ = outcome(capsys, tmp_path, "list", "bob", "--json", desk=desk)
    assert json.loads(out) == [WAITING]
    desk.messages = []
    assert outcome(capsys, tmp_path, "list", "bob", desk=desk)[1] == "no messages wait\n"
