"""Every operation of the API: what it does, takes and answers."""

from dataclasses import dataclass, field
from typing import Any

from node import api_features, api_resources, api_schema, trunk_api
from node.api_arrivals import NewArrival
from node.api_bans import NewBan
from node.api_messages import NewMessage
from node.relaying.api import WantedLeases
from node.relaying.consent import ConsentChange
from node.trunks.options import NewTrunk, TrunkOptions
from node.web.api import NewConsolePassword, NewToken
from node.web.api_links import NewDeviceLink, NewInvitation

Json = dict[str, Any]
"An object that is described in words alone."


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one resource."""

    summary: str
    answer: Any
    body: Any = None
    query: dict[str, str] = field(default_factory=dict)
    "What may stand after `?`, with its meaning; a name that ends in `!` must."
    status: int = 200


S = api_schema
R = api_resources
_URI = {"uri!": "A number, a login or user@domain."}
_TRACE = {"format": "`json` or `text`."}
_RECORDS = {
    "limit": "At most so many, the newest first (100).",
    "account": "Only calls of this login.",
    "since": "Only later ones: an age (`12h`) or an instant in UTC.",
}
OPERATIONS = {
    "GET /v1/openapi.json": Operation("This description.", Json),
    "GET /v1/status": Operation("How the node is.", S.Status),
    "GET /v1/peers": Operation("Nodes that this one knows.", list[S.Peer]),
    "GET /v1/resolve": Operation("Where a target leads.", S.Where, query=_URI),
    "GET /v1/why": Operation("What a call would meet.", S.Explanation, query=_URI),
    "GET /v1/dht": Operation("Figures of the directory.", Json),
    "GET /v1/pins": Operation("Pinned names.", list[S.Pin]),
    "POST /v1/pins/{name}": Operation("Pin a name to another key.", S.Pin, R.AcceptedKey),
    "DELETE /v1/pins/{name}": Operation("Forget a pin.", S.Pin),
    "GET /v1/domains": Operation("Own domains.", list[S.Domain]),
    "POST /v1/domains": Operation("Add a domain.", S.DomainSheet, R.NewDomain, status=201),
    "DELETE /v1/domains/{name}": Operation("Remove a domain.", dict[str, str]),
    "GET /v1/domains/{name}/check": Operation("Ask its DNS now.", S.DomainCheck),
    "GET /v1/users": Operation("All users.", list[S.UserRow]),
    "POST /v1/users": Operation("Make a user.", S.Sheet, R.NewUser, status=201),
    "POST /v1/users/import": Operation(
        "Take in an account that moved.", S.Sheet, NewArrival, status=201
    ),
    "GET /v1/users/{login}": Operation("One user, with devices.", S.User),
    "DELETE /v1/users/{login}": Operation("Remove a user.", dict[str, str]),
    "POST /v1/users/{login}/password": Operation("Set a new password.", S.Sheet, R.NewPassword),
    "POST /v1/users/{login}/features": Operation(
        "Set forwarding and do-not-disturb.", S.Features, api_features.SetFeatures
    ),
    "GET /v1/users/{login}/messages": Operation("Messages that wait.", list[S.Waiting]),
    "POST /v1/users/{login}/messages": Operation(
        "Send a message as this login.", S.Sent, NewMessage, status=201
    ),
    "POST /v1/users/{login}/provisioning": Operation(
        "Make a link that sets up one device.", S.MadeDeviceLink, NewDeviceLink, status=201
    ),
    "GET /v1/provisioning": Operation("Such links that are open.", list[S.DeviceLinkRow]),
    "DELETE /v1/provisioning/{id}": Operation("Close such a link.", dict[str, str]),
    "GET /v1/invitations": Operation("Open invitations.", list[S.InvitationRow]),
    "POST /v1/invitations": Operation("Invite.", S.MadeInvitation, NewInvitation, status=201),
    "DELETE /v1/invitations/{id}": Operation("Take an invitation back.", dict[str, str]),
    "POST /v1/turn/credentials": Operation(
        "Access to the relay for some time.", S.Credentials, R.WantedCredentials
    ),
    "GET /v1/calls": Operation("Calls under way.", list[S.Call]),
    "DELETE /v1/calls/{id}": Operation("End a call, or `all`.", dict[str, int]),
    "GET /v1/calls/{id}/trace": Operation("A call's SIP messages.", S.Trace, query=_TRACE),
    "GET /v1/records": Operation("Calls that have ended.", list[S.Record], query=_RECORDS),
    "GET /v1/groups": Operation("Ring groups.", list[S.Group]),
    "POST /v1/groups": Operation("Make a group.", S.Group, api_features.NewGroup, status=201),
    "GET /v1/groups/{login}": Operation("One group.", S.Group),
    "POST /v1/groups/{login}": Operation("Change a group.", S.Group, api_features.ChangedGroup),
    "DELETE /v1/groups/{login}": Operation("Remove a group.", dict[str, str]),
    "GET /v1/bans": Operation("Banned sources.", list[S.Ban]),
    "POST /v1/bans": Operation("Ban a source.", S.Ban, NewBan, status=201),
    "DELETE /v1/bans/{address}": Operation("Lift the bans of an address.", Json),
    "GET /v1/trunks": Operation("All trunks.", list[S.Trunk]),
    "POST /v1/trunks": Operation("Make a trunk.", S.Trunk, NewTrunk, status=201),
    "GET /v1/trunks/{name}": Operation("One trunk.", S.Trunk),
    "PATCH /v1/trunks/{name}": Operation("Change what is given.", S.Trunk, TrunkOptions),
    "DELETE /v1/trunks/{name}": Operation("Remove a trunk.", Json),
    "GET /v1/trunks/{name}/test": Operation("Try a trunk now.", S.TrunkTest),
    "GET /v1/dids": Operation("Mapped numbers.", list[S.Did]),
    "POST /v1/dids": Operation("Map a number.", S.Did, trunk_api.NewDid, status=201),
    "DELETE /v1/dids/{number}": Operation("Unmap a number.", Json),
    "GET /v1/relay": Operation("Relaying for strangers.", S.RelayUse),
    "POST /v1/relay": Operation("Relay within limits.", S.RelayUse, ConsentChange),
    "DELETE /v1/relay": Operation("Relay no more.", S.RelayUse),
    "GET /v1/relay/candidates": Operation("Nodes that relay for strangers.", list[Json]),
    "GET /v1/relay/leases": Operation("What other nodes lend now.", list[Json]),
    "POST /v1/relay/leases": Operation("Borrow relays.", list[Json], WantedLeases, status=201),
    "DELETE /v1/relay/leases/{lease}": Operation("Give a relay back.", Json),
    "POST /v1/console/links": Operation(
        "Make a link that opens the console once.", S.ConsoleLink, status=201
    ),
    "GET /v1/console/grants": Operation("Sessions and tokens.", list[S.GrantRow]),
    "DELETE /v1/console/grants/{id}": Operation(
        "End one, by id or name, or all `sessions`.", dict[str, int]
    ),
    "POST /v1/console/tokens": Operation("Make a token.", S.NewGrant, NewToken, status=201),
    "POST /v1/console/password": Operation(
        "Set the password of the login page.", S.ConsolePassword, NewConsolePassword
    ),
    "DELETE /v1/console/password": Operation("Take it away.", S.ConsolePassword),
}
"By method and path, as the routes have them."
