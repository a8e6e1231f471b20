"""Ports that nobody uses, for programs that cannot pick their own."""

import random
import socket

BLOCKS, SINGLE, END = 22000, 27000, 32000
"Beneath the kernel's ephemeral ports and above a node's media range: blocks, then single ports."


def free_port(ip: str = "127.0.0.1", *, step: int = 1) -> int:
    """A port that is free for UDP and TCP, together with the `step` - 1 ports above it."""
    return _find(ip, step, (socket.SOCK_DGRAM, socket.SOCK_STREAM), SINGLE, END)


def free_udp_block(ip: str, count: int) -> int:
    """The first, even one of `count` UDP ports in a row, none of which `free_port` gives."""
    return _find(ip, count, (socket.SOCK_DGRAM,), BLOCKS, SINGLE)


def _find(ip: str, count: int, kinds: tuple[socket.SocketKind, ...], lowest: int, end: int) -> int:
    for _ in range(1000):
        first = random.randrange(lowest, end - count, 2)
        if all(_is_free(ip, first + n, kind) for n in range(count) for kind in kinds):
            return first
    raise RuntimeError(f"no {count} free ports in a row on {ip}")


def _is_free(ip: str, port: int, kind: socket.SocketKind) -> bool:
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    with socket.socket(family, kind) as probe:
        try:
            probe.bind((ip, port))
        except OSError:
            return False
    return True
