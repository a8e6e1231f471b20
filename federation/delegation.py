"""An account's signed word that a node may speak for it.

Bytes: msgpack [publisher 32 B, label, not-before, not-after, signature 64 B]; the account key signs
context "dlg1" followed by msgpack [account key, publisher, label, not-before, not-after]. Times are
whole Unix seconds. The label is the login the account has on that node.
"""

from dataclasses import dataclass
from typing import Self

import msgpack

from federation.model.clocks import UnixTime
from federation.model.errors import PeerError, SignatureError
from federation.model.identity import (
    SIGNATURE_BYTES,
    AccountId,
    AccountKey,
    KeyFormatError,
    NodeId,
)
from federation.model.network import Network

MAX_DELEGATION_BYTES = 256
MAX_LABEL_BYTES = 64
CLOCK_SKEW = 300.0
"Seconds by which honest clocks may differ."
_MAX_TIME = 2**40


class DelegationError(PeerError):
    """Not a delegation, not signed by its account, or not for this node and time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delegation:
    """Account `account` lets node `publisher` speak for it in a span of time."""

    account: AccountId
    publisher: NodeId
    label: str
    not_before: int
    "Unix seconds."
    not_after: int
    "Unix seconds; still valid at that second."
    signature: bytes

    @classmethod
    def issue(
        cls,
        key: AccountKey,
        *,
        publisher: NodeId,
        label: str,
        not_before: int,
        not_after: int,
        network: Network,
    ) -> Self:
        """Sign a delegation with the account's key."""
        claims = _claims(key.id, publisher, label, not_before, not_after)
        return cls(
            account=key.id,
            publisher=publisher,
            label=label,
            not_before=not_before,
            not_after=not_after,
            signature=key.sign(network.context("dlg1") + claims),
        )

    @classmethod
    def decode(cls, data: bytes, *, account: AccountId, network: Network) -> Self:
        """Read a delegation and check that `account` signed it.

        Raises:
            DelegationError: not canonical, or the signature does not hold.
        """
        try:
            values = msgpack.unpackb(
                data[: MAX_DELEGATION_BYTES + 1], use_list=False, max_map_len=0, max_ext_len=0
            )
            publisher, label, not_before, not_after, signature = values
            delegation = cls(
                account=account,
                publisher=NodeId(publisher),
                label=label,
                not_before=not_before,
                not_after=not_after,
                signature=signature,
            )
            delegation.check_form()
            canonical = delegation.encode()
        except (ValueError, TypeError, KeyFormatError, OverflowError) as error:
            raise DelegationError("not a delegation") from error
        if canonical != data:
            raise DelegationError("the delegation is not canonical")
        claims = _claims(account, delegation.publisher, label, not_before, not_after)
        try:
            account.verify(signature, network.context("dlg1") + claims)
        except SignatureError as error:
            raise DelegationError("the account did not sign this delegation") from error
        return delegation

    def check_form(self) -> None:
        """Check types and ranges.

        Raises:
            DelegationError: a field is not of its kind.
        """
        if not isinstance(self.label, str) or len(self.label.encode()) > MAX_LABEL_BYTES:
            raise DelegationError("the label is not a short text")
        if not isinstance(self.signature, bytes) or len(self.signature) != SIGNATURE_BYTES:
            raise DelegationError("the signature has not 64 bytes")
        for time in (self.not_before, self.not_after):
            if type(time) is not int or not 0 <= time <= _MAX_TIME:
                raise DelegationError("a time is not a number of seconds")

    def encode(self) -> bytes:
        """The one encoding."""
        values = [self.publisher, self.label, self.not_before, self.not_after, self.signature]
        return bytes(msgpack.packb([_plain(value) for value in values]))

    def covers(self, publisher: NodeId, *, now: UnixTime) -> bool:
        """Whether `publisher` may speak for the account at `now`, clocks being a little apart."""
        return (
            self.publisher == publisher
            and self.not_before - CLOCK_SKEW <= now <= self.not_after + CLOCK_SKEW
        )


def _claims(
    account: AccountId, publisher: NodeId, label: str, not_before: int, not_after: int
) -> bytes:
    values = [bytes(account), bytes(publisher), label, not_before, not_after]
    return bytes(msgpack.packb(values))


def _plain(value: object) -> object:
    return bytes(value) if isinstance(value, bytes) else value
