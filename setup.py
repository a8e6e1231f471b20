"""Compiles the SIP path, where that is asked for: everything else stands in pyproject.toml.

`COMPILE_RINGMESH=1 pip wheel .` makes a wheel for this Python and machine in which the modules of
`COMPILED` are C extensions, made by mypyc of the very same source; it needs a C compiler. Without
the variable nothing is compiled, and nothing that is compiled is needed.
"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from setuptools import setup
from setuptools.command.build_ext import build_ext

MYPYC = "mypy>=1.18"
"Brings mypyc; asked for only where something is compiled."

COMPILED = {
    "federation/model": "address",
    "node": "dialled names outer",
    "node/accounts": "account book identify",
    "node/storage": "call_records dialogs dirty_rows",
    "node/tracing": "counts tap",
    "node/sip": (
        "auth_params binding digest effects errors exchange flow forking gruu header_lines headers"
        " line matching message names nonce overload raw registrar senders states tables text"
        " timers transaction typed_headers uri views"
    ),
    "node/sip/transports": "moderation udp",
    "node/edge": (
        "alarms branches branching calls context credentials dialog edge ending flows forward"
        " hub identifiers identity indialog ingress journal media memory outbound_limits"
        " pbx_ringing peer_names redirect registration replies ringing session_timer shedding"
        " strangers token trunk_branch"
    ),
}
"What a call and a registration go through. A class must be compiled with those derived from it."

MYPY_OPTIONS = ["--config-file=", "--ignore-missing-imports", "--python-version=3.11"]
"Libraries need not be there to compile; `make lint` is what checks types."

METADATA_ALONE = {"egg_info", "dist_info"}
"Commands by which pip asks, before it builds, what is needed and what will come: without mypyc."


def extensions() -> list[object]:
    """The extensions asked for."""
    if os.environ.get("COMPILE_RINGMESH") != "1" or METADATA_ALONE.intersection(sys.argv):
        return []
    from mypyc.build import mypycify

    files = [f"{folder}/{name}.py" for folder, names in COMPILED.items() for name in names.split()]
    missing = [file for file in files if not Path(file).is_file()]
    if missing:
        raise SystemExit(f"setup.py names modules that are not there: {', '.join(missing)}")
    return list(mypycify([*MYPY_OPTIONS, *files], opt_level="2", debug_level="0", multi_file=True))


class SharedBuild(build_ext):
    """Compiles several of an extension's C files at a time: mypyc makes one of each module."""

    def build_extensions(self) -> None:
        """Build everything, one run of the C compiler for each processor."""
        compile_all = self.compiler.compile

        def compile_shared(sources: list[str], *args: Any, **options: Any) -> list[str]:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                made = pool.map(lambda source: compile_all([source], *args, **options), sources)
                return [file for files in made for file in files]

        self.compiler.compile = compile_shared  # type: ignore[method-assign]
        super().build_extensions()


setup(
    ext_modules=extensions(),
    cmdclass={"build_ext": SharedBuild},
    setup_requires=[MYPYC] if os.environ.get("COMPILE_RINGMESH") == "1" else [],
)
