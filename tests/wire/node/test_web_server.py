"""The web server on real sockets: where it listens, TLS, a certificate that changes."""

import asyncio
import ssl
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509

from federation.model.errors import ConfigError
from node.certificates import server_context
from node.config import Config
from node.web.server import WebServer, web_hosts
from node.web_config import WebConfig
from tests.support.ports import free_port
from tests.support.tls_material import Authority


class Contexts:
    """Has the TLS context that a test sets."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.show("first")

    def show(self, name: str) -> None:
        file = self._folder / f"{name}.pem"
        file.write_bytes(Authority.make().issue(x509.DNSName("localhost"), common_name=name))
        self.server = server_context()
        self.server.load_cert_chain(file)


async def hello(_: web.Request) -> web.Response:
    return web.Response(text="hello")


async def shown_at(port: int, server_name: str | None) -> str:
    """The common name of the certificate that is shown to a client."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    _, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=context, server_hostname=server_name or ""
    )
    certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    await writer.wait_closed()
    subject = x509.load_der_x509_certificate(certificate).subject
    return str(subject.rfc4514_string())


async def test_tls_is_spoken_with_the_newest_certificate(tmp_path: Path) -> None:
    """Opened to others, also for those who say no name (SNI)."""
    port = free_port("0.0.0.0")
    config = Config(web=WebConfig(port=port, listen=("0.0.0.0",)))
    contexts = Contexts(tmp_path)
    server = WebServer(config, [web.get("/", hello)], contexts)
    await server.start()
    try:
        assert await shown_at(port, "localhost") == "CN=first"
        contexts.show("second")
        assert await shown_at(port, "localhost") == "CN=second"
        assert await shown_at(port, None) == "CN=second"
    finally:
        await server.close()


async def test_a_port_in_use_is_told_with_what_to_do(tmp_path: Path) -> None:
    config = Config(listen="127.0.0.1", web=WebConfig(port=free_port()))
    first, second = (WebServer(config, [], Contexts(tmp_path)) for _ in range(2))
    await first.start()
    try:
        with pytest.raises(ConfigError, match=r"web port: 127\.0\.0\.1 \d+ is in use.*enabled"):
            await second.start()
    finally:
        await first.close()
    await second.start()
    await second.close()


async def test_an_address_of_another_machine_is_told(tmp_path: Path) -> None:
    config = Config(web=WebConfig(port=free_port(), listen=("192.0.2.1",), plain=True))
    with pytest.raises(ConfigError, match=r"192\.0\.2\.1 \d+ cannot be bound.*web\.listen"):
        await WebServer(config, [], Contexts(tmp_path)).start()


@pytest.mark.parametrize(
    ("listen", "web_listen", "hosts"),
    [
        (None, (), ("127.0.0.1", "::1")),
        ("192.0.2.7", (), ("127.0.0.1", "::1")),
        ("127.0.0.9", (), ("127.0.0.9",)),
        ("::1", (), ("::1",)),
        ("127.0.0.9", ("192.0.2.8", "192.0.2.8", "::"), ("192.0.2.8", "::")),
    ],
)
def test_it_listens_where_it_should(
    listen: str | None,
    web_listen: tuple[str, ...],
    hosts: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("node.web.server.has_ipv6", lambda: True)
    assert web_hosts(Config(listen=listen, web=WebConfig(listen=web_listen))) == hosts
