"""How many files and sockets this process may have open."""

import resource

DESCRIPTORS_A_CALL = 4
"Two anchors of two ports, here and again in a worker."
PLENTY = 8_192
"With these a thousand calls have room; fewer are told."


def raise_descriptor_limit() -> int:
    """Raise the soft limit to the hard one; how many descriptors are allowed then.

    An anchor takes two in the worker and two in the process that bound them, and the usual soft
    limit of 1,024 would end at some 250 calls.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
