"""Writing the responses of a TURN server.

An answer to somebody who has not proven to know a password may go to a victim whose address was
forged. Over UDP it never has more than `AMPLIFICATION` times the bytes of the request: words, and
then newer parts of a challenge, are left out, and where that does not do there is no answer.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from federation.model.clocks import Monotonic
from media_relay.stun.attributes import Attribute, Code, MessageClass
from media_relay.stun.message import Message, StunError, respond
from media_relay.stun.values import error_code, u32, unknown_attributes, xor_address
from media_relay.turn.allocation import Allocation, Draft
from media_relay.turn.authentication import Authenticated, Authenticator
from media_relay.turn.config import TurnConfig
from media_relay.turn.discovery import ATTRIBUTES as DISCOVERY_ATTRIBUTES
from media_relay.turn.discovery import BehaviourRequest, padding
from media_relay.turn.effects import Client, Effect, Reply

AMPLIFICATION = 3
"Bytes out for each byte in, at most, to somebody unproven."
_BOTH = (True, False)
"With words and without."
_CHALLENGED = frozenset({Code.UNAUTHENTICATED, Code.STALE_NONCE})

Attributes = Iterable[tuple[int, bytes]]


class Answers:
    """Makes responses, and counts those that refuse by their code in `refused`."""

    def __init__(
        self, authenticator: Authenticator, config: TurnConfig, refused: Counter[int]
    ) -> None:
        self._authenticator = authenticator
        self._discovery = config.discovery
        self._refused = refused
        self._software: list[tuple[int, bytes]] = (
            [(Attribute.SOFTWARE, config.software.encode())] if config.software else []
        )

    # To strangers

    def binding(self, request: Message, client: Client) -> list[Effect]:
        """RFC 8489: the client's address as it was seen, to anybody; RFC 5780 where served."""
        is_discovery = self._discovery.serves(client)
        unknown = [
            one for one in request.unknown() if not (is_discovery and one in DISCOVERY_ATTRIBUTES)
        ]
        if unknown:
            self._refused[Code.UNKNOWN_ATTRIBUTE] += 1
            return self._to_stranger(
                request, client, (self._unknown(unknown, words) for words in _BOTH)
            )
        address = xor_address(client.endpoint, request.transaction_id)
        mapped = [(int(Attribute.XOR_MAPPED_ADDRESS), address)]
        if is_discovery:
            return self._behaviour(request, client, mapped)
        return [Reply(respond(request, MessageClass.SUCCESS, mapped).encode(), client)]

    def _behaviour(
        self, request: Message, client: Client, mapped: list[tuple[int, bytes]]
    ) -> list[Effect]:
        """RFC 5780 section 6; what the request is too short to earn is left out, last first."""
        try:
            asked = BehaviourRequest.read(request)
        except StunError:
            self._refused[Code.BAD_REQUEST] += 1
            return self._to_stranger(
                request,
                client,
                ([(Attribute.ERROR_CODE, error_code(Code.BAD_REQUEST, words))] for words in _BOTH),
            )
        more, receiver = self._discovery.answer(asked, client)
        most = AMPLIFICATION * len(request.raw)
        for count in range(len(more), -1, -1):
            message = respond(request, MessageClass.SUCCESS, mapped + more[:count])
            data = message.encode()
            if len(data) <= most:
                break
        if asked.has_padding:
            attributes = (*message.attributes, *padding(most - len(data)))
            data = replace(message, attributes=attributes).encode()
        return [Reply(data, receiver)] if len(data) <= most else []

    def challenge(
        self, request: Message, client: Client, code: Code, now: Monotonic
    ) -> list[Effect]:
        """400, 401 or 438 to a request that is not proven."""
        self._refused[code] += 1
        forms = []
        for words, algorithms in ((True, True), (False, True), (False, False)):
            attributes = [(int(Attribute.ERROR_CODE), error_code(code, words))]
            if code in _CHALLENGED:
                attributes += self._authenticator.challenge(
                    client.host, now=now, algorithms=algorithms
                )
            forms.append(attributes)
        return self._to_stranger(request, client, forms)

    def _to_stranger(
        self, request: Message, client: Client, forms: Iterable[Attributes]
    ) -> list[Effect]:
        for attributes in forms:
            data = respond(request, MessageClass.ERROR, attributes).encode()
            # The handshake of a stream has proven the address.
            if client.connection or len(data) <= AMPLIFICATION * len(request.raw):
                return [Reply(data, client)]
        return []

    # To known clients

    def success(
        self, request: Message, client: Client, caller: Authenticated, attributes: Attributes
    ) -> Reply:
        """A success response."""
        message = respond(request, MessageClass.SUCCESS, [*attributes, *self._software])
        return Reply(message.encode(caller.key), client)

    def error(self, request: Message, client: Client, caller: Authenticated, code: Code) -> Reply:
        """An error response."""
        self._refused[code] += 1
        attributes = [(int(Attribute.ERROR_CODE), error_code(code)), *self._software]
        return Reply(respond(request, MessageClass.ERROR, attributes).encode(caller.key), client)

    def unknown_attributes(
        self, request: Message, client: Client, caller: Authenticated, unknown: list[int]
    ) -> Reply:
        """420, and which attributes were not understood."""
        self._refused[Code.UNKNOWN_ATTRIBUTE] += 1
        message = respond(request, MessageClass.ERROR, self._unknown(unknown, True))
        return Reply(message.encode(caller.key), client)

    def refreshed(
        self, request: Message, client: Client, caller: Authenticated, lifetime: int
    ) -> Reply:
        """The answer to a Refresh request."""
        return self.success(request, client, caller, [(Attribute.LIFETIME, u32(lifetime))])

    def allocated(self, allocation: Allocation, draft: Draft) -> Reply:
        """The answer to an Allocate request whose ports were all opened or refused."""
        request, client = draft.request, allocation.client
        caller = Authenticated(allocation.login, draft.key)
        if not allocation.relayed:
            return self.error(request, client, caller, draft.refusal)
        transaction_id = request.transaction_id
        attributes = [
            (int(Attribute.XOR_RELAYED_ADDRESS), xor_address(relayed, transaction_id))
            for _, relayed in sorted(allocation.relayed.items())
        ]
        attributes += [
            (Attribute.LIFETIME, u32(allocation.lifetime)),
            *draft.extras,
            (Attribute.XOR_MAPPED_ADDRESS, xor_address(client.endpoint, transaction_id)),
        ]
        return self.success(request, client, caller, attributes)

    @staticmethod
    def _unknown(unknown: list[int], words: bool) -> list[tuple[int, bytes]]:
        return [
            (Attribute.ERROR_CODE, error_code(Code.UNKNOWN_ATTRIBUTE, words)),
            (Attribute.UNKNOWN_ATTRIBUTES, unknown_attributes(unknown)),
        ]
