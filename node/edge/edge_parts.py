"""What the edge is built with."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from federation.model.clocks import Clock, Entropy
from federation.model.identity import NodeId
from node.accounts.book import AccountBook
from node.edge.hub import NodeLinks, Relay, Wires
from node.edge.outward import OutwardParts
from node.edge.trunk_lines import TrunkParts
from node.edge.vouching import Voucher
from node.edge.watch import MEDIA_TIMEOUT
from node.limits_config import LimitsConfig
from node.names import OwnNames
from node.routing import Locator, TargetReader
from node.sip.binding import BindingChange
from node.sip.digest import DigestAuthenticator
from node.sip.overload import OverloadControl
from node.sip.registrar import Registrar
from node.sip_config import SipConfig
from node.storage.bans import BanBook
from node.storage.call_records import CallRecords
from node.storage.dialogs import DialogStore
from node.storage.features import FeatureBook
from node.storage.messages import MessageStore
from node.storage.ring_groups import RingGroups
from node.tracing.counts import Counts
from node.tracing.tap import Tap


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeParts:
    """What the edge is built with."""

    node: NodeId
    names: OwnNames
    token_secret: bytes
    wires: Wires
    links: NodeLinks
    relay: Relay
    accounts: AccountBook
    digest: DigestAuthenticator
    registrar: Registrar
    reader: TargetReader
    locator: Locator
    voucher: Voucher
    store_bindings: Callable[[Iterable[BindingChange]], None]
    dialogs: DialogStore
    records: CallRecords
    features: FeatureBook
    ring_groups: RingGroups
    bans: BanBook
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    clock: Clock
    entropy: Entropy
    media_timeout: float = MEDIA_TIMEOUT
    "Seconds without media from anybody after which a call is over that should have some."
    overload: OverloadControl = field(default_factory=OverloadControl)
    "Told by the transports whether messages wait."
    sip: SipConfig = field(default_factory=SipConfig)
    "What others may do here, and how long messages wait."
    messages: MessageStore | None = None
    "Keeps messages for those who are not there; `None`: nobody does."
    outward: OutwardParts | None = None
    "What calls to other SIP networks need; `None`: there are none."
    trunks: TrunkParts = field(default_factory=TrunkParts)
    tap: Tap = field(default_factory=Tap)
    "Told of every message."
    counts: Counts = field(default_factory=Counts)
    "Told of calls that ended, and of what was repeated."
