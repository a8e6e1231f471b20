"""The `[trace]` and `[hep]` tables: what is remembered of calls, and who is told of them."""

from node.setting import Section, require

HEP_PORT = 9060
MAX_AGENT_ID = 0xFFFFFFFF
MAX_HEP_PASSWORD = 255


class TraceConfig(Section, frozen=True, kw_only=True):
    """What may be looked at afterwards."""

    calls: bool = True
    "Whether the SIP messages of calls are kept in memory for a while (`ringmesh call trace`)."


class HepConfig(Section, frozen=True, kw_only=True):
    """A capture server (Homer) that is sent every SIP message, secrets masked."""

    server: str | None = None
    "`HOST` or `HOST:PORT` (9060), by UDP; IPv6 in brackets. Unset: nobody is told."
    id: int = 1
    "The number by which the server tells this node from others."
    password: str | None = None
    "What the server wants to see, if it wants anything; it travels in the clear."

    def __post_init__(self) -> None:
        wanted = f"0 to {MAX_AGENT_ID}"
        require(0 <= self.id <= MAX_AGENT_ID, "hep.id", self.id, wanted)
        length = len((self.password or "").encode())
        wanted = f"at most {MAX_HEP_PASSWORD} bytes"
        require(length <= MAX_HEP_PASSWORD, "hep.password", f"{length} bytes long", wanted)
        if self.server is not None:
            read_server(self.server)

    @property
    def endpoint(self) -> tuple[str, int] | None:
        """Host and port of the server."""
        return None if self.server is None else read_server(self.server)


def read_server(text: str) -> tuple[str, int]:
    """Read `HOST` or `HOST:PORT`.

    Raises:
        SettingError: the text is something else.
    """
    wanted = "HOST:PORT, like homer.example.org:9060 or [2001:db8::1]:9060"
    host, port = text, ""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        is_bracketed = ":" in host and text.count("]") == 1 and rest[:1] in ("", ":")
        require(is_bracketed and rest != ":", "hep.server", text, wanted)
        port = rest[1:]
    else:
        host, colon, port = text.partition(":")
        require(":" not in port and bool(port) is bool(colon), "hep.server", text, wanted)
    is_plain = host.isascii() and host.isprintable() and not set(host) & set(" /@")
    require(bool(host) and is_plain and len(host) <= 253, "hep.server", text, wanted)
    number = int(port) if port.isascii() and port.isdigit() and len(port) < 6 else -1
    require(not port or 0 < number < 65_536, "hep.server", text, wanted)
    return host, number if port else HEP_PORT
