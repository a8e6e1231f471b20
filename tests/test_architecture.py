"""The shape of the house: who imports whom, how long files are, what packages say of themselves."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("node", "federation", "dht", "media_relay")
MAX_FILE_LINES = 450
MAX_FUNCTION_LINES = 70
ALLOWED = {
    "node": {"node", "dht", "media_relay", "federation"},
    "dht": {"dht", "federation"},
    "media_relay": {"media_relay", "federation.model"},
    "federation": {"federation"},
    "node.sip": {"node.sip", "federation.model"},
}
"What a package may import of ours; the longest matching name of a file decides."
SHELL_MODULES = {
    "asyncio", "socket", "selectors", "select", "threading", "subprocess", "structlog", "logging",
    "random", "secrets",
}  # fmt: skip
"What a core never imports: it opens nothing, starts nothing, draws nothing, logs nothing."
CORES = (
    "federation/messages.py", "federation/codec.py", "federation/call.py",
    "federation/session.py", "federation/backoff.py",
    "dht/record.py", "dht/acceptance.py", "dht/store.py", "dht/republish.py", "dht/lookup.py",
    "dht/frame.py", "dht/canonical.py", "dht/cookie.py",
    "media_relay/sealed.py", "media_relay/anchor.py", "media_relay/routes.py",
    "media_relay/metering.py",
    "node/config.py", "node/sheet.py",
    *(f"node/tracing/{name}.py" for name in (
        "tap", "traces", "counts", "masking", "shown", "ladder", "hep",
    )),
    *(f"node/sip/{name}.py" for name in (
        "message", "uri", "headers", "sdp", "transaction", "forking", "registrar", "digest",
        "framing", "flow", "timers", "dns_records", "locate", "failover", "congestion",
        "digest_client", "registration", "registration_answer", "web_socket",
    )),
)  # fmt: skip
"The sans-I/O cores, where they exist."


def sources(*packages: str) -> list[Path]:
    return [file for package in packages for file in sorted((ROOT / package).rglob("*.py"))]


def name_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(file: Path) -> Iterator[str]:
    """Every module a file imports, also inside functions; relative ones made absolute."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            module = node.module or ""
            yield from (f"{module}.{alias.name}" for alias in node.names)


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_run_one_way(package: str) -> None:
    wrong = []
    for file in sources(package):
        name = name_of(file)
        allowed = ALLOWED[max((rule for rule in ALLOWED if within(name, rule)), key=len)]
        wrong += [
            f"{name} imports {module}"
            for module in imports_of(file)
            if module.split(".")[0] in PACKAGES
            and not any(within(module, package) for package in allowed)
        ]
    assert wrong == []


def test_nothing_of_the_tests_is_in_the_program() -> None:
    wrong = [
        f"{name_of(file)} imports {module}"
        for file in sources(*PACKAGES)
        for module in imports_of(file)
        if module.split(".")[0] in {"tests", "examples", "testbed", "pytest", "hypothesis"}
    ]
    assert wrong == []


@pytest.mark.parametrize("core", [core for core in CORES if (ROOT / core).exists()])
def test_a_core_has_no_shell(core: str) -> None:
    imported = {module.split(".")[0] for module in imports_of(ROOT / core)}
    assert imported & SHELL_MODULES == set()


def test_one_file_knows_the_insides_of_aioquic() -> None:
    """Private names of a pinned library are gathered where canary tests can watch them."""
    users = {
        name_of(file)
        for file in sources(*PACKAGES)
        if any(within(module, "aioquic") for module in imports_of(file))
    }
    assert all(within(user, "federation.quic") for user in users), users


def test_a_phone_lives_in_its_child_process_alone() -> None:
    users = {
        name_of(file)
        for file in sources(*PACKAGES)
        if any(within(module, "pjsua2") for module in imports_of(file))
    }
    child = {
        f"node.phone.{name}" for name in ("child", "child_calls", "child_presence", "child_setup")
    }
    assert users <= child, users
    around = {
        name_of(file)
        for file in sources(*PACKAGES)
        if any(within(module, name) for module in imports_of(file) for name in child)
    }
    assert around <= child, around


def test_a_workers_import_path_is_light() -> None:
    """A worker's memory and start-up stay small: neither asyncio nor the control plane's parts."""
    script = (
        "import sys, media_relay.worker; print(*sorted({'asyncio', 'aioquic', 'sqlalchemy',"
        " 'aiohttp', 'structlog', 'numpy', 'node', 'dht'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == ("\n", "", 0)


def test_files_are_short_enough_to_read() -> None:
    long = {
        str(file.relative_to(ROOT)): count
        for file in sources(*PACKAGES, "testbed")
        if (count := len(file.read_text(encoding="utf-8").splitlines())) > MAX_FILE_LINES
    }
    assert long == {}


def test_functions_fit_a_screen() -> None:
    long = [
        f"{name_of(file)}.{node.name}"
        for file in sources(*PACKAGES, "testbed")
        if file.parent.name != "versions"  # a migration is a list of tables, frozen as it was
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and (node.end_lineno or 0) - node.lineno > MAX_FUNCTION_LINES
    ]
    assert long == []


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_says_what_it_is(package: str) -> None:
    readme = ROOT / package / "README.md"
    assert readme.exists()
    assert readme.read_text(encoding="utf-8").startswith("# ")
    assert (ROOT / package / "py.typed").exists()


def test_every_folder_of_the_program_is_a_package() -> None:
    """Otherwise an installed copy would lack it."""
    bare = {
        str(file.parent.relative_to(ROOT))
        for file in sources(*PACKAGES)
        if not (file.parent / "__init__.py").exists()
    }
    assert bare == set()


def test_groups_in_patterns_are_atomic_and_never_possessive() -> None:
    """Python before 3.11.5 mismatches possessive groups (CPython issue 106052)."""
    possessive = re.compile(r"(?<!\\)[)}][*+?]\+")
    wrong = [
        f"{file.relative_to(ROOT)}:{number}"
        for file in sources(*PACKAGES)
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if possessive.search(line)
    ]
    assert not wrong, "write (?>(?:...)*) instead"
