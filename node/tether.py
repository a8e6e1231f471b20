"""Starts a program that cannot outlive the process that wanted it.

`python -m node.tether PARENT_PID PROGRAM ARGUMENT...` asks the kernel to kill it when its parent
dies (PR_SET_PDEATHSIG, which survives `execv`) and becomes PROGRAM. Where the kernel has no such
call, the program runs untethered and its owner's `finally` has to do.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int, *, by: signal.Signals = signal.SIGKILL) -> None:
    """Have the kernel send `by` to this process when `parent` dies; end now if it is dead."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(by), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def tethered(*command: str) -> list[str]:
    """The command line that runs `command` (its first word an absolute path) tethered to us."""
    return [sys.executable, "-m", "node.tether", str(os.getpid()), *command]


def main(arguments: Sequence[str]) -> None:
    """Tether this process, then become the program named by the remaining arguments."""
    if len(arguments) < 2 or not arguments[0].isdecimal():
        sys.exit("usage: python -m node.tether PARENT_PID PROGRAM ARGUMENT...")
    die_with_parent(int(arguments[0]), by=signal.SIGTERM)
    os.execv(arguments[1], list(arguments[1:]))  # noqa: S606 - becoming that program is the purpose


if __name__ == "__main__":
    main(sys.argv[1:])
