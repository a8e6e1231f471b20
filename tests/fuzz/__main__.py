"""Mutated SIP messages and descriptions against the parser, guided by coverage (atheris).

`make fuzz` runs a million of them (`RUNS=`), beginning with the messages of RFC 4475; further
arguments are libFuzzer's. It ends with 1 at the first input that raises anything but the formats'
own errors, or takes more CPU time than is allowed; that input is kept as `crash-…` in this folder's
`findings`.
"""

import importlib
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / "tests" / "vectors" / "sip-torture"
FINDINGS = Path(__file__).parent / "findings"
DEFAULT_RUNS = 1_000_000
MAX_BYTES = 3_000
GATE = 0.005
"Seconds of CPU for a message of up to `MAX_BYTES`."
INSTRUMENTED = 3.0
"What counting coverage makes of a second, about."
DESCRIPTION = b"v=0\r\n"


def main() -> None:
    """Fuzz; libFuzzer ends the process."""
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["node.sip", "federation.model"]):
        load = importlib.import_module("tests.support.sip_load")

    def one(data: bytes) -> None:
        work = load.exercise_sdp if data.startswith(DESCRIPTION) else load.exercise
        limit = GATE * INSTRUMENTED
        seconds = load.cpu_seconds(lambda: work(data), limit)
        if seconds > limit:
            raise TimeoutError(f"{seconds * 1e3:.1f} ms of CPU for {len(data)} bytes")

    FINDINGS.mkdir(exist_ok=True)
    seeds = tempfile.mkdtemp(prefix="ringmesh-fuzz-")
    for file in CORPUS.glob("*.dat"):
        data = file.read_bytes()
        (Path(seeds) / file.name).write_bytes(data)
        if (start := data.find(DESCRIPTION)) >= 0:
            (Path(seeds) / f"{file.name}.sdp").write_bytes(data[start:])
    options = [f"-max_len={MAX_BYTES}", f"-artifact_prefix={FINDINGS}/", "-print_final_stats=1"]
    if not any(argument.startswith("-runs=") for argument in sys.argv):
        options.append(f"-runs={DEFAULT_RUNS}")
    atheris.Setup([sys.argv[0], *options, *sys.argv[1:], seeds], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
