"""What can go wrong between the control plane and its relay."""

from federation.model.errors import PeerError, RingmeshError


class RelayError(RingmeshError):
    """The relay cannot do what was asked; the text says why."""


class NoCapacity(RelayError):
    """No worker, port or descriptor is left for this call; others are unharmed."""


class ControlError(PeerError):
    """Bytes on a worker's control socket that are not a message of this version."""
