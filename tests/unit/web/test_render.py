"""How figures, names and forms are written and read by the console's pages."""

from typing import Any
from xml.etree import ElementTree

import pytest

from node.control import RefusedError
from node.web.device_files import file_at, split_server
from node.web.forms import Form
from node.web.names import caller
from node.web.pages.entrance import _own_path
from node.web.render import MOST_ROWS, fragment, lasting, qr, quality_word, size, trunk_state
from tests.support.memory_node import KEY


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (None, "—"),
        (0, "0 B"),
        (999, "999 B"),
        (1500, "1.5 kB"),
        (5e9, "5.0 GB"),
        (3.2e14, "320 TB"),
    ],
)
def test_bytes_have_a_unit(count: float | None, shown: str) -> None:
    assert size(count) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, "—"), (5.9, "0:05"), (75, "1:15"), (3700, "1 h 01 min"), (200_000, "2 d 7 h")],
)
def test_times_have_two_units(seconds: float | None, shown: str) -> None:
    assert lasting(seconds) == shown


def stream(**values: Any) -> dict[str, Any]:
    return {"packets": 1000, "lost": 0, "mos": None} | values


@pytest.mark.parametrize(
    ("heard", "word"),
    [
        (None, "unknown"),
        (stream(packets=0), "unknown"),
        (stream(mos=4.41), "good"),
        (stream(mos=3.7), "fair"),
        (stream(mos=2.0), "bad"),
        (stream(lost=5), "good"),
        (stream(lost=30), "fair"),
        (stream(lost=100), "bad"),
    ],
)
def test_sound_is_judged_in_a_word(heard: dict[str, Any] | None, word: str) -> None:
    assert quality_word(heard) == word


def test_callers_are_short() -> None:
    assert caller("023456789012345@192.0.2.1") == "0234\xa05678\xa09012\xa0345"
    assert caller(f"bob@{KEY.id.key_name}") == f"bob@{KEY.id.text[:8]}….ringmesh.alt"
    assert caller("bob@example.org") == "bob@example.org"


def test_states_of_trunks_have_a_colour() -> None:
    words = ("registered", "reachable", "starting", "not registered", "failed", "refused", None)
    assert [trunk_state(word) for word in words] == [
        "good", "good", "fair", "fair", "bad", "bad", "unknown",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "path"),
    [
        ("/relay?x=1", "/relay?x=1"),
        ("", "/"),
        ("//evil.example/", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example/", "/"),
        ("/a\nb", "/"),
        ("javascript:alert(1)", "/"),
    ],
)
def test_a_login_leads_to_this_server_only(asked: str, path: str) -> None:
    assert _own_path(asked) == path


def test_a_form_reads_numbers_or_says_what_is_wrong() -> None:
    form = Form({"n": " 12 ", "x": "1,5", "bad": "many", "list": "a, b\nc,", "empty": "  "})
    assert (form.number("n", "n"), form.amount("x", "x")) == (12, 1.5)
    assert form.lines("list") == ["a", "b", "c"]
    assert (form.text("empty"), form["none"], form.number("none", "n")) == (None, "", None)
    for read in (form.number, form.amount):
        with pytest.raises(RefusedError, match="the speed is 'many', but must be"):
            read("bad", "the speed")


@pytest.mark.parametrize(
    "path",
    [
        "", "linphone.xml/", "../linphone.xml", "yealink/", "yealink/zz1565aabbcc.cfg",
        "yealink/001565aabbcc.cfg\n", "grandstream/cfg.xml", "poly/001565aabbcc.cfg", "snom/x.xml",
    ],
)  # fmt: skip
def test_devices_are_given_no_other_file(path: str) -> None:
    assert file_at(path) is None


@pytest.mark.parametrize(
    ("server", "host", "port"),
    [
        ("192.0.2.1", "192.0.2.1", 5060),
        ("192.0.2.1:5070", "192.0.2.1", 5070),
        ("[2001:db8::1]", "[2001:db8::1]", 5060),
        ("[2001:db8::1]:5070", "[2001:db8::1]", 5070),
        ("example.org", "example.org", 5060),
    ],
)
def test_a_server_is_host_and_port(server: str, host: str, port: int) -> None:
    assert split_server(server) == (host, port)


def test_templates_escape_what_they_are_given() -> None:
    call = {"id": "1", "from": "<script>", "to": "b", "state": "up", "since": 1, "codec": None}
    streams = {"from_caller": None, "from_callee": None}
    shown = fragment("part_calls.html", {"calls": [call | streams], "csrf": '"x'})
    assert "<script>" not in shown
    assert 'value="&#34;x"' in shown


def test_a_table_of_calls_is_bounded() -> None:
    call = {"from": "a", "to": "b", "state": "up", "since": 1, "codec": None}
    streams = {"from_caller": None, "from_callee": None}
    calls = [call | streams | {"id": str(number)} for number in range(MOST_ROWS + 7)]
    shown = fragment("part_calls.html", {"calls": calls, "csrf": "x"})
    assert shown.count("data-call=") == MOST_ROWS
    assert "and 7 more" in shown


def test_a_qr_code_is_svg_without_styles_or_scripts() -> None:
    drawn = str(qr("sip:alice:secret@192.0.2.1"))
    assert drawn.startswith("<svg ")
    assert 'class="qr"' in drawn
    assert "style=" not in drawn
    assert "secret" not in drawn


NAME = 'Bob "the <i>" O\'Neil & \\ co'
SHEET = {"login": "bob", "name": NAME, "password": 'p"<&>', "server": "192.0.2.1:5070"}


@pytest.mark.parametrize(
    "path",
    [
        "linphone.xml",
        "grandstream/cfg001565aabbcc.xml",
        "snom/001565aabbcc.xml",
        "poly/ringmesh.cfg",
    ],
)
def test_a_device_s_xml_holds_any_name(path: str) -> None:
    file = file_at(path)
    assert file is not None
    root = ElementTree.fromstring(file.write(SHEET))
    held = [text for each in root.iter() for text in (each.text, *each.attrib.values())]
    assert SHEET["password"] in held
    if path != "linphone.xml":
        assert NAME in held


def test_linphone_s_identity_quotes_a_name_as_sip_does() -> None:
    file = file_at("linphone.xml")
    assert file is not None
    root = ElementTree.fromstring(file.write(SHEET))
    (identity,) = [each.text for each in root.iter() if each.get("name") == "reg_identity"]
    quoted = '"Bob \\"the <i>\\" O\'Neil & \\\\ co"'
    assert identity == f"{quoted} <sip:bob@192.0.2.1:5070>"
