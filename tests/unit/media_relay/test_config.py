import pytest

from federation.model.errors import ConfigError
from media_relay.config import RelayConfig


def test_the_defaults_are_those_of_the_documentation() -> None:
    config = RelayConfig()
    assert (config.lowest_port, config.highest_port) == (10000, 19999)
    assert config.workers >= 1


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"workers": 0}, "workers"),
        ({"workers": 257}, "workers"),
        ({"lowest_port": 10001}, "media ports"),
        ({"highest_port": 20000}, "media ports"),
        ({"lowest_port": 20000}, "media ports"),
        ({"lowest_port": 80}, "media ports"),
        ({"leg_hosts": ()}, "leg_hosts"),
        ({"leg_hosts": ("relay.example.org",)}, "leg_hosts"),
        ({"leg_hosts": ("127.0.0.1", "127.0.0.2")}, "leg_hosts"),
    ],
)
def test_what_cannot_work_is_refused_by_name(settings: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        RelayConfig(**settings)  # type: ignore[arg-type]
