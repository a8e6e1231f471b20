"""A broken relay worker: of two joined endpoints only one is heard. Checks of sound must fail."""

import sys

from media_relay.anchors import AnchorRoute
from media_relay.legs import LegRoute
from media_relay.routes import RouteTable
from media_relay.worker import main


def join_one_way(self: RouteTable, anchor: AnchorRoute, other: AnchorRoute | LegRoute) -> None:
    self._part(anchor)
    self._part(other)
    anchor.partner = other


RouteTable._join = join_one_way  # type: ignore[method-assign]

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
