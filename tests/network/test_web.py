"""The web server of a real node: rights, files for devices, invitations, and bad input."""

import json
import re
import shutil
import subprocess
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.api_openapi import document
from node.api_operations import OPERATIONS
from node.web.pages.visitors import WRONG_SECONDS
from node.web.rates import TRIES_AT_ONCE
from tests.support.web_node import WebNode, running_web_node

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebNode]:
    with running_web_node(tmp_path_factory.mktemp("web"), "web-test") as node:
        node.enter()
        yield node


def device_link(node: WebNode, login: str = "phone1") -> dict[str, Any]:
    made: dict[str, Any] = node.api("POST", f"/v1/users/{login}/provisioning", {}).json()
    return made


def path_of(url: str) -> str:
    return urllib.parse.urlsplit(url).path


def test_what_is_answered_is_what_is_described(node: WebNode) -> None:
    """Every answer that needs no more than this node fits its type."""
    node.api("POST", "/v1/users", {"login": "shape"})
    node.api("POST", "/v1/groups", {"login": "shapes", "members": ["shape"]})
    node.api("POST", "/v1/trunks", {"name": "shape-pbx", "kind": "pbx"})
    node.api("POST", "/v1/dids", {"number": "+4930123456", "target": "shape"})
    node.api("POST", "/v1/bans", {"address": "192.0.2.99"})
    node.api("POST", "/v1/invitations", {})
    device_link(node, "shape")
    values = {"login": "shape", "name": "shape-pbx"}
    for name, operation in OPERATIONS.items():
        method, _, path = name.partition(" ")
        if method != "GET" or path.endswith(("/trace", "/check", "/test")):
            continue
        path = path.replace("groups/{login}", "groups/shapes")
        query = "?uri=shape" if operation.query.get("uri!") else ""
        answer = node.api("GET", path.format(**values) + query)
        assert answer.status == operation.status, (name, answer.text)
        msgspec.json.decode(answer.body, type=operation.answer)


def test_health_is_for_everybody_and_figures_are_not(node: WebNode) -> None:
    assert node.ask("GET", "/healthz").status == 200
    assert node.ask("GET", "/readyz").status in (200, 503)
    assert node.ask("GET", "/metrics").status == 401
    assert node.ask("GET", "/v1/openapi.json").status == 401
    assert node.api("GET", "/metrics").status == 200


def test_a_device_link_works_once(node: WebNode) -> None:
    """Looking at it changes nothing; the fetch gives a new password and closes it."""
    node.api("POST", "/v1/users", {"login": "desk", "name": "Desk & Söhne"})
    link = device_link(node, "desk")
    folder = path_of(link["folder"])
    assert "Yealink" in node.page(folder).text
    assert node.ask("HEAD", f"{folder}yealink/001565aabbcc.cfg").status == 405
    assert node.ask("GET", f"{folder}yealink/y000000000028.cfg").status == 404
    fetched = node.ask("GET", f"{folder}yealink/001565aabbcc.cfg")
    assert fetched.status == 200
    assert "account.1.label = Desk & Söhne" in fetched.text
    password = re.search(r"password = (\w{16})", fetched.text)
    assert password is not None
    started = time.monotonic()
    again = node.ask("GET", f"{folder}yealink/001565aabbcc.cfg")
    assert again.status == 410
    assert "ask for another" in again.json()["error"]
    assert time.monotonic() - started >= WRONG_SECONDS
    assert node.logged("device_provisioned")[-1]["login"] == "desk"
    assert node.logged("provisioning_refused")[-1]["source"]
    assert password[1] not in node.log.read_text()


@pytest.mark.parametrize(
    ("file", "wanted"),
    [
        ("linphone.xml", r'<entry name="passwd" overwrite="true">(\w{16})</entry>'),
        ("grandstream/cfg000b82aabbcc.xml", r"<P34>(\w{16})</P34>"),
        ("snom/000413aabbcc.xml", r'<user_pass idx="1" perm="">(\w{16})</user_pass>'),
        ("poly/ringmesh.cfg", r'reg\.1\.auth\.password="(\w{16})"'),
    ],
)
def test_each_maker_s_file_has_the_password(node: WebNode, file: str, wanted: str) -> None:
    answer = node.ask("GET", path_of(device_link(node)["folder"]) + file)
    assert answer.status == 200
    assert re.search(wanted, answer.text), answer.text


def test_a_poly_phone_is_led_to_its_file(node: WebNode) -> None:
    """Its master file names the other one, and does not use the link up."""
    folder = path_of(device_link(node)["folder"])
    master = node.ask("GET", f"{folder}poly/000000000000.cfg")
    assert 'CONFIG_FILES="ringmesh.cfg"' in master.text
    assert node.ask("GET", f"{folder}poly/ringmesh.cfg").status == 200


def test_a_link_ends_with_its_account_and_by_its_id(node: WebNode) -> None:
    node.api("POST", "/v1/users", {"login": "leaver"})
    gone, closed = device_link(node, "leaver"), device_link(node)
    node.api("DELETE", "/v1/users/leaver")
    node.api("DELETE", f"/v1/provisioning/{closed['id']}")
    for link in (gone, closed):
        assert node.ask("GET", path_of(link["linphone"])).status == 410


@pytest.mark.interop
@pytest.mark.skipif(shutil.which("linphonec") is None, reason="no linphonec (linphone-cli)")
def test_linphone_sets_itself_up(node: WebNode, tmp_path: Path) -> None:
    """It fetches the link and registers with what it found there."""
    node.api("POST", "/v1/users", {"login": "lin"})
    (tmp_path / ".local/share/linphone").mkdir(parents=True)
    rc = tmp_path / "rc"
    rc.write_text(
        f"[misc]\nconfig-uri={device_link(node, 'lin')['linphone']}\n"
        "[sip]\nuse_ipv6=0\nsip_port=0\nsip_tcp_port=0\nsip_tls_port=0\nbind_address=127.0.0.1\n"
    )
    linphone = subprocess.Popen(
        ["linphonec", "-c", str(rc), "-d", "6", "-l", str(tmp_path / "log")],
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 20
        while not (devices := node.api("GET", "/v1/users/lin").json()["devices"]):
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()[-3000:]
            time.sleep(0.2)
        assert "linphone" in devices[0]["user_agent"].lower()
    finally:
        linphone.communicate(b"quit\n", timeout=20)
    assert "SHA-256" in (tmp_path / "log").read_text(errors="replace")


def test_an_invitation_makes_as_many_accounts_as_it_says(node: WebNode) -> None:
    invitation = node.api("POST", "/v1/invitations", {"uses": 2, "note": "family"}).json()
    path = path_of(invitation["url"])
    assert "You are invited" in node.page(path).text
    first = node.submit(path, login="Guest1", name="First <b>Guest</b>")
    assert first.status == 200
    assert "First &lt;b&gt;Guest&lt;/b&gt;" in first.text
    assert re.search(r'class="secret">\w{16}<', first.text)
    taken = node.submit(path, login="guest1")
    assert taken.status == 409
    assert "guest1" in taken.text
    assert node.submit(path, login="guest2").status == 200
    over = node.submit(path, login="guest3")
    assert over.status == 410
    assert "ask whoever sent it for another" in over.text
    logins = {user["login"] for user in node.api("GET", "/v1/users").json()}
    assert {"guest1", "guest2"} <= logins
    assert "guest3" not in logins


def test_an_invitation_is_not_taken_from_another_site(node: WebNode) -> None:
    path = path_of(node.api("POST", "/v1/invitations", {}).json()["url"])
    headers = {"Origin": "http://evil.example", "Content-Type": "application/x-www-form-urlencoded"}
    assert node.ask("POST", path, b"login=evil", headers).status == 403


def test_forms_say_what_is_wrong_and_keep_what_was_typed(node: WebNode) -> None:
    for path, fields, sentence in (
        ("/accounts", {"login": "no spaces"}, "no spaces"),
        ("/accounts", {"login": ""}, "login"),
        ("/trunks", {"kind": "provider", "name": "x"}, "server"),
        ("/trunks", {"kind": "pbx", "name": "y", "max_calls": "many"}, "must be a whole number"),
        ("/numbers", {"number": "12", "target": "nobody"}, "12"),
        ("/relay", {"strangers": "on", "kbit": "1"}, "relay.kbit"),
        ("/domains", {"name": "not a domain"}, "will not do"),
        ("/bans", {"address": "everybody"}, "no IP address"),
        ("/messages", {"from": "phone1", "to": "", "text": "hello"}, "cannot be sent"),
        ("/invitations", {"uses": "9999"}, "9999 uses cannot be"),
        ("/access/password", {"password": "short", "again": "short"}, "10 to 256"),
        ("/access/password", {"password": "a" * 20, "again": "b" * 20}, "not the same"),
    ):
        answer = node.submit(path, **fields)
        assert 400 <= answer.status < 500, (path, answer.status)
        assert 'role="alert"' in answer.text
        assert sentence in answer.text.replace("&#39;", "'"), (path, sentence)
    for path in ("/accounts/nobody", "/trunks/none", "/calls/none", "/nowhere"):
        answer = node.page(path)
        assert answer.status == 404, path
        assert "<h1>" in answer.text


def test_accounts_are_found_by_login_name_and_number(node: WebNode) -> None:
    made = node.api("POST", "/v1/users", {"login": "found", "name": "Émile Zóla"}).json()
    node.api("POST", "/v1/users", {"login": "other"})
    spoken = f"{made['number'][:4]} {made['number'][4:8]}"
    for wanted in ("foun", "émile", "ZÓLA", made["number"][3:9], spoken):
        page = node.page(f"/accounts?q={urllib.parse.quote(wanted)}").text
        assert ">found</a>" in page, wanted
        assert ">other</a>" not in page, wanted
    assert "Nobody is called so" in node.page("/accounts?q=%3Cscript%3E").text


def test_a_password_opens_the_console_and_guessing_is_slow(node: WebNode) -> None:
    node.command("console", "password", "--password", "correct horse")
    stranger = WebNode(node.place, node.state, node.log)
    for _ in range(2):
        wrong = stranger.submit("/login", password="wrong horse", next="/relay")
        assert (wrong.status, "That is not the password" in wrong.text) == (403, True)
    right = stranger.submit("/login", password="correct horse", next="//evil.example/")
    assert (right.status, right.headers["Location"]) == (303, "/")
    stranger.keep_cookies(right)
    assert stranger.page("/relay").status == 200
    assert stranger.submit("/logout").status == 303
    assert stranger.page("/relay").headers["Location"] == "/login?next=/relay"
    assert node.page("/relay").status == 200


def _junk() -> st.SearchStrategy[Any]:
    """No digits and dots, so that nothing is an address that could be reached."""
    letters = st.text("abcxyzäß \x00\n\"'<>{}%/\\@;:=", max_size=40)
    return letters | st.none() | st.booleans() | st.integers(-5, 10**12) | st.lists(letters)


def _of(
    schema: dict[str, Any], all_of_them: dict[str, Any], *, spoilt: bool
) -> st.SearchStrategy[Any]:
    """Values for a schema: as it wants them, or with some that it does not want."""
    if "$ref" in schema:
        return _of(all_of_them[schema["$ref"].rpartition("/")[2]], all_of_them, spoilt=spoilt)
    if "anyOf" in schema:
        return st.one_of([_of(part, all_of_them, spoilt=spoilt) for part in schema["anyOf"]])
    match schema.get("type"):
        case "object":
            fields = {
                name: _of(part, all_of_them, spoilt=spoilt) | (_junk() if spoilt else st.nothing())
                for name, part in schema.get("properties", {}).items()
            }
            needed = set(schema.get("required", ()))
            return st.fixed_dictionaries(
                {name: value for name, value in fields.items() if name in needed},
                optional={name: value for name, value in fields.items() if name not in needed},
            )
        case "array":
            return st.lists(_of(schema.get("items", {}), all_of_them, spoilt=spoilt), max_size=4)
        case "string":
            known = ["", "all", "alice", "bob", "phone1", "pbx", "provider", "in-turn", "single"]
            return st.sampled_from(known) | st.text("abcäß \x00\n<>%/@", max_size=40)
        case "integer" | "number":
            return st.integers(-10, 400) | st.integers(-(10**9), 10**9)
        case "boolean":
            return st.booleans()
    return _junk()


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, str, bytes | None]:
    described = document()
    path = draw(st.sampled_from(sorted(described["paths"])))
    method = draw(st.sampled_from(sorted(described["paths"][path])))
    operation = described["paths"][path][method]
    word = st.sampled_from(
        ["alice", "alice", "bob", "phone1", "all", "none", "%00", "..%2f", "%ff", "a b"]
    )
    for name in re.findall(r"{(\w+)}", path):
        path = path.replace(f"{{{name}}}", urllib.parse.quote(draw(word), safe="%"))
    query = {
        parameter["name"]: draw(st.text("abc@<>%\x00ü", max_size=30))
        for parameter in operation.get("parameters", ())
        if parameter["in"] == "query"
    }
    if query:
        path += "?" + urllib.parse.urlencode(query)
    if "requestBody" not in operation:
        return method.upper(), path, None
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    spoilt = draw(st.sampled_from([False, False, True]))
    body = draw(_of(schema, described["components"]["schemas"], spoilt=spoilt))
    if spoilt:
        body = draw(st.just(body) | _junk())
    raw = draw(st.sampled_from([b"{", b"\xff\xfe", b"[]" * 1000, *[None] * 12]))
    return method.upper(), path, json.dumps(body).encode() if raw is None else raw


def test_no_request_makes_the_api_fail(node: WebNode) -> None:
    """Whatever comes, the answer is one that is described, and the node goes on."""

    @settings(
        max_examples=400,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(requests())
    def one(request: tuple[str, str, bytes | None]) -> None:
        method, path, body = request
        answer = node.ask(method, path, body, {"Authorization": f"Bearer {node.token}"})
        assert answer.status < 500 or answer.status == 503, (request, answer)
        if answer.status >= 400:
            assert answer.json()["error"], request

    one()
    assert node.api("GET", "/v1/status").json()["ready"] is True


def test_tries_from_one_source_are_limited(node: WebNode) -> None:
    """The last of the file: this machine has to wait after it."""
    statuses = []
    connection_headers = {"Accept": "text/html"}
    for number in range(TRIES_AT_ONCE + 2):
        if number and statuses[-1] == 429:
            break
        statuses.append(node.ask("GET", f"/join/none{number}", headers=connection_headers).status)
    assert statuses[-1] == 429
    assert set(statuses[:-1]) == {410}
    assert node.logged("tries_refused")
