"""`ringmesh version`."""

from node.cli.options import AsJson, State
from node.cli.output import print_json


def version(as_json: AsJson = False, state: State = None) -> None:
    """Print the version of this program and of the protocol it speaks."""
    from node.software import IS_COMPILED, VERSION

    if as_json:
        print_json({"version": VERSION, "protocol": "ringmesh/1", "compiled": IS_COMPILED})
    else:
        kind = ", SIP path compiled" if IS_COMPILED else ""
        print(f"ringmesh {VERSION} (protocol ringmesh/1{kind})")  # noqa: T201 (the answer itself)
