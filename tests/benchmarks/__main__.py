"""Runs every `bench_*.py` beside this file, one after the other, and passes arguments on.

`make bench` does this; `make bench ARGS=--json` where a benchmark knows that. Names of benchmarks
(`sip_parser`) among the arguments choose some of them. Ends with 1 if one of them failed.
"""

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
ON_REQUEST = frozenset({"registrations", "soak"})
"Benchmarks that take long, and run only where they are named."


def main() -> int:
    """Run the chosen benchmarks, each in a process of its own so that none warms another up."""
    names = {file.stem.removeprefix("bench_"): file for file in sorted(FOLDER.glob("bench_*.py"))}
    chosen = [name for name in sys.argv[1:] if not name.startswith("-")]
    options = [option for option in sys.argv[1:] if option.startswith("-")]
    if unknown := [name for name in chosen if name not in names]:
        print(f"no benchmark {unknown[0]}; there are {', '.join(names)}", file=sys.stderr)
        return 2
    failed = [
        name
        for name in chosen or sorted(names.keys() - ON_REQUEST)
        if subprocess.run(
            [sys.executable, "-m", f"tests.benchmarks.bench_{name}", *options],
            cwd=FOLDER.parent.parent,
            check=False,
        ).returncode
    ]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
