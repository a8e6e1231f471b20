"""Whose offers of telephone numbers count, and a number that is called by one."""

from dataclasses import dataclass
from typing import Self

from federation.model.identity import KeyFormatError, NodeId

MAX_OFFERERS = 16
"Trunks of other nodes whose offers may count."


@dataclass(frozen=True, slots=True)
class Offerer:
    """A trunk of another node whose offers count."""

    trunk: str
    node: NodeId

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `TRUNK@<key>.ringmesh.alt`.

        Raises:
            ValueError: it is not of that form.
        """
        trunk, at, host = text.lower().rpartition("@")
        try:
            node = NodeId.from_key_name(host)
        except KeyFormatError as error:
            raise ValueError(str(error)) from error
        if not at or not trunk:
            raise ValueError("there is no trunk before the @")
        return cls(trunk, node)

    def __str__(self) -> str:
        return f"{self.trunk}@{self.node.key_name}"


@dataclass(frozen=True, slots=True)
class OfferTarget:
    """A telephone number that no trunk here takes, and one of another node may."""

    number: str
    "Digits of E.164, without `+`."
