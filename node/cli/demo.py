"""`ringmesh demo`."""

from node.cli.options import AsJson, State


def demo(as_json: AsJson = False, state: State = None) -> int:
    """Start three nodes and two phones on this machine, place a call, and measure the sound.

    Everything is temporary and on a network of its own; with --state the logs and states of the
    nodes are kept in DIR. Exit code 1 if anything was not heard.
    """
    from node.demo import run_demo

    return run_demo(as_json=as_json, keep=state)
