"""The name and version of this program, as other nodes and people see it."""

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec


def _version() -> str:
    try:
        return version("ringmesh")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "0"


def _is_compiled() -> bool:
    """Told by one module that is compiled wherever any is."""
    spec = find_spec("node.sip.message")
    return spec is not None and not (spec.origin or "").endswith(".py")


VERSION = _version()
IS_COMPILED = _is_compiled()
"Whether the SIP path runs as C extensions (`make fast`)."
SOFTWARE = f"ringmesh/{VERSION}"
