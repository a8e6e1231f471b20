"""Which UDP ports a phone uses for sound."""

import secrets
import socket

RTP_BLOCK = 24
"UDP ports of one phone: four calls take eight, and more while calls end and begin."
RTP_FIRST, RTP_LAST = 20000, 31999
"Beneath the kernel's ephemeral ports and above a node's media range."


def free_rtp_block(ip: str) -> int | None:
    """The first port of a block that nobody uses, at a random place so that phones seldom meet.

    `None`: the address is not this machine's, or everything is taken.
    """
    blocks = (RTP_LAST + 1 - RTP_FIRST) // RTP_BLOCK
    start = secrets.randbelow(blocks)
    for n in range(blocks):
        first = RTP_FIRST + (start + n) % blocks * RTP_BLOCK
        if all(_is_free(ip, first + offset) for offset in range(0, RTP_BLOCK, 4)):
            return first
    return None


def _is_free(ip: str, port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((ip, port))
        except OSError:
            return False
    return True
