"""The one check that every record passes, when it is stored and again when it is read."""

from collections import OrderedDict
from hashlib import sha256

from dht.record import Record, RecordError
from federation.model.clocks import UnixTime
from federation.model.network import Network

CLOCK_SKEW_S = 300.0
"Seconds by which honest clocks may differ."
REMEMBERED = 4_096
"Envelopes whose signatures were checked and need not be again."


class RecordValidator:
    """Says whether an envelope is a record that may be believed now.

    Signatures are checked once for each envelope; times are checked at every call.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._decoded: OrderedDict[bytes, Record] = OrderedDict()

    def check(self, envelope: bytes, key: bytes | None, *, now: UnixTime) -> Record:
        """The record in `envelope`, which belongs to `key` (None: to whichever it says).

        Raises:
            RecordError: malformed, not signed by who may, from the future, expired, or of
                another key.
        """
        digest = sha256(envelope).digest()
        record = self._decoded.get(digest)
        if record is None:
            record = Record.decode(envelope, self._network)
            self._decoded[digest] = record
            if len(self._decoded) > REMEMBERED:
                self._decoded.popitem(last=False)
        if key is not None and record.key != key:
            raise RecordError("the record belongs to another key")
        check_time(record, now=now)
        return record


def check_time(record: Record, *, now: UnixTime) -> None:
    """Refuse what is not yet or no longer true, with clocks `CLOCK_SKEW_S` apart.

    Raises:
        RecordError: from the future, or expired.
    """
    if record.issued / 1000 > now + CLOCK_SKEW_S:
        raise RecordError("issued in the future")
    if now > record.expires + CLOCK_SKEW_S:
        raise RecordError("expired")
    delegation = record.delegation
    if delegation is not None and delegation.not_before > now + CLOCK_SKEW_S:
        raise RecordError("the delegation is not valid yet")
