"""Gives a container its way out, then runs its program as an ordinary user.

`python -m testbed.attach [--via ADDRESS] [--user NAME] -- PROGRAM ...` replaces the default route
that the container engine made by one through the gateway of its network, or by none. That takes
CAP_NET_ADMIN, which is gone when the program begins.
"""

import argparse
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Sequence

USER = "ringmesh"
"Who programs run as in the image."


def lead_through(via: str | None) -> None:
    """Make `via` the one way out; `None`: there is none. Exits with a sentence if it cannot."""
    _ip("route", "flush", "exact", "default")
    if via is not None:
        _ip("route", "add", "default", "via", via)


def become(user: str) -> None:
    """Give up root for good, capabilities included."""
    entry = pwd.getpwnam(user)
    os.initgroups(user, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    os.environ["HOME"] = entry.pw_dir


def _ip(*arguments: str) -> None:
    ip = shutil.which("ip") or sys.exit("ip was not found: apt-get install iproute2")
    done = subprocess.run(  # noqa: S603 - the arguments are those above
        (ip, *arguments), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


def main(given: Sequence[str] | None = None) -> None:
    """Read the command line, set the route, and become the program."""
    options = argparse.ArgumentParser(
        prog="testbed.attach", description="Set the way out, then run."
    )
    options.add_argument("--via", metavar="ADDRESS", help="the gateway; none: no way out")
    options.add_argument("--user", default=USER, help=f"who the program runs as ({USER})")
    options.add_argument("command", nargs="+", help="the program, behind --")
    read = options.parse_args(given)
    lead_through(read.via)
    become(read.user)
    program = shutil.which(read.command[0]) or sys.exit(f"{read.command[0]} was not found")
    os.execv(program, read.command)  # noqa: S606 - becoming that program is the purpose


if __name__ == "__main__":
    main()
