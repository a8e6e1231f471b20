"""The name and version of this program, as other nodes and people see it."""

from importlib.metadata import PackageNotFoundError, version


def _version() -> str:
    try:
        return version("ringmesh")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "0"


VERSION = _version()
SOFTWARE = f"ringmesh/{VERSION}"
