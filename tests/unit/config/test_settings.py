"""File < environment < options, and complaints that name the place."""

from pathlib import Path

import pytest

from federation.model.errors import ConfigError
from node.settings import MAX_FILE_BYTES, OptionError, load, variable_of


def a_file(folder: Path, text: str) -> Path:
    file = folder / "node.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_later_sources_win_key_by_key(tmp_path: Path) -> None:
    file = a_file(
        tmp_path,
        'network = "a"\nport_offset = 10\n'
        '[mesh]\njoin = ["x:1"]\nmdns = false\n[media]\nworkers = 3',
    )
    environment = {"RINGMESH_NETWORK": "b", "RINGMESH_MESH_JOIN": "y:2, z:3", "HOME": "/x"}
    config = load(file, environment, {"network": "c", "media.workers": None})
    assert config.network == "c"
    assert config.mesh.join == ("y:2", "z:3")
    assert config.mesh.mdns is False
    assert (config.port_offset, config.media.workers) == (10, 3)


def test_a_branch_of_one_source_keeps_the_other_keys_of_another(tmp_path: Path) -> None:
    config = load(a_file(tmp_path, "[sip]\nport = 5070"), {"RINGMESH_LOG_LEVEL": "debug"})
    assert (config.sip.port, config.log.level, config.log.format) == (5070, "debug", "auto")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[sip]\nport = 'x'", "sip.port is 'x', but must be a whole number"),
        ("[sip]\nport = true", "sip.port is True, but must be a whole number"),
        ("[sip]\nport = 0", "sip.port is 0, but must be a port from 1 to 65535"),
        ("sip = 3", "sip is 3, but must be a section: [sip]"),
        ("network = 3", 'network is 3, but must be text in quotes, like "this"'),
        ("[mesh]\nmdns = 1", "mesh.mdns is 1, but must be true or false"),
        ("domains = 'a.org'", "domains is 'a.org', but must be a list of texts, like [\"this\"]"),
        ("port_offset = 7", "port_offset is 7, but must be 0, or a multiple of 10 up to 280"),
        ("prt_offset = 7", "prt_offset is not a setting; did you mean port_offset?"),
        ("[foo]\nport = 1", "foo is not a setting; known are "),
        ("[mesh]\nworkers = 1", "mesh.workers is not a setting; did you mean media.workers?"),
        ("[log]\nformat = 'xml'", "log.format is 'xml', but must be auto, text or json"),
    ],
)
def test_a_complaint_names_file_key_found_and_what_would_do(
    tmp_path: Path, text: str, sentence: str
) -> None:
    file = a_file(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert str(caught.value).startswith(f"{file}: {sentence}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("RINGMESH_SIP_PORT", "x", "is 'x', but must be a whole number"),
        ("RINGMESH_MESH_MDNS", "maybe", "is 'maybe', but must be true or false"),
        ("RINGMESH_LISTEN", "here", "is 'here', but must be one IP address of this machine"),
        ("RINGMESH_SIP_PRT", "1", "is not a setting; did you mean RINGMESH_SIP_PORT?"),
    ],
)
def test_a_complaint_about_the_environment_names_the_variable(
    name: str, text: str, sentence: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(environment={name: text})
    assert str(caught.value) == f"{name} in the environment {sentence}"


def test_a_complaint_about_an_option_is_wrong_usage() -> None:
    with pytest.raises(OptionError) as caught:
        load(options={"mesh.join": ["a:1", "b:x"]})
    assert str(caught.value).startswith("--join is 'b:x', but must be HOST:PORT")


@pytest.mark.parametrize("text", ["1", "true", "YES", "on"])
def test_the_environment_says_true_in_several_words(text: str) -> None:
    assert load(environment={"RINGMESH_MESH_MDNS": text}).mesh.mdns is True


def test_variables_that_say_where_things_are_are_no_settings() -> None:
    assert load(environment={"RINGMESH_STATE": "/x", "RINGMESH_CONFIG": "/y"}) == load()


def test_variables_are_spelt_like_keys() -> None:
    assert variable_of("media.first_port") == "RINGMESH_MEDIA_FIRST_PORT"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"a = ", "is not TOML"),
        (b"\xff", "is not UTF-8 text"),
        (b"#" * (MAX_FILE_BYTES + 1), "has over"),
    ],
)
def test_an_unreadable_file_is_named(tmp_path: Path, content: bytes, sentence: str) -> None:
    file = tmp_path / "node.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=sentence) as caught:
        load(file)
    assert str(caught.value).startswith(str(file))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nope\.toml cannot be read: No such file"):
        load(tmp_path / "nope.toml")
