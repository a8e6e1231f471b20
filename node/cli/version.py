"""`ringmesh version`."""

from node.cli.options import AsJson, State
from node.cli.output import print_json


def version(as_json: AsJson = False, state: State = None) -> None:
    """Print the version of this program and of the protocol it speaks."""
    from importlib.metadata import version as version_of

    own = version_of("ringmesh")
    if as_json:
        print_json({"version": own, "protocol": "ringmesh/1"})
    else:
        print(f"ringmesh {own} (protocol ringmesh/1)")  # noqa: T201 (the answer itself)
