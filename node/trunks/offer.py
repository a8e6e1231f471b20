"""What a provider's trunk offers to other nodes, and to which: the operator's options.

Calls by an offer are paid by this node. So nothing is offered to nobody in particular: the nodes
that may use it are named, and their calls have limits of their own.
"""

import re
from collections.abc import Sequence

from dht.prefixes import MAX_PREFIX_DIGITS, MAX_PREFIXES
from federation.model.identity import KeyFormatError, NodeId
from node.accounts.login import AccountError
from node.trunks.rules import Rule, best_rule

MAX_OFFERED_NODES = 64
"Nodes that one trunk's offers are for."
_PREFIX = re.compile(rf"\+[0-9]{{0,{MAX_PREFIX_DIGITS}}}")


def read_offer(name: str, text: str) -> str:
    """The digits of `+49`; `+` alone stands for every number.

    Raises:
        AccountError: it is no such prefix.
    """
    plain = text.replace(" ", "")
    if not _PREFIX.fullmatch(plain):
        raise AccountError(
            f"trunk {name}: --offer {text[:32]!r}: give the beginning of numbers in international "
            "form, such as +49 or +4930; + alone offers every number"
        )
    return plain[1:]


def read_node(name: str, text: str) -> str:
    """A node's id, of the id or of its key name.

    Raises:
        AccountError: it is neither.
    """
    try:
        host = text.strip().lower()
        node = NodeId.from_key_name(host) if host.endswith(".alt") else NodeId.from_text(host)
    except KeyFormatError as error:
        raise AccountError(
            f"trunk {name}: --offer-to {text[:64]!r}: give the id of a node, as ringmesh status "
            "shows it there, or its key name"
        ) from error
    return node.text


def check_offers(
    name: str, offers: Sequence[str], nodes: Sequence[str], rules: tuple[Rule, ...]
) -> None:
    """Refuse offers that nobody may use, or that the trunk's own dial plan does not take.

    Raises:
        AccountError: says which, and what would do.
    """
    if len(offers) > MAX_PREFIXES or len(nodes) > MAX_OFFERED_NODES:
        raise AccountError(
            f"trunk {name}: at most {MAX_PREFIXES} prefixes with --offer and {MAX_OFFERED_NODES} "
            "nodes with --offer-to"
        )
    if offers and not nodes:
        raise AccountError(
            f"trunk {name}: --offer needs --offer-to NODE: this node pays for the calls, so name "
            "the nodes that may make them"
        )
    for prefix in offers:
        if best_rule(rules, f"+{prefix}0") is None:
            raise AccountError(
                f"trunk {name}: --offer +{prefix}: the trunk itself takes no such numbers; "
                f"add --prefix +{prefix}"
            )
