"""The settings of an account in the files that devices fetch.

| device | file |
|---|---|
| Linphone | `linphone.xml` |
| Yealink | `yealink/<mac>.cfg` |
| Grandstream | `grandstream/cfg<mac>.xml` |
| Snom | `snom/<mac>.xml` |
| Poly | `poly/000000000000.cfg`, which names `poly/ringmesh.cfg` |

Host, port and transport are said outright: phones look up SRV and NAPTR only where none of them is.
"""

import re
from dataclasses import dataclass

from node.control import JsonObject
from node.sheet import SIP_PORT
from node.web.render import fragment

EXPIRES = 3600
"Seconds that a device asks to be registered for."
_MAC = "[0-9a-fA-F]{12}"
_FILES = (
    (re.compile(r"linphone\.xml"), "linphone.xml", True),
    (re.compile(rf"yealink/{_MAC}\.cfg"), "yealink.cfg", True),
    (re.compile(rf"grandstream/cfg{_MAC}\.xml"), "grandstream.xml", True),
    (re.compile(rf"snom/{_MAC}\.xml"), "snom.xml", True),
    (re.compile(r"poly/000000000000\.cfg"), "poly_master.xml", False),
    (re.compile(r"poly/ringmesh\.cfg"), "poly.xml", True),
)


@dataclass(frozen=True, slots=True)
class DeviceFile:
    """One file that a device may ask for."""

    path: str
    template: str
    holds_password: bool

    @property
    def content_type(self) -> str:
        """Of its answer."""
        return "text/plain" if self.template.endswith(".cfg") else "application/xml"

    def write(self, sheet: JsonObject | None) -> str:
        """Its text; `sheet` is that of the account with its password, where it holds one."""
        context: JsonObject = {"mac": _mac_in(self.path)}
        if sheet is not None:
            host, port = split_server(sheet["server"])
            context |= {"sheet": sheet, "host": host, "port": port, "expires": EXPIRES}
        return fragment(f"devices/{self.template}", context)


def file_at(path: str) -> DeviceFile | None:
    """The file of a path below a link's folder; `None` if devices are given no such file."""
    for pattern, template, holds_password in _FILES:
        if pattern.fullmatch(path):
            return DeviceFile(path, template, holds_password)
    return None


def split_server(server: str) -> tuple[str, int]:
    """Host and port of a sheet's `server`, which leaves the usual port out."""
    host, colon, port = server.rpartition(":")
    if colon and not server.endswith("]"):
        return host, int(port)
    return server, SIP_PORT


def _mac_in(path: str) -> str:
    found = re.search(_MAC, path)
    return "" if found is None else found[0].lower()
