"""Tells systemd, or who else listens on `$NOTIFY_SOCKET`, how far the node is (sd_notify(3))."""

import socket
from collections.abc import Mapping

import structlog

log = structlog.get_logger("node")

VARIABLE = "NOTIFY_SOCKET"
READY = "READY=1"
STOPPING = "STOPPING=1"


class ServiceManager:
    """Where the node was started from, if that wants to know."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._address = environment.get(VARIABLE, "")

    def tell(self, *lines: str) -> None:
        """Send lines such as `READY`. Without a listener, or if it is gone, nothing happens."""
        if not self._address.startswith(("/", "@")):
            return
        address = self._address.replace("@", "\0", 1) if self._address[0] == "@" else self._address
        message = "\n".join(line.replace("\n", " ") for line in lines)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto(message.encode(), address)
        except OSError as error:
            log.warning("service_manager_not_told", reason=error.strerror)
