"""The `[web]` table of the settings."""

from typing import Any

import pytest

from node.config import Config
from node.setting import SettingError
from node.web_config import MAX_LISTEN, WebConfig


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"port": 0}, r"web\.port is 0, but must be a port"),
        ({"port": 70000}, r"web\.port is 70000"),
        ({"listen": ("everywhere",)}, r"web\.listen is 'everywhere', but must be IP addresses"),
        ({"listen": ("224.0.0.1",)}, r"web\.listen is '224\.0\.0\.1'"),
        ({"listen": ("::",) * (MAX_LISTEN + 1)}, r"web\.listen is 17, but must be at most 16"),
        *(
            ({"url": url}, r"web\.url is .*, but must be an address like https://")
            for url in ("phone.example.org", "ftp://x", "https://x/console", "https://u@x",
                        "https://x:0", "https://x:y", "https://", "https://x?y", "https://[")
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_is_named(values: dict[str, Any], complaint: str) -> None:
    with pytest.raises(SettingError, match=complaint):
        WebConfig(**values)


@pytest.mark.parametrize(
    ("values", "is_open", "has_tls", "is_secure"),
    [
        ({}, False, False, False),
        ({"listen": ("127.0.0.5", "::1")}, False, False, False),
        ({"listen": ("::",)}, True, True, True),
        ({"listen": ("192.0.2.1",), "plain": True}, True, False, False),
        ({"plain": True, "url": "https://x.example:8443"}, False, False, True),
        ({"url": "http://x.example"}, False, False, False),
    ],
)
def test_tls_is_spoken_where_others_listen_in(
    values: dict[str, Any], is_open: bool, has_tls: bool, is_secure: bool
) -> None:
    web = WebConfig(**values)
    assert (web.is_open, web.has_tls, web.is_secure) == (is_open, has_tls, is_secure)


def test_its_port_follows_the_offset_and_is_nobody_else_s() -> None:
    assert Config(port_offset=20).web_port == 8080
    with pytest.raises(SettingError, match="another port than"):
        Config(web=WebConfig(port=5060))
