"""What can be asked of a running node, whoever asks: the admin API, tests, another program.

Answers are plain JSON values, since they leave the process as they are. Keys listed here are
promised; an answer may hold more.
"""

from typing import TYPE_CHECKING, Any, Protocol

from federation.model.errors import RingmeshError

if TYPE_CHECKING:
    from federation.model.clocks import Clock
    from node.ban_desk import BanDesk
    from node.message_desk import MessageDesk
    from node.metrics.monitor import Monitor
    from node.phone_features import PhoneFeatures
    from node.storage.storage import Storage
    from node.trace_desk import TraceDesk
    from node.web.desk import WebDesk
    from node.web.invitations import InvitationDesk
    from node.web.provisioning import ProvisioningDesk

JsonObject = dict[str, Any]


class RefusedError(RingmeshError):
    """The node will not do what was asked; the text says why and what to do.

    `status` is the HTTP status of that answer: 400 malformed, 404 no such thing, 409 against the
    present state, 503 not now.
    """

    def __init__(self, sentence: str, status: int = 409) -> None:
        super().__init__(sentence)
        self.status = status


class NodeControl(Protocol):
    """A running node, as its operator sees it. Each method may raise `RefusedError`."""

    phone_features: "PhoneFeatures"
    message_desk: "MessageDesk"
    "Call forwarding, do-not-disturb and ring groups; there once the node was started."
    ban_desk: "BanDesk"
    web_desk: "WebDesk"
    trace_desk: "TraceDesk"
    invitation_desk: "InvitationDesk"
    provisioning_desk: "ProvisioningDesk"
    monitor: "Monitor"
    storage: "Storage"
    clock: "Clock"

    async def status(self) -> JsonObject:
        """How the node is.

        `ready` bool; `node_id`, `key_name`, `network`, `server` texts; `version` text; `domains`,
        `addresses` (`IP:PORT` of the mesh socket) lists of texts; `ports` list of
        [`sip`, `sip-tls`, `mesh` or `media`, `udp` or `tcp`, first, last]; `peers`, `accounts`,
        `registrations`, `calls` counts; `relay` object (`workers` list, `ports_free` count);
        `uptime` seconds.
        """

    async def peers(self) -> list[JsonObject]:
        """Nodes this one knows.

        `node_id`, `address`; `linked` bool; `rtt` seconds or null, `last_heard` seconds ago or
        null; `traffic` (`node.tracing.counts.PeerCounts`) where SIP passed.
        """

    async def resolve(self, uri: str) -> JsonObject:
        """Where a dialled target leads.

        `target` as given, `kind` text (service, local, number, key, domain, outside),
        `nodes` list of objects with `node_id` and `addresses`; `status` 200 or the SIP status a
        caller would get, `reason` text; `pin` null, or as `pins` has it.
        """

    async def why(self, uri: str) -> JsonObject:
        """What a call to a dialled target would meet, step by step.

        As `resolve`, and `uri`, `reading` texts; `proof` of a domain or null; `lookups`, `pins`,
        `nodes`, `devices` lists; `seconds`.
        """

    async def dht(self) -> JsonObject:
        """Figures of the directory: contacts, records, lookups, traffic, and more."""

    async def pins(self) -> list[JsonObject]:
        """Pinned names: `kind`, `name`, `key` or null, `since`, `last_seen`, `conflict` list."""

    async def pin_accept(self, name: str, key: str | None = None) -> JsonObject:
        """Pin a name to the key that was refused for it, or to `key`; the answer is the pin."""

    async def pin_forget(self, name: str) -> JsonObject:
        """Drop a pin; the answer is what it was."""

    async def domains(self) -> list[JsonObject]:
        """Own domains: `domain`, `source` (configuration, command), `proven`, `lacks` or null."""

    async def domain_add(self, name: str) -> JsonObject:
        """Answer for a domain from now on; the answer has `domain` and the `dns` lines."""

    async def domain_remove(self, name: str) -> JsonObject:
        """Answer for an added domain no more: `removed`."""

    async def domain_verify(self, name: str) -> JsonObject:
        """Ask DNS now: `domain`, `believed`, `phones` bools, and the `dns` lines with findings."""

    async def users_list(self) -> list[JsonObject]:
        """All users: `login`, `number` or null, `extension` or null, `name`, `devices` count."""

    async def user_show(self, login: str) -> JsonObject:
        """One user's sheet, as `node.sheet.AccountSheet.as_json` gives it, and its `devices`."""

    async def user_add(
        self,
        login: str,
        *,
        password: str | None = None,
        extension: str | None = None,
        name: str | None = None,
    ) -> JsonObject:
        """Make a user; the answer is its sheet with the password, given or generated."""

    async def user_passwd(self, login: str, *, password: str | None = None) -> JsonObject:
        """Give a user a new password; the answer is the sheet with it."""

    async def user_remove(self, login: str) -> None:
        """Remove a user, end its registrations and withdraw what was published for it."""

    async def turn_credentials(self, login: str, *, ttl: int | None = None) -> JsonObject:
        """Time-limited access to the relay: `username`, `password`, `ttl`, `expires`, `uris`."""

    async def calls(self) -> list[JsonObject]:
        """Calls under way.

        `id`, `from`, `to` texts, `state` (`ringing` or `up`), `since` seconds ago,
        `peer` node id or null, `codec` or null, `from_caller` and `from_callee`: how their sound
        arrives (as of call records), or null.
        """

    async def hangup(self, call: str) -> int:
        """End one call by its id, or all of them with `all`; returns how many were ended."""
