"""The web server on real sockets: where it listens, TLS, a certificate that changes."""

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import uvloop
from aiohttp import web
from cryptography import x509
from structlog.testing import capture_logs

from federation.model.clocks import SystemClock
from federation.model.errors import ConfigError
from node.certificates import server_context
from node.config import Config
from node.web import doorman
from node.web import server as server_module
from node.web.rates import SAID_AT_ONCE
from node.web.server import WebServer, web_hosts
from node.web_config import WebConfig
from tests.support.ports import free_port
from tests.support.tls_material import Authority
from tests.unit.web.test_access import SetClock


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


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_tls_is_spoken_with_the_newest_certificate(
    tmp_path: Path, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """Opened to others, also for those who say no name (SNI); by either event loop."""
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(certificates_change(tmp_path))


async def certificates_change(tmp_path: Path) -> None:
    port = free_port("0.0.0.0")
    config = Config(web=WebConfig(port=port, listen=("0.0.0.0",)))
    contexts = Contexts(tmp_path)
    server = WebServer(config, [web.get("/", hello)], contexts, SystemClock())
    await server.start()
    try:
        assert await shown_at(port, "localhost") == "CN=first"
        contexts.show("second")
        assert await shown_at(port, "localhost") == "CN=second"
        assert await shown_at(port, None) == "CN=second"
    finally:
        await server.close()


async def test_a_handshake_that_does_not_come_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "HANDSHAKE_SECONDS", 0.1)
    port = free_port("0.0.0.0")
    config = Config(web=WebConfig(port=port, listen=("0.0.0.0",)))
    server = WebServer(config, [web.get("/", hello)], Contexts(tmp_path), SystemClock())
    await server.start()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), 10.0) == b""
        writer.close()
    finally:
        await server.close()


async def test_connections_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One too many is closed before anything is read; when one has gone there is room again."""
    monkeypatch.setattr(doorman, "MAX_CONNECTIONS", 2)
    port = free_port()
    config = Config(listen="127.0.0.1", web=WebConfig(port=port))
    server = WebServer(config, [web.get("/", hello)], Contexts(tmp_path), SystemClock())
    await server.start()
    try:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        for _, writer in held:
            writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        for reader, _ in held:
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        reader, refused = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        refused.close()
        held[0][1].close()
        await held[0][1].wait_closed()
        await asyncio.sleep(0.05)
        reader, again = await asyncio.open_connection("127.0.0.1", port)
        again.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        for writer in (again, held[1][1]):
            writer.close()
    finally:
        await server.close()


def test_one_source_cannot_take_all_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Held connections of one source, in IPv6 of a /64, leave room for others."""
    monkeypatch.setattr(doorman, "MAX_CONNECTIONS", 8)
    monkeypatch.setattr(doorman, "CROWDED", 4)
    monkeypatch.setattr(doorman, "SHARE", 2)
    clock = SetClock()
    held: list[SimpleNamespace] = []
    door = doorman.Doorman(SimpleNamespace(connections=held), clock)  # type: ignore[arg-type]

    def come(host: str) -> bool:
        clock.now += doorman.COUNTED_SECONDS
        admitted = door._admits(host)
        if admitted:
            peer = {"peername": (host, 1)}
            held.append(SimpleNamespace(transport=SimpleNamespace(get_extra_info=peer.get)))
        return admitted

    hosts = [f"2001:db8::{number}" for number in range(6)]
    assert [come(host) for host in hosts] == [True] * 4 + [False] * 2
    assert [come(host) for host in ("192.0.2.1", "192.0.2.2", "127.0.0.1")] == [True] * 3
    held.clear()
    held.append(SimpleNamespace(transport=None))
    assert come(hosts[0])


def test_those_who_are_refused_do_not_fill_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doorman, "OPENING_BURST", 0)
    door = doorman.Doorman(SimpleNamespace(connections=[]), SystemClock())
    with capture_logs() as lines:
        assert not any(door._admits(f"192.0.2.{number}") for number in range(200))
        monkeypatch.setattr(doorman, "MAX_CONNECTIONS", 0)
        assert not any(door._admits("127.0.0.1") for _ in range(200))
    assert 0 < len(lines) <= SAID_AT_ONCE + 2


def test_one_source_opens_only_so_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doorman, "OPENING_BURST", 3)
    monkeypatch.setattr(doorman, "OPENINGS_PER_SECOND", 0.0)
    admits = doorman.Doorman(SimpleNamespace(connections=[]), SystemClock())._admits
    assert [admits("192.0.2.1") for _ in range(5)] == [True] * 3 + [False] * 2
    assert admits("192.0.2.2")
    assert all(admits("127.0.0.1") for _ in range(9))


async def test_a_port_in_use_is_told_with_what_to_do(tmp_path: Path) -> None:
    config = Config(listen="127.0.0.1", web=WebConfig(port=free_port()))
    first, second = (WebServer(config, [], Contexts(tmp_path), SystemClock()) for _ in range(2))
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
        await WebServer(config, [], Contexts(tmp_path), SystemClock()).start()


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
