"""A gateway's container: loads its rules, and stays until it is told to end.

`python -m testbed.gateway NAME` is run with CAP_NET_ADMIN and with IP forwarding switched on.
`TESTBED_LOSS` is the per cent of UDP that is lost.
"""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from testbed.attach import lead_through
from testbed.ruleset import MOST_LOSS, SYSCTLS, ruleset
from testbed.topology import read


def main() -> None:
    """Be the gateway that the command line names."""
    topology = read()
    if len(sys.argv) != 2 or sys.argv[1] not in topology.gateways:
        sys.exit(f"say which gateway: {', '.join(topology.gateways)}")
    name = sys.argv[1]
    loss = float(os.environ.get("TESTBED_LOSS") or 0)
    if not 0 <= loss <= MOST_LOSS:
        sys.exit(f"TESTBED_LOSS is {loss:g}: use 0 to {MOST_LOSS} per cent")
    for key, value in SYSCTLS.items():
        found = Path("/proc/sys", *key.split(".")).read_text(encoding="ascii").strip()
        if found != value:
            sys.exit(f"{key} is {found}: it has to be {value} (sysctls in docker-compose.yml)")
    host = next(host for host in topology.hosts() if host.name == name)
    lead_through(None if host.via is None else str(host.via))
    nft = shutil.which("nft") or sys.exit("nft was not found: apt-get install nftables")
    subprocess.run(  # noqa: S603 - nft, with our own rules
        (nft, "-f", "-"), input=ruleset(topology, name, loss=loss), text=True, check=True
    )
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)  # what is waited for must not strike
    signal.sigwait(ends)


if __name__ == "__main__":
    main()
