"""The network a node belongs to; its name goes into everything signed, so networks never mix."""

from dataclasses import dataclass

from federation.model.errors import ConfigError

MAIN = "main"
MAX_NAME_BYTES = 32
MAIN_PUZZLE_BITS = 13
OTHER_PUZZLE_BITS = 2


@dataclass(frozen=True, slots=True)
class Network:
    """A network's name and the price of an overlay id in it."""

    name: str = MAIN
    puzzle_bits: int = MAIN_PUZZLE_BITS
    "Zero bits an overlay id's puzzle must show; 13 cost about two seconds once."

    def __post_init__(self) -> None:
        if not self.name.isascii() or not 0 < len(self.name) <= MAX_NAME_BYTES:
            raise ConfigError(
                f"network: {self.name!r} is not 1 to {MAX_NAME_BYTES} ASCII characters"
            )
        if not all(c.isalnum() or c in "-_." for c in self.name):
            raise ConfigError(
                f"network: {self.name!r} may hold letters, digits, '-', '_' and '.' only"
            )
        if not 0 <= self.puzzle_bits <= 32:
            raise ConfigError(f"puzzle_bits: {self.puzzle_bits} is not between 0 and 32")

    @classmethod
    def named(cls, name: str, puzzle_bits: int | None = None) -> "Network":
        """The network called `name` with its usual puzzle, unless another is asked for."""
        if puzzle_bits is None:
            puzzle_bits = MAIN_PUZZLE_BITS if name == MAIN else OTHER_PUZZLE_BITS
        return cls(name, puzzle_bits)

    def context(self, tag: str) -> bytes:
        """The prefix of everything hashed or signed for one purpose: tag, 00, name, 00."""
        return tag.encode("ascii") + b"\0" + self.name.encode("ascii") + b"\0"

    @property
    def alpn(self) -> str:
        """The ALPN of mesh links: `ringmesh/1`, on other networks `ringmesh/1/NAME`."""
        return "ringmesh/1" if self.name == MAIN else f"ringmesh/1/{self.name}"
