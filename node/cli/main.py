"""The entry point. Until the commands are read, Ctrl-C just ends the process."""

import os
import signal
import sys


def main() -> None:
    """Run the command line and end the process with its exit code."""
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)  # a traceback of imports helps nobody
    from node.cli.commands import run

    signal.signal(signal.SIGINT, before)
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


if __name__ == "__main__":
    main()
