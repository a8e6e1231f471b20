"""A node's signed word on who is calling: the claims of an RFC 8225 PASSporT in msgpack.

Bytes: msgpack [signer 32 B, claims (bin), signature 64 B]. The signature covers context "stmt1" and
the claims exactly as they travel. Claims: msgpack [1, orig URI, orig number or nil, account key or
nil, delegation or nil, dest, iat, SHA-256(msgpack [Call-ID, From-tag]), div or nil].

What a valid statement proves: the node at the other end of the link vouches for this caller, for
this one call, now; and, where an account key stands in it, that the account lets that node speak
for it. It does not prove that the number belongs to the account key (that costs an Argon2id and is
asked of `derive_number`) nor that a domain in the URI belongs to the node (`domain_proof.py`).
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import msgpack

from federation.codec import CodecError, unpack_array
from federation.delegation import Delegation, DelegationError
from federation.messages import MAX_STATEMENT_BYTES, MAX_TEXT_BYTES, TXN_BYTES
from federation.model.clocks import Monotonic, UnixTime
from federation.model.errors import PeerError, SignatureError, UsageError
from federation.model.identity import AccountId, KeyFormatError, NodeId, NodeKey
from federation.model.network import Network
from federation.model.number import Number, NumberError

CLAIMS_VERSION = 1
MAX_AGE = 60.0
"Seconds by which `iat` may lie before or after the reader's clock."
MAX_DIVERSIONS = 5
"Hops that may stand one within the other in `div`."
REMEMBERED_STATEMENTS = 65_536
REMEMBERED_PER_NODE = 8_192
_DIGEST_BYTES = 32


class StatementError(PeerError):
    """The statement proves nothing; the call shows as unverified."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who is calling, as a node states it."""

    uri: str
    number: Number | None
    account: AccountId | None
    delegation: bytes | None
    "The account's delegation to the signing node, encoded; with `account`, and only with it."


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A caller statement whose signature, time, call and delegation have been checked."""

    signer: NodeId
    caller: Caller
    destination: str
    issued_at: int
    "Unix seconds (`iat`)."
    diverted: "Statement | None"
    "The statement of the call before it was forwarded; `destination` is where it then went."
    digest: bytes
    "SHA-256 of the encoded statement."


def call_digest(call_id: str, from_tag: str) -> bytes:
    """The name of a call as statements carry it."""
    return hashlib.sha256(bytes(msgpack.packb([call_id, from_tag]))).digest()


def issue_statement(
    key: NodeKey,
    *,
    network: Network,
    caller: Caller,
    destination: str,
    call: bytes,
    now: UnixTime,
    diverted: bytes | None = None,
) -> bytes:
    """Sign who is calling.

    Args:
        call: `call_digest` of the request's Call-ID and From tag.
        destination: the Request-URI that the receiving node will read.
        diverted: the encoded statement of the call that is being forwarded.

    Raises:
        UsageError: the parts do not fit together or are too long.
    """
    if (caller.account is None) != (caller.delegation is None):
        raise UsageError("an account key and its delegation come together")
    claims = msgpack.packb(
        [
            CLAIMS_VERSION,
            caller.uri,
            caller.number,
            None if caller.account is None else bytes(caller.account),
            caller.delegation,
            destination,
            int(now),
            call,
            diverted,
        ]
    )
    signature = key.sign(network.context("stmt1") + claims)
    statement: bytes = msgpack.packb([bytes(key.id), claims, signature])
    if len(statement) > MAX_STATEMENT_BYTES:
        raise UsageError(f"a statement of {len(statement)} bytes")
    return statement


def verify_statement(
    data: bytes,
    *,
    network: Network,
    peer: NodeId,
    destination: str,
    call: bytes,
    now: UnixTime,
) -> Statement:
    """Check a statement that came with a request from `peer`.

    Raises:
        StatementError: not canonical, not signed by `peer`, for another call or destination, too
            old, from the future, or with an account that did not delegate to the signer.
    """
    statement, named_call = _read(data, network, now, MAX_DIVERSIONS)
    if statement.signer != peer:
        raise StatementError("signed by another node than the one that sent it")
    if named_call != call:
        raise StatementError("made for another call")
    if statement.destination != destination:
        raise StatementError("made for another destination")
    return statement


def _read(data: bytes, network: Network, now: UnixTime, hops_left: int) -> tuple[Statement, bytes]:
    signer, claims, signature = _outer(data)
    try:
        signer.verify(signature, network.context("stmt1") + claims)
    except SignatureError as error:
        raise StatementError("the signature does not hold") from error
    version, uri, number, account, delegation, destination, issued_at, call, div = _claims(claims)
    if version != CLAIMS_VERSION:
        raise StatementError("claims of an unknown version")
    _check_types(uri, destination, issued_at, call)
    if abs(now - issued_at) > MAX_AGE:
        raise StatementError("made too long ago, or in the future")
    diverted = None
    if div is not None:
        if hops_left == 0 or not isinstance(div, bytes):
            raise StatementError(f"diverted more than {MAX_DIVERSIONS} times")
        diverted, diverted_call = _read(div, network, now, hops_left - 1)
        if diverted_call != call:
            raise StatementError("diverted from another call")
    statement = Statement(
        signer=signer,
        caller=_caller(uri, number, account, delegation, signer, network, now),
        destination=destination,
        issued_at=issued_at,
        diverted=diverted,
        digest=hashlib.sha256(data).digest(),
    )
    return statement, call


def _outer(data: bytes) -> tuple[NodeId, bytes, bytes]:
    values = _canonical(data)
    if len(values) != 3 or not all(isinstance(value, bytes) for value in values):
        raise StatementError("a statement is [signer, claims, signature]")
    try:
        return NodeId(values[0]), values[1], values[2]
    except KeyFormatError as error:
        raise StatementError("the signer is not a node key") from error


def _claims(data: bytes) -> tuple[Any, ...]:
    values = _canonical(data)
    if len(values) != 9:
        raise StatementError("a statement has nine claims")
    return values


def _canonical(data: bytes) -> tuple[Any, ...]:
    """Signed bytes have exactly one spelling."""
    try:
        values = unpack_array(data, limit=MAX_STATEMENT_BYTES)
        again: bytes = msgpack.packb(values)
    except (CodecError, ValueError, TypeError) as error:
        raise StatementError("not a statement") from error
    if again != data:
        raise StatementError("the statement is not canonical")
    return values


def _check_types(uri: Any, destination: Any, issued_at: Any, call: Any) -> None:
    for text in (uri, destination):
        if not isinstance(text, str) or not 0 < len(text.encode()) <= MAX_TEXT_BYTES:
            raise StatementError("a URI is not a text of usual length")
    if type(issued_at) is not int:
        raise StatementError("iat is not a number of seconds")
    if not isinstance(call, bytes) or len(call) != _DIGEST_BYTES:
        raise StatementError("the call is not named by a digest")


def _caller(
    uri: str,
    number: Any,
    account: Any,
    delegation: Any,
    signer: NodeId,
    network: Network,
    now: UnixTime,
) -> Caller:
    for value, kind in ((number, str), (account, bytes), (delegation, bytes)):
        if value is not None and not isinstance(value, kind):
            raise StatementError("a claim is not of its kind")
    if (account is None) != (delegation is None):
        raise StatementError("an account key and its delegation come together")
    try:
        caller = Caller(
            uri=uri,
            number=None if number is None else Number(number),
            account=None if account is None else AccountId(account),
            delegation=delegation,
        )
        if caller.account is not None:
            proof = Delegation.decode(delegation, account=caller.account, network=network)
            if not proof.covers(signer, now=now):
                raise StatementError("the account did not delegate to the signer for this time")
    except (NumberError, KeyFormatError, DelegationError) as error:
        raise StatementError(str(error)) from error
    return caller


class ReplayGuard:
    """Remembers used statements until they are too old to pass anyway.

    A resend of the same request carries the same txn and is no reuse.
    """

    def __init__(self) -> None:
        self._used: dict[bytes, tuple[bytes, NodeId, Monotonic]] = {}
        self._per_node: dict[NodeId, int] = {}

    def __len__(self) -> int:
        return len(self._used)

    def admit(self, statement: Statement, txn: bytes, *, now: Monotonic) -> None:
        """Note that `txn` uses this statement.

        Raises:
            StatementError: another transaction used it, or too many are remembered.
        """
        if len(txn) != TXN_BYTES:
            raise UsageError("a txn has 16 bytes")
        self._expire(now)
        used = self._used.get(statement.digest)
        if used is not None:
            if used[0] != txn:
                raise StatementError("used by an earlier call")
            return
        count = self._per_node.get(statement.signer, 0)
        if len(self._used) >= REMEMBERED_STATEMENTS or count >= REMEMBERED_PER_NODE:
            raise StatementError("too many statements at once")
        # A statement may come MAX_AGE early and pass until MAX_AGE late.
        self._used[statement.digest] = (txn, statement.signer, Monotonic(now + 2 * MAX_AGE))
        self._per_node[statement.signer] = count + 1

    def _expire(self, now: Monotonic) -> None:
        # Entries were added in the order of their expiry.
        while self._used:
            digest = next(iter(self._used))
            _, signer, expires = self._used[digest]
            if expires > now:
                return
            del self._used[digest]
            count = self._per_node[signer] - 1
            if count:
                self._per_node[signer] = count
            else:
                del self._per_node[signer]
