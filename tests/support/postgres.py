"""A PostgreSQL server for tests: in a temporary folder, on a socket of its own, without a port."""

import contextlib
import getpass
import hashlib
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

USER, PASSWORD = "ringmesh", "geheim/wort"
START_WITHIN = 20.0


def binaries() -> Path | None:
    """Where Debian keeps the programs of the newest version."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda file: int(file.parts[-3])
    )
    return found[-1].parent if found else None


def _unfit() -> str | None:
    if binaries() is None:
        return "PostgreSQL is absent: apt-get install postgresql"
    if os.geteuid() != 0:
        return None
    if shutil.which("setpriv") is None:
        return "PostgreSQL does not run as root, and setpriv is absent: apt-get install util-linux"
    try:
        pwd.getpwnam("postgres")
    except KeyError:
        return "PostgreSQL does not run as root, and there is no user postgres"
    return None


needs_postgresql = pytest.mark.skipif(_unfit() is not None, reason=_unfit() or "")
"Marks tests with a server of their own."


class PostgresServer:
    """One cluster, which can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._data = folder / "data"
        self._made: set[str] = set()
        self._process: subprocess.Popen[bytes] | None = None

    def make(self) -> None:
        """Make the cluster, with one user that has to give a password."""
        self._as_owner("initdb", "-D", f"{self._data}", "-A", "trust", "-U", "postgres", "-N")
        rules = self._data / "pg_hba.conf"
        rules.write_text(f"local all {USER} scram-sha-256\nlocal all all trust\n")

    def start(self) -> None:
        """Start the server and wait until it answers."""
        where = ("-D", str(self._data), "-k", str(self._folder), "-c", "listen_addresses=")
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._owner(), str(self._program("postgres")), *where, "-c", "fsync=off"],
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
        until = time.monotonic() + START_WITHIN
        while self.sql("SELECT 1", check=False) is None:
            if self._process.poll() is not None or time.monotonic() > until:
                pytest.fail("PostgreSQL does not start:\n" + (self._folder / "log").read_text())
            time.sleep(0.05)

    def stop(self) -> None:
        """End it at once: connections break."""
        if self._process is not None and self._process.poll() is None:
            self._as_owner("pg_ctl", "-D", str(self._data), "-m", "immediate", "stop")
            self._process.wait(10)

    def sql(self, statement: str, *, database: str = "postgres", check: bool = True) -> str | None:
        """Run one statement as the superuser; what it answers, `None` where it fails."""
        where = ("-h", str(self._folder), "-U", "postgres", "-d", database)
        done = subprocess.run(
            [str(self._program("psql")), *where, "-Atqc", statement],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode and check:
            pytest.fail(f"{statement}: {done.stderr}")
        return None if done.returncode else done.stdout.strip()

    def url(self, database: str, *, user: str = USER, password: str = PASSWORD) -> str:
        """The URL of a database."""
        hidden = password.replace("/", "%2F")
        return f"postgresql://{user}:{hidden}@/{database}?host={self._folder}"

    def url_for(self, thing: object) -> str:
        """The URL of a database that belongs to `thing`, made at the first time."""
        name = "t" + hashlib.sha256(str(thing).encode()).hexdigest()[:20]
        if name not in self._made:
            self._made.add(name)
            self.sql(f"CREATE DATABASE {name} OWNER {USER}")
        return self.url(name)

    def drop_all(self) -> None:
        """Delete the databases that were made."""
        for name in self._made:
            self.sql(f"DROP DATABASE {name} WITH (FORCE)")
        self._made.clear()

    def _as_owner(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [*self._owner(), str(self._program(program)), *arguments],
            check=True, stdout=subprocess.DEVNULL, cwd=self._folder,
        )  # fmt: skip

    @staticmethod
    def _program(name: str) -> Path:
        found = binaries()
        assert found is not None
        return found / name

    @staticmethod
    def _owner() -> list[str]:
        if os.geteuid() != 0:
            return []
        return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]


@contextlib.contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A running server, gone with its folder at the end."""
    owner = "postgres" if os.geteuid() == 0 else getpass.getuser()
    with tempfile.TemporaryDirectory(prefix="ringmesh-pg-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        shutil.chown(folder, owner)
        server = PostgresServer(folder)
        server.make()
        try:
            server.start()
            server.sql(f"CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'")
            yield server
        finally:
            server.stop()
