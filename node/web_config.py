"""The `[web]` table of the settings: the console and the API over HTTP."""

from urllib.parse import urlsplit

from federation.model.address import AddressError, parse_ip
from node.setting import PORT, Section, require

WEB_PORT = 8060
MAX_LISTEN = 16


class WebConfig(Section, frozen=True, kw_only=True):
    """Where the console and the API are served, and to whom."""

    enabled: bool = True
    "Whether there is a web server at all."
    port: int = WEB_PORT
    "TCP port, before `port_offset`."
    listen: tuple[str, ...] = ()
    "Addresses to open it on, like `0.0.0.0` and `::`; none: this machine alone (loopback)."
    plain: bool = False
    "Speak HTTP without TLS on those too: behind a proxy of yours that does, or on a trusted LAN."
    url: str | None = None
    "How others reach it, like `https://phone.example.org`; for links, where a proxy is in front."

    def __post_init__(self) -> None:
        require(0 < self.port < 65536, "web.port", self.port, PORT)
        count = len(self.listen)
        require(count <= MAX_LISTEN, "web.listen", count, f"at most {MAX_LISTEN} addresses")
        for text in self.listen:
            require(_is_address(text), "web.listen", text, "IP addresses of this machine")
        if self.url is not None:
            wanted = "an address like https://phone.example.org, without a path"
            require(_is_base(self.url), "web.url", self.url, wanted)

    @property
    def is_open(self) -> bool:
        """Whether others than this machine may reach it."""
        return any(not parse_ip(text).is_loopback for text in self.listen)

    @property
    def has_tls(self) -> bool:
        """Whether TLS is spoken: wherever others may listen in, unless told otherwise."""
        return self.is_open and not self.plain

    @property
    def is_secure(self) -> bool:
        """Whether browsers reach it by TLS, of this node or of a proxy before it."""
        return self.has_tls or (self.url or "").startswith("https:")


def _is_address(text: str) -> bool:
    try:
        return not parse_ip(text).is_multicast
    except AddressError:
        return False


def _is_base(text: str) -> bool:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    return (
        parts.scheme in ("http", "https")
        and bool(parts.hostname)
        and port != 0
        and text.isprintable()
        and not (parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc)
    )
