"""What can go wrong with the database of a running node."""

from federation.model.errors import RingmeshError


class StorageError(RingmeshError):
    """The database could not be read or written; the text says why and what would help."""


class DamagedError(StorageError):
    """The database file is not one, or its pages contradict each other."""


class RefusedError(StorageError):
    """The database works, but cannot hold these values; trying again would not help."""
