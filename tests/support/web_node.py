"""A real node for tests of its web server: started once, asked by HTTP and by its commands."""

import contextlib
import http.client
import json
import os
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

from node.spawned import Place, free_places
from node.web.access import form_token

STARTED = 40.0
"A generous bound for a loaded machine."


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer over HTTP."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class WebNode:
    """A running node and one browser's cookie."""

    place: Place
    state: Path
    log: Path
    token: str = ""
    cookies: dict[str, str] = field(default_factory=dict)

    @property
    def host(self) -> str:
        return f"{self.place.ip}:{8060 + self.place.port_offset}"

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answered:
        """One request, without following where it is led to."""
        connection = http.client.HTTPConnection(self.host, timeout=30)
        try:
            connection.request(method, path, body=body, headers=dict(headers or {}))
            response = connection.getresponse()
            return Answered(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def api(self, method: str, path: str, body: Any = None) -> Answered:
        """One request of a program with a token."""
        content = None if body is None else json.dumps(body).encode()
        return self.ask(method, path, content, {"Authorization": f"Bearer {self.token}"})

    def page(self, path: str) -> Answered:
        """A page, as a browser asks for it."""
        return self.ask("GET", path, headers=self._browser())

    def submit(self, path: str, **fields: str) -> Answered:
        """A form of the console's own page."""
        session = next(iter(self.cookies.values()), "")
        content = urllib.parse.urlencode(fields | {"csrf": form_token(session)}).encode()
        own = {
            "Origin": f"http://{self.host}",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        return self.ask("POST", path, content, self._browser() | own)

    def keep_cookies(self, answer: Answered) -> None:
        """Take the cookies of an answer as a browser does."""
        cookie = SimpleCookie(answer.headers.get("Set-Cookie", ""))
        self.cookies |= {name: morsel.value for name, morsel in cookie.items()}

    def enter(self) -> None:
        """Open a session by a one-time link."""
        path = urllib.parse.urlsplit(self.command("console", "link").strip()).path
        self.keep_cookies(self.page(path))

    def command(self, *arguments: str) -> str:
        """Run a command that must succeed; returns what it printed."""
        done = subprocess.run(
            [*_RINGMESH, *arguments, "--state", str(self.state)],
            capture_output=True,
            text=True,
            check=False,
            timeout=STARTED,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The lines of an event in the log."""
        lines = [line for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [entry for line in lines if (entry := json.loads(line)).get("event") == event]

    def _browser(self) -> dict[str, str]:
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        return {"Accept": "text/html", **({"Cookie": cookies} if cookies else {})}


_RINGMESH = (sys.executable, "-m", "node.cli.main")


@contextlib.contextmanager
def running_web_node(folder: Path, network: str) -> Iterator[WebNode]:
    """A node with one account `phone1`; ended cleanly afterwards."""
    (place,) = free_places(1)
    node = WebNode(place, folder / "state", folder / "node.log")
    plain = {name: text for name, text in os.environ.items() if not name.startswith("RINGMESH_")}
    options = ("--listen", place.ip, "--port-offset", str(place.port_offset), "--no-mdns")
    options += ("--network", network, "--workers", "1", "--log-format", "json", "--json")
    with node.log.open("wb") as log:
        process = subprocess.Popen(
            [*_RINGMESH, "up", "--state", str(node.state), *options],
            env=plain | {"RINGMESH_DNS_SERVERS": "127.0.0.1:9"},  # nobody is asked
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if "ready" in json.loads(line):
                break
        node.token = node.command("console", "token", "test").strip()
        yield node
    finally:
        process.terminate()
        process.wait(STARTED)
        assert process.stdout is not None
        process.stdout.close()
