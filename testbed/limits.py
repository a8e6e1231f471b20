"""What still counts as a good call where gateways lose datagrams."""

import math
from itertools import pairwise

from node.phone.tones import Limits
from testbed.matrix import Pair
from testbed.topology import Topology

SECONDS = 2.0
"Of sound that are judged in each call."
ANSWER_WITHIN = 15.0
"Seconds until a call is answered; lost requests are repeated after 0.5, 1, 2 … s."
USUAL_LOSS = 0.1
"Part that may be missing without loss: fifteen programs share a machine that may be busy."
_PACKETS = SECONDS / 0.02
_DEVIATIONS = 4
"Standard deviations by which chance may exceed the mean; beyond lies one call in 30,000."


def limits_between(topology: Topology, pair: Pair, loss: float) -> Limits:
    """The limits of a call in which every gateway loses `loss` per cent of what comes in."""
    share = loss_between(topology, pair, loss)
    spread = _DEVIATIONS * math.sqrt(share * (1 - share) / _PACKETS)
    return Limits(loss=min(USUAL_LOSS + share + spread, 1.0), onset=0.5 if not loss else 1.0)


def loss_between(topology: Topology, pair: Pair, loss: float) -> float:
    """The part of the sound that is lost on the worse way between two phones.

    A datagram is at risk wherever it comes in through a gateway from outside: from the speaker to
    the speaker's node, on to the listener's, and to the listener.
    """
    ways = []
    for names in ((pair.caller, pair.callee), (pair.callee, pair.caller)):
        speaker, listener = (topology.phones[name] for name in names)
        nodes = [topology.nodes[phone.node].network for phone in (speaker, listener)]
        places = [speaker.network, *nodes, listener.network]
        ways.append(sum(topology.entered(here, there) for here, there in pairwise(places)))
    return float(1 - (1 - loss / 100) ** max(ways))
