"""The relay of a running node: opened as the configuration says, and what it tells is logged."""

from typing import Any

import structlog

from federation.model.clocks import Clock, Entropy
from federation.model.errors import ConfigError
from media_relay.config import RelayConfig
from media_relay.errors import NoCapacity
from media_relay.pool import RelayPool
from media_relay.reports import RelayEvent, WorkerLost, WorkerRestarted
from node.addresses import listen_hosts
from node.config import Config

log = structlog.get_logger("node")


async def open_relay(config: Config, *, clock: Clock, entropy: Entropy) -> RelayPool:
    """Start the relay's workers; the caller closes the pool.

    Raises:
        ConfigError: no worker comes up, or no port can be had.
    """
    media = config.media
    settings: dict[str, Any] = {"workers": media.workers} if media.workers else {}
    pool = RelayPool(
        RelayConfig(
            lowest_port=media.first_port + media.first_port % 2,
            highest_port=media.last_port - (media.last_port + 1) % 2,
            leg_hosts=listen_hosts(config.listen),
            **settings,
        ),
        clock=clock,
        entropy=entropy,
        on_event=_log_event,
    )
    try:
        await pool.start()
    except NoCapacity as error:
        raise ConfigError(f"media relay: {error}") from error
    return pool


def _log_event(event: RelayEvent) -> None:
    match event:
        case WorkerLost(worker=worker, reason=reason, sessions=sessions):
            log.error("relay_worker_lost", worker=worker, reason=reason, sessions=sessions)
        case WorkerRestarted(worker=worker, seconds=seconds, sessions=sessions):
            log.info("relay_worker_back", worker=worker, after=seconds, sessions=sessions)
