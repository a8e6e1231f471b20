"""Whether strangers can reach this node; until that is known it is a client. A core: no sockets.

A node behind a NAT or a firewall answers those whom it asked, and nobody else. In tables it would
cost every lookup that is told of it a silence. So a node *serves* the global network only after
peers in different networks confirmed that they reach it, each family of addresses on its own. A
client looks up and publishes as everybody does; it says in its pings that it is a client, answers
nothing but pings, and nobody keeps it in a table or hands it on.

Two things confirm:

- *A ping-back.* A ping may carry a token. Who takes it, and knows the asker's address by a cookie,
  sends a ping with that token to this address from another port of its own. A NAT or firewall that
  lets only answers pass drops it. Nobody but the asker is ever sent to, and at most one datagram
  for one of its own.
- *Strangers.* A request with a cookie (so its sender receives where it sends from) by an address to
  which this node had not sent anything before that address first wrote.

So many networks must have confirmed as there are known ones, at most three: where nobody global
is known, nobody need confirm. Loopback and LAN addresses are always served.
"""

import hmac
from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

from dht.messages import TOKEN_BYTES
from dht.scope import is_local, wide_network
from federation.model.address import Endpoint
from federation.model.clocks import Entropy, Monotonic

CONFIRMATIONS = 3
"Networks that must have confirmed, where so many are known."
CONFIRMATION_S = 7_200.0
"How long a confirmation counts."
RENEW_S = 3_600.0
"Confirmations older than this are sought anew."
PROBATION_S = 300.0
"How long a node that was confirmed goes on serving when more is asked of it than it has."
ASK_AGAIN_S = 300.0
"The same network is asked for a ping-back again after this."
ANSWER_WITHIN_S = 10.0
"A ping-back that comes later does not count."
MAX_QUESTIONS = 16
"Tokens that wait for their ping-back."
MAX_FLOWS = 4_096
"Addresses for which it is remembered who wrote first; about 0.2 kB each."
MAX_CONFIRMING = 64
"Networks whose confirmations are kept, each family."


class FamilyReach(NamedTuple):
    """How one family of addresses stands, for people to see."""

    family: int
    "4 or 6."
    serves: bool
    confirmed: int
    "Networks that confirmed."
    needed: int
    "Networks that must confirm, as far as is known."


class _Question(NamedTuple):
    token: bytes
    asked: Endpoint
    at: Monotonic


class _Side:
    """One family."""

    def __init__(self) -> None:
        self.confirmed: OrderedDict[bytes, Monotonic] = OrderedDict()
        self.asked: dict[bytes, Monotonic] = {}
        self.known: frozenset[bytes] = frozenset()
        self.satisfied_at: Monotonic | None = None

    @property
    def needed(self) -> int:
        return min(CONFIRMATIONS, len(self.known))

    def confirm(self, network: bytes, now: Monotonic) -> None:
        self.confirmed[network] = now
        self.confirmed.move_to_end(network)
        while len(self.confirmed) > MAX_CONFIRMING:
            self.confirmed.popitem(last=False)
        self.count(now)

    def count(self, now: Monotonic) -> None:
        """Forget what is too old, and note whether enough is left."""
        for network, at in list(self.confirmed.items()):
            if now - at > CONFIRMATION_S:
                del self.confirmed[network]
        self.asked = {n: at for n, at in self.asked.items() if now - at < ASK_AGAIN_S}
        if self.needed and len(self.confirmed) >= self.needed:
            self.satisfied_at = now

    def serves(self, now: Monotonic) -> bool:
        if len(self.confirmed) >= self.needed:
            return True
        return self.satisfied_at is not None and now - self.satisfied_at < PROBATION_S

    def seeks(self, now: Monotonic) -> bool:
        """Whether confirmations are wanted: too few, or too few young ones."""
        young = sum(now - at < RENEW_S for at in self.confirmed.values())
        return young < self.needed


class Reachability:
    """What is known of how this node is reached. Feed it who wrote, whom we wrote to, and peers."""

    def __init__(self, *, entropy: Entropy) -> None:
        self._entropy = entropy
        self._sides = {False: _Side(), True: _Side()}
        self._wrote_first: OrderedDict[str, bool] = OrderedDict()
        self._questions: list[_Question] = []

    def serves(self, asker: Endpoint, *, now: Monotonic) -> bool:
        """Whether this node serves who asks from there."""
        return is_local(asker) or self._sides[asker.is_ipv6].serves(now)

    def sent(self, to: Endpoint) -> None:
        """A datagram goes out."""
        self._note(to, wrote_first=False)

    def heard(self, source: Endpoint) -> None:
        """A datagram came in."""
        self._note(source, wrote_first=True)

    def _note(self, endpoint: Endpoint, *, wrote_first: bool) -> None:
        host = endpoint.host
        if host in self._wrote_first:
            self._wrote_first.move_to_end(host)
        elif not is_local(endpoint):
            self._wrote_first[host] = wrote_first
            if len(self._wrote_first) > MAX_FLOWS:
                self._wrote_first.popitem(last=False)

    def proven(self, source: Endpoint, *, now: Monotonic) -> None:
        """A request came from an address that its cookie proves."""
        if self._wrote_first.get(source.host):
            self._sides[source.is_ipv6].confirm(wide_network(source.ip), now)

    def know(self, peers: Iterable[Endpoint], *, now: Monotonic) -> None:
        """These are the peers that serve, as of now."""
        networks: dict[bool, set[bytes]] = {False: set(), True: set()}
        for endpoint in peers:
            if not is_local(endpoint):
                networks[endpoint.is_ipv6].add(wide_network(endpoint.ip))
        for is_ipv6, side in self._sides.items():
            side.known = frozenset(networks[is_ipv6])
            side.count(now)

    def learn(self, peer: Endpoint) -> None:
        """A peer that serves is new: one network more may have to confirm."""
        if not is_local(peer):
            side = self._sides[peer.is_ipv6]
            side.known |= {wide_network(peer.ip)}

    def moved(self) -> None:
        """This node's addresses changed: what was confirmed of the old ones says nothing now.

        Probation goes on, so a change that is none to strangers does no harm.
        """
        for side in self._sides.values():
            side.confirmed.clear()
            side.asked.clear()
        self._questions.clear()

    def to_ask(self, peers: Iterable[Endpoint], *, now: Monotonic) -> list[Endpoint]:
        """Whom to ask for a ping-back now: one in each network, no more than are needed."""
        chosen: list[Endpoint] = []
        for is_ipv6, side in self._sides.items():
            if not side.seeks(now):
                continue
            count = 0
            for endpoint in peers:
                if endpoint.is_ipv6 is not is_ipv6 or is_local(endpoint):
                    continue
                network = wide_network(endpoint.ip)
                at = side.confirmed.get(network)
                if network in side.asked or (at is not None and now - at < RENEW_S):
                    continue
                side.asked[network] = now
                chosen.append(endpoint)
                count += 1
                if count == CONFIRMATIONS:
                    break
        return chosen

    def question(self, asked: Endpoint, *, now: Monotonic) -> bytes:
        """The token for a ping that asks for a ping-back."""
        token = self._entropy.token(TOKEN_BYTES)
        self._questions.append(_Question(token, asked, now))
        del self._questions[:-MAX_QUESTIONS]
        return token

    def pinged_back(self, token: bytes, source: Endpoint, *, now: Monotonic) -> bool:
        """A ping came with this token; True if it is the one that was waited for.

        It confirms in the name of who was asked, and must come from another port or address.
        """
        for question in self._questions:
            if now - question.at <= ANSWER_WITHIN_S and hmac.compare_digest(question.token, token):
                if source == question.asked or source.is_ipv6 != question.asked.is_ipv6:
                    return False
                self._questions.remove(question)
                network = wide_network(question.asked.ip)
                self._sides[source.is_ipv6].confirm(network, now)
                return True
        return False

    def families(self, *, now: Monotonic) -> tuple[FamilyReach, ...]:
        """IPv4, then IPv6."""
        return tuple(
            FamilyReach(6 if is_ipv6 else 4, side.serves(now), len(side.confirmed), side.needed)
            for is_ipv6, side in self._sides.items()
        )
