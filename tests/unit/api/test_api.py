"""The admin API and its client, joined by a Unix socket."""

import base64
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from federation.model.errors import ConfigError, PeerError, RingmeshError, UsageError
from node.api import MAX_BODY_BYTES, ApiServer
from node.api_client import ApiClient, NodeNotRunningError
from node.api_resources import MAX_TARGET
from node.control import RefusedError
from node.unix_socket import connect_to
from tests.support.admin_server import serving
from tests.support.memory_node import MemoryNode


@pytest.fixture
def node() -> MemoryNode:
    return MemoryNode()


@pytest.fixture
def client(node: MemoryNode, tmp_path: Path) -> Iterator[ApiClient]:
    with serving(node, tmp_path / "api.sock"):
        yield ApiClient(tmp_path / "api.sock", timeout=5)


def test_the_socket_is_its_owners_alone_and_goes_with_the_server(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    with serving(MemoryNode(), path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    with pytest.raises(NodeNotRunningError):
        ApiClient(path).get("status")
    with serving(MemoryNode(), path):
        assert ApiClient(path).get("status")["ready"] is True


def test_a_long_path_is_reached_like_a_short_one(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 100) / ("e" * 100)
    folder.mkdir(parents=True)
    with serving(MemoryNode(), folder / "api.sock"):
        assert ApiClient(folder / "api.sock").get("status")["ready"] is True
    assert list(folder.iterdir()) == []


async def test_a_place_where_no_socket_can_be_is_named(tmp_path: Path) -> None:
    server = ApiServer(MemoryNode(), tmp_path / "missing" / "api.sock")
    with pytest.raises(ConfigError, match=r"api\.sock cannot be made: No such file"):
        await server.start()
    await server.close()


def test_no_node_is_said_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NodeNotRunningError) as caught:
        ApiClient(tmp_path / "api.sock").get("status")
    assert str(caught.value) == (
        f"no node is running on {tmp_path}: start one with `ringmesh up`, "
        "or name its folder with --state"
    )


def test_every_question_has_its_answer(client: ApiClient) -> None:
    assert client.get("status")["accounts"] == 0
    assert client.get("peers")[0]["linked"] is True
    assert client.get("resolve", uri="echo")["kind"] == "service"
    assert client.get("why", uri="12345")["status"] == 404
    assert client.get("dht")["contacts"] == 3
    assert client.get("pins") == []
    assert [each["domain"] for each in client.get("domains")] == ["conf.example"]
    assert client.get("users") == []
    assert [call["id"] for call in client.get("calls")] == ["c1"]


def test_a_user_is_made_shown_changed_and_removed(client: ApiClient, node: MemoryNode) -> None:
    body = {"login": "alice", "password": None, "extension": "101", "name": "Alice Ünal"}
    made = client.post("users", body=body)
    assert (made["login"], made["password"], made["name"]) == ("alice", "generated7", "Alice Ünal")
    assert made["server"] == "192.0.2.7:5070"
    assert "password" not in client.get("users", "alice")
    changed = client.post("users", "alice", "password", body={"password": "secret99"})
    assert changed["password"] == "secret99"
    assert client.delete("users", "alice") == {"removed": "alice"}
    assert node.users == {}


def test_a_user_of_another_node_arrives(client: ApiClient) -> None:
    key = base64.b64encode(bytes(32)).decode()
    account = {"login": "alice", "name": "", "extension": None, "seed": key, "number": None}
    account |= {"node": "x", "digest": "both", "created_at": 1.0}
    arrived = client.post("users", "import", body={"account": account})
    assert arrived["login"] == "alice"
    assert "password" not in arrived
    body = {"account": account | {"seed": "c2hvcnQ="}, "arrival": {"login": "bob"}}
    with pytest.raises(RefusedError, match="will not do") as refused:
        client.post("users", "import", body=body)
    assert refused.value.status == 400


def test_a_domain_is_added_checked_and_removed(client: ApiClient) -> None:
    added = client.post("domains", body={"name": "example.org"})
    assert (added["domain"], added["dns"][0]["type"]) == ("example.org", "TXT")
    assert client.get("domains", "example.org", "check")["dns"][0]["finding"] == "missing"
    assert client.delete("domains", "example.org") == {"removed": "example.org"}


@pytest.mark.parametrize("question", ["why", "resolve"])
def test_a_question_has_a_target_of_limited_length(client: ApiClient, question: str) -> None:
    for uri, sentence in (("", "say what to resolve"), ("1" * (MAX_TARGET + 1), "at most 1024")):
        with pytest.raises(RefusedError, match=sentence) as refused:
            client.get(question, uri=uri)
        assert refused.value.status == 400


def test_calls_are_ended_by_id_or_all(client: ApiClient) -> None:
    assert client.delete("calls", "c1") == {"ended": 1}
    assert client.delete("calls", "all") == {"ended": 0}
    with pytest.raises(RefusedError, match="there is no call c1"):
        client.delete("calls", "c1")


def test_a_trace_is_asked_for_by_an_id_of_any_form(client: ApiClient) -> None:
    assert client.get("calls", "c1@x/y", "trace")["parties"][0]["kind"] == "sip"
    with pytest.raises(RefusedError, match="nothing is kept") as refused:
        client.get("calls", "c2", "trace")
    assert refused.value.status == 404
    with pytest.raises(RefusedError, match="must be json or text"):
        client.get("calls", "c1@x/y", "trace", format="pcap")


def test_a_refusal_keeps_its_sentence_and_status(client: ApiClient) -> None:
    client.post("users", body={"login": "alice"})
    with pytest.raises(RefusedError) as caught:
        client.post("users", body={"login": "alice"})
    assert (str(caught.value), caught.value.status) == (
        "alice exists already: choose another login",
        409,
    )


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        (ConfigError("x is wrong"), 400, "x is wrong"),
        (PeerError("not a key"), 400, "not a key"),
        (RingmeshError("the disk is full"), 503, "the disk is full"),
        (UsageError("a bug"), 500, "the node answered 500 without JSON; look at its log"),
    ],
)
def test_every_error_of_ours_reaches_the_person(
    client: ApiClient,
    node: MemoryNode,
    monkeypatch: pytest.MonkeyPatch,
    error: RingmeshError,
    status: int,
    sentence: str,
) -> None:
    async def fail(_: str) -> None:
        raise error

    monkeypatch.setattr(node, "user_remove", fail)
    with pytest.raises(RefusedError) as caught:
        client.delete("users", "alice")
    assert (str(caught.value), caught.value.status) == (sentence, status)


def test_a_name_with_a_slash_stays_one_name(client: ApiClient) -> None:
    with pytest.raises(RefusedError, match=r"there is no user a/\.\./b"):
        client.get("users", "a/../b")


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({}, "the request's JSON will not do: Object missing required field `login`"),
        ({"login": 3}, "Expected `str`, got `int`"),
        ({"login": "a", "colour": "red"}, "unknown field `colour`"),
        ({"login": "a", "name": "x" * MAX_BODY_BYTES}, "may have at most"),
    ],
)
def test_a_body_that_will_not_do_is_refused(
    client: ApiClient, node: MemoryNode, body: dict[str, object], sentence: str
) -> None:
    with pytest.raises(RefusedError, match=sentence) as caught:
        client.post("users", body=body)
    assert caught.value.status in (400, 413)
    assert node.users == {}


def test_an_unknown_resource_or_method_is_a_sentence(client: ApiClient) -> None:
    with pytest.raises(RefusedError, match="there is no such resource") as caught:
        client.get("frobs")
    assert caught.value.status == 404
    with pytest.raises(RefusedError, match="does not take this method"):
        client.delete("status")
    with pytest.raises(RefusedError, match="say what to resolve"):
        client.get("resolve")


def test_garbage_on_the_socket_disturbs_nobody(client: ApiClient, tmp_path: Path) -> None:
    with connect_to(tmp_path / "api.sock", timeout=5) as raw:
        raw.sendall(b"\x00\xffgarbage\r\n\r\n")
        assert b" 400 " in raw.recv(4096).partition(b"\r\n")[0]
    with connect_to(tmp_path / "api.sock", timeout=5):
        assert client.get("status")["ready"] is True


def test_an_answer_that_does_not_come_is_told(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))
        silent.listen()
        with pytest.raises(RefusedError, match=r"no answer in 0\.05 s"):
            ApiClient(path, timeout=0.05).get("status")


def test_what_is_no_http_is_answered_and_not_logged(
    client: ApiClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever sends it hears 400; the log keeps its errors for mistakes of ours."""
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(str(tmp_path / "api.sock"))
        raw.sendall(b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.0 400")
    assert client.get("status")["ready"] is True
    assert [record.message for record in caplog.records] == []
