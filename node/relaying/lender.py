"""Relaying for others: their tokens become guests of the relay, and receipts say what they used.

Nothing of it survives a restart; who was lent something asks again.
"""

import asyncio
import base64
import hashlib
import hmac
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from federation.model.clocks import Clock, Entropy
from federation.model.identity import NodeId, NodeKey
from federation.model.network import Network
from federation.ports import ServerTransaction
from federation.relay_token import RelayReceipt, RelayToken, RelayTokenError
from media_relay.pool import RelayPool
from media_relay.turn.credentials import account_of
from media_relay.turn.guests import GUEST
from media_relay.turn_config import TurnAccount
from node.relaying import words
from node.sip.digest import REALM

MAX_GRANTS = 2048
"Tokens that are in force or remembered; then 486."
MAX_GRANTS_A_NODE = 32
REMEMBERED_SECONDS = 3600
"How long a receipt can be asked for after the end; a nonce is known as used until then."
SETTLE_SECONDS = 1.5
"Workers report what accounts used once a second; a last receipt waits for that."

log = structlog.get_logger("relay")


@dataclass(slots=True)
class Grant:
    """One token that was accepted."""

    token: RelayToken
    login: str
    begun: int
    ended: int | None = None
    to_peers: int = 0
    to_clients: int = 0

    @property
    def used(self) -> int:
        """Bytes, both directions."""
        return self.to_peers + self.to_clients


class RelayLender:
    """Answers `RELAY` requests of other nodes.

    `refusal` says why nobody may be lent anything now, as a status of `words`, `None` if one may.
    """

    def __init__(
        self,
        key: NodeKey,
        network: Network,
        pool: RelayPool,
        *,
        uris: Callable[[], list[str]],
        refusal: Callable[[], int | None],
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._key, self._network, self._pool = key, network, pool
        self._uris, self._refusal, self._clock = uris, refusal, clock
        self._secret = entropy.token(32)
        self._grants: OrderedDict[bytes, Grant] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()

    def on_request(self, txn: ServerTransaction) -> None:
        """Take a request whose method is `words.METHOD`."""
        try:
            what, data = words.read_request(txn.request.sip)
            if what == words.ASK:
                status, body = self._ask(txn.peer, data)
            elif what in (words.RECEIPT, words.END):
                status, body = self._receipt(txn, what, data)
            else:
                status, body = words.MALFORMED, b""
        except (words.WordsError, RelayTokenError) as error:
            log.info("relay_request_refused", node=txn.peer.text[:12], reason=str(error))
            status, body = words.MALFORMED, b""
        if status:
            txn.respond(words.response(status, body), final=True)

    def __len__(self) -> int:
        """Tokens in force."""
        return sum(grant.ended is None for grant in self._grants.values())

    def tick(self) -> None:
        """End what expired or used up its quota; forget what ended long ago."""
        now, relayed = self._clock.unix(), self._pool.turn_report().accounts
        for nonce, grant in list(self._grants.items()):
            counts = relayed.get(grant.login)
            if counts is not None:
                grant.to_peers = counts.bytes_to_peers
                grant.to_clients = counts.bytes_to_clients
            if grant.ended is None:
                if grant.token.not_after <= now or grant.used >= grant.token.quota:
                    self._end(grant)
            elif max(grant.ended, grant.token.not_after) + REMEMBERED_SECONDS < now:
                del self._grants[nonce]

    def end_all(self) -> None:
        """The owner wants no strangers any more."""
        for grant in self._grants.values():
            self._end(grant)

    def close(self) -> None:
        """Leave what waits unanswered."""
        for task in self._tasks:
            task.cancel()

    def _ask(self, asker: NodeId, data: bytes) -> tuple[int, bytes]:
        now = self._clock.unix()
        refused = self._refusal()
        if refused is not None:
            return refused, b""
        token = RelayToken.verify(
            data, asker=asker, relay=self._key.id, network=self._network, now=now
        )
        known = self._grants.get(token.nonce)
        if known is not None and (known.token != token or known.ended is not None):
            raise RelayTokenError("the token was used before")
        if known is None and not self._has_room(asker):
            return words.FULL, b""
        grant = known or self._granted(token, int(now))
        lent = words.Lent(
            grant.login, self._password(grant.login), token.not_after, tuple(self._uris())
        )
        return words.OK, lent.encode()

    def _granted(self, token: RelayToken, now: int) -> Grant:
        name = hashlib.sha256(bytes(token.asker) + token.nonce).digest()[:15]
        grant = Grant(token, GUEST + base64.urlsafe_b64encode(name).decode(), now)
        self._grants[token.nonce] = grant
        account = account_of(grant.login, REALM, self._password(grant.login))
        self._pool.turn_accounts([TurnAccount(account.login, account.md5, account.sha256)])
        asker = token.asker.text[:12]
        log.info("relay_lent", node=asker, until=token.not_after, bytes=token.quota)
        return grant

    def _password(self, login: str) -> str:
        return base64.b64encode(hmac.digest(self._secret, login.encode(), "sha256")).decode()

    def _has_room(self, asker: NodeId) -> bool:
        held = Counter(grant.token.asker for grant in self._grants.values())
        return len(self._grants) < MAX_GRANTS and held[asker] < MAX_GRANTS_A_NODE

    def _receipt(self, txn: ServerTransaction, what: str, nonce: bytes) -> tuple[int, bytes]:
        grant = self._grants.get(nonce)
        if grant is None or grant.token.asker != txn.peer:
            return words.UNKNOWN, b""
        if what == words.END and grant.ended is None:
            self._end(grant)
            task = asyncio.get_running_loop().create_task(self._answer_later(txn, grant))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return 0, b""
        self.tick()
        return words.OK, self._written(grant)

    async def _answer_later(self, txn: ServerTransaction, grant: Grant) -> None:
        await asyncio.sleep(SETTLE_SECONDS)
        self.tick()
        txn.respond(words.response(words.OK, self._written(grant)), final=True)

    def _written(self, grant: Grant) -> bytes:
        ended = int(self._clock.unix()) if grant.ended is None else grant.ended
        return RelayReceipt(
            relay=self._key.id,
            asker=grant.token.asker,
            nonce=grant.token.nonce,
            begun=grant.begun,
            ended=ended,
            bytes_to_peers=grant.to_peers,
            bytes_to_clients=grant.to_clients,
        ).sign(self._key, self._network)

    def _end(self, grant: Grant) -> None:
        if grant.ended is None:
            grant.ended = int(self._clock.unix())
            self._pool.turn_accounts(remove=[grant.login])
            asker = grant.token.asker.text[:12]
            log.info("relay_lending_ended", node=asker, bytes=grant.used)
