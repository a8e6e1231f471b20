"""The families of errors. Each package derives its own from these.

`PeerError`: the other side broke a rule; it becomes an answer or a closed link.
`UsageError`: we broke one; it is a bug and stops loudly.
`ConfigError`: a person has to change something; it names what and how.
"""


class RingmeshError(Exception):
    """Every error this project raises on purpose."""


class PeerError(RingmeshError):
    """What came from the network broke a rule of its format or protocol."""


class UsageError(RingmeshError):
    """A caller inside this program broke a contract."""


class ConfigError(RingmeshError):
    """A setting cannot be used; the text names it, what was found and what would do."""


class SignatureError(PeerError):
    """A signature does not hold, or its key may not sign."""
