"""Whatever stands in a file, a variable or an option: a configuration, or one sentence."""

import ipaddress
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from federation.model.errors import ConfigError
from node.cli.user_file import NewUser, read_users
from node.config import SettingError, split_target
from node.settings import OPTION_NAMES, load, variable_of

KEYS = (
    "network", "puzzle_bits", "listen", "port_offset", "domains", "sip.port", "mesh.port",
    "mesh.join", "mesh.mdns", "media.workers", "media.first_port", "media.last_port",
    "dialling.emergency_numbers", "log.format", "log.level",
)  # fmt: skip
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=40),
    st.lists(st.text(max_size=20), max_size=3),
)
MODERATE = settings(max_examples=150, deadline=None)


def complaint_of(work: Callable[[], object]) -> str | None:
    """What `work` complains of, which is never anything but a `ConfigError`; `None`: nothing."""
    try:
        work()
    except ConfigError as error:
        return str(error)
    return None


def is_one_sentence(text: str) -> bool:
    return bool(text) and "\n" not in text and "\r" not in text


@MODERATE
@given(st.dictionaries(st.sampled_from(KEYS), st.text(max_size=60), max_size=4))
def test_any_environment_is_a_configuration_or_a_sentence(found: dict[str, str]) -> None:
    environment = {variable_of(key): text for key, text in found.items()}
    complaint = complaint_of(lambda: load(environment=environment))
    assert complaint is None or is_one_sentence(complaint)
    assert complaint is None or any(name in complaint for name in environment)


@MODERATE
@given(st.dictionaries(st.sampled_from(sorted(OPTION_NAMES)), VALUES, max_size=4))
def test_any_options_are_a_configuration_or_a_sentence(found: dict[str, Any]) -> None:
    complaint = complaint_of(lambda: load(options=found))
    assert complaint is None or is_one_sentence(complaint)
    assert complaint is None or any(OPTION_NAMES[key] in complaint for key in found)


@MODERATE
@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
def test_any_file_is_a_configuration_or_a_sentence(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "node.toml"
        file.write_bytes(content)
        complaint = complaint_of(lambda: load(file))
    assert complaint is None or complaint.startswith(str(file))


@MODERATE
@given(st.text(max_size=300))
def test_any_join_target_is_read_or_refused(text: str) -> None:
    try:
        host, port = split_target(text)
    except SettingError:
        return
    assert 0 < port < 65536
    assert host
    assert not set(host) & set(" []/@\x00\n")


@MODERATE
@given(st.ip_addresses(), st.integers(1, 65535))
def test_an_address_and_a_port_are_read_back(
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int
) -> None:
    text = f"[{ip}]:{port}" if ip.version == 6 else f"{ip}:{port}"
    assert split_target(text) == (str(ip), port)


@MODERATE
@given(st.one_of(st.binary(max_size=300), st.text(max_size=300).map(str.encode)))
def test_any_users_file_is_users_or_a_sentence(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "users.csv"
        file.write_bytes(content)
        users: list[NewUser] = []
        complaint = complaint_of(lambda: users.extend(read_users(file)))
    assert (complaint is None) == bool(users)
    assert complaint is None or complaint.startswith(str(file))
    assert all(user.login for user in users)
