"""What the node says to the person in front of it when it starts."""

import io
import json
from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import quote

import segno

from federation.model.number import Number
from node.config import Config


class Voice(Protocol):
    """How a starting node speaks to whoever started it."""

    def first_account(self, sheet: dict[str, Any], config: Config, state: str) -> None:
        """Show the account made at the first start; its password is shown nowhere else."""

    def ready(self, status: dict[str, Any], console: str | None) -> None:
        """Say that calls are taken; `console` opens the web console once."""


class TextVoice:
    """Speaks to a person. The line `ready` is the last of a start."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write

    def first_account(self, sheet: dict[str, Any], config: Config, state: str) -> None:
        """Show the whole first page."""
        self._write(first_start(sheet, config, state))

    def ready(self, status: dict[str, Any], console: str | None) -> None:
        """Say in one line which node this is, where its console is, and that it is ready."""
        self._write(later_start(status))
        if console is not None:
            self._write(f"Console (this link opens it once, within an hour): {console}")
        self._write("ready")


class JsonVoice:
    """Speaks to a program: one JSON object a line."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write

    def first_account(self, sheet: dict[str, Any], config: Config, state: str) -> None:
        """Give the sheet under `first_account`."""
        self._write(json.dumps({"first_account": sheet}))

    def ready(self, status: dict[str, Any], console: str | None) -> None:
        """Give the status under `ready`, with the link as its `console`."""
        self._write(json.dumps({"ready": status | {"console": console}}))


def first_start(sheet: dict[str, Any], config: Config, state: str) -> str:
    """The page shown once: the first account, how to enter it, and the ports to open.

    `sheet` is the JSON form of an `AccountSheet` with its password.
    """
    rows = [
        ("login", sheet["login"]),
        ("password", sheet["password"]),
        ("server", sheet["server"]),
        ("number", spoken(sheet["number"])),
        *((("address" if not index else ""), uri) for index, uri in enumerate(sheet["uri"])),
    ]
    lines = [
        "",
        "  Your first account. Enter it in any SIP phone; the password is shown only now.",
        "",
    ]
    lines += [f"    {label:<10}{value}" for label, value in rows]
    lines += ["", "  The same for a phone with a camera (login, password, server):", ""]
    lines += [f"  {line}" for line in _qr(_phone_uri(sheet)).splitlines()]
    lines += ["", "  Dial *43 to hear yourself. Open these ports in your firewall:", ""]
    lines += [f"    {line}" for line in port_list(config)]
    lines += [
        "",
        f"  Everything of this node is kept in {state}",
        "  More people: ringmesh user add NAME      How it is doing: ringmesh status",
        "",
    ]
    return "\n".join(lines)


def later_start(status: dict[str, Any]) -> str:
    """The one line of every later start; `status` is the node's own."""
    accounts = status["accounts"]
    return (
        f"Node {str(status['node_id'])[:8]}… on network {status['network']}: "
        f"{accounts} account{'' if accounts == 1 else 's'}, server {status['server']}"
    )


def port_list(config: Config) -> list[str]:
    """Each port to open in a firewall, with what it is for."""
    media = f"{config.media.first_port}-{config.media.last_port}"
    ports = [
        f"{config.sip_port:<12} udp and tcp  phones (SIP)",
        f"{config.tls_port:<12} tcp          phones (SIP over TLS)",
        f"{config.mesh_port:<12} udp          other nodes",
        f"{config.turn_port:<12} udp and tcp  sound of those who cannot send it directly (TURN)",
        f"{config.turn_tls_port:<12} tcp          the same over TLS",
        f"{media:<12} udp          sound and video",
    ]
    if config.turn_second_port is not None:
        ports.append(f"{config.turn_second_port:<12} udp          what a NAT does (STUN)")
    if config.web.enabled and config.web.is_open:
        ports.append(f"{config.web_port:<12} tcp          the web console")
    return ports


def spoken(number: str | None) -> str:
    """A number as people read it."""
    return Number(number).spoken if number else "(being computed; see ringmesh user list)"


def _phone_uri(sheet: dict[str, Any]) -> str:
    return f"sip:{sheet['login']}:{quote(sheet['password'])}@{sheet['server']}"


def _qr(text: str) -> str:
    drawn = io.StringIO()
    segno.make(text, error="l", micro=False).terminal(drawn, compact=True, border=2)
    return drawn.getvalue()
