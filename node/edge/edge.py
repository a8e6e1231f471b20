"""The edge as the node uses it: built of its parts, fed by transports and links."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from federation.model.identity import NodeId
from node.edge.alarms import Waker
from node.edge.branches import BranchOwner, MeshBranch, PhoneBranch, PhoneClients
from node.edge.branching import BranchMaker
from node.edge.call_list import CallInfo, calls_of
from node.edge.calls import Calls
from node.edge.commanded import Mail
from node.edge.context import RequestContext
from node.edge.dialog import DialogSet, DialogTable, NodeSide, PhoneSide, TrunkSide
from node.edge.echo import EchoService
from node.edge.edge_parts import EdgeParts
from node.edge.ending import Endings
from node.edge.flows import Contacts
from node.edge.forward import Forwarder
from node.edge.guard import Guard, Misdeed
from node.edge.hub import TRANSACTION_LIFE, Hub
from node.edge.inbound import Inbound
from node.edge.indialog import InDialog
from node.edge.ingress import Ingress
from node.edge.journal import Journal
from node.edge.mailroom import Mailroom
from node.edge.memory import StoredDialogError, pack_dialog, unpack_dialog
from node.edge.offered import OfferedCalls
from node.edge.outbound_limits import OutboundLimits
from node.edge.outward import Outward
from node.edge.pbx_ringing import PbxRinging
from node.edge.peer_names import PeerNames
from node.edge.redirect import Redirects
from node.edge.registration import Registrations
from node.edge.ringing import Ringing
from node.edge.shedding import Shedding
from node.edge.strangers import Strangers
from node.edge.token import RouteTokens
from node.edge.trunk_calls import TrunkCalls
from node.edge.watch import INTERVAL, Watch
from node.edge.ways import Ways
from node.sip.effects import (
    AckArrived,
    CancelArrived,
    ClientFailed,
    ClientKey,
    ClientTimedOut,
    Effect,
    Malformed,
    RequestArrived,
    ResponseArrived,
    Send,
    ServerKey,
    StrayResponse,
    TransactionEnded,
)
from node.sip.errors import SipParseError
from node.sip.flow import Flow
from node.sip.gruu import Gruus
from node.sip.matching import client_key
from node.sip.message import Request
from node.sip.transaction import TransactionLayer, TransactionUsage
from node.storage.messages import KeptMessage
from node.tracing.tap import RECEIVED, SENT, Noted, no_answer_text

DRAIN_WAIT = 2.0
"Seconds to wait for the answers to our BYEs and `bye` frames."


class Edge:
    """Carries SIP between phones, and between phones and other nodes."""

    def __init__(self, parts: EdgeParts) -> None:
        self._parts = parts
        layer = TransactionLayer(entropy=parts.entropy)
        tokens = RouteTokens(parts.token_secret)
        self._hub = hub = Hub(
            node=parts.node,
            names=parts.names,
            forwarder=Forwarder(parts.node, parts.names, tokens, parts.entropy),
            layer=layer,
            wires=parts.wires,
            links=parts.links,
            relay=parts.relay,
            dialogs=DialogTable(),
            clock=parts.clock,
            entropy=parts.entropy,
            gruus=Gruus(parts.token_secret, parts.entropy),
            carry_out=self._carry_out,
            note=parts.tap.note,
        )
        self._now, self._note = hub.now, parts.tap.note
        limits = parts.limits
        hub.limits = OutboundLimits(limits.calls_per_hour, limits.targets_per_hour)
        self.guard = hub.guard = Guard(
            parts.bans,
            sends_from=parts.registrar.senders.has,
            is_home=parts.registrar.senders.is_home,
            clock=parts.clock,
            allowed=limits.networks,
        )
        self._clients = PhoneClients()
        self._endings = hub.endings = Endings(hub, self._clients, self._forgotten)
        hub.on_confirmed = self._confirmed
        contacts = Contacts(parts.registrar, hub.gruus, parts.clock, parts.wires.stands)
        hub.contact_of, hub.flow_of = contacts.target, contacts.flow
        pending: dict[bytes, MeshBranch] = {}
        self._echo = EchoService(hub)
        maker = BranchMaker(hub, self._clients, pending, parts.voucher)
        self._calls = self._make_calls(maker)
        in_dialog = InDialog(hub, self._clients, pending, self._echo)
        self._registrations = Registrations(
            hub, parts.accounts, parts.digest, parts.registrar, parts.store_bindings
        )
        self._join_others(maker)
        self._contexts: dict[ServerKey, RequestContext] = {}
        self._ingress = Ingress(
            hub,
            parts.accounts,
            parts.digest,
            self._registrations,
            self._calls,
            in_dialog,
            self._contexts,
            parts.trunks,
            Strangers(hub, parts.sip.strangers_subscribe) if parts.sip.open else None,
        )
        self.inbound = Inbound(hub, self._calls, in_dialog, parts.voucher, pending)
        self._overload = parts.overload
        self.shedding = Shedding(
            hub,
            parts.overload,
            emergency=parts.reader.emergency,
            sends_from=parts.registrar.senders.has,
        )
        self.mail = Mail(hub, self._calls)
        self._watch = Watch(hub, parts.media_timeout)
        peers = PeerNames(parts.trunks.book)
        self.journal = Journal(hub, parts.records, parts.counts, peers)
        self.dialogs = hub.dialogs
        self._do = self._handlers()
        self._timers = hub.layer.timers
        self._waker = Waker(hub.alarms, self._on_timer)

    def _count(self, batch: Sequence[Noted]) -> None:
        counts = self._parts.counts
        counts.take(batch)
        counts.repeated(self._hub.layer.take_repeats())

    def _make_calls(self, maker: BranchMaker) -> Calls:
        """What starts requests outside dialogs."""
        hub, parts = self._hub, self._parts
        trunks = TrunkCalls.of(
            hub, parts.trunks, parts.accounts, parts.reader, parts.registrar, maker
        )
        redirects = Redirects(
            hub, maker, parts.accounts, parts.reader, parts.locator, parts.voucher, trunks
        )
        ringing = Ringing(
            hub,
            maker,
            redirects,
            parts.accounts,
            parts.registrar,
            parts.features,
            parts.ring_groups,
        )
        return Calls(
            hub=hub,
            branches=maker,
            trunks=trunks,
            offered=OfferedCalls(trunks),
            redirects=redirects,
            ringing=ringing,
            pbx=PbxRinging(ringing),
            reader=parts.reader,
            locator=parts.locator,
            voucher=parts.voucher,
            echo=self._echo,
        )

    def _join_others(self, maker: BranchMaker) -> None:
        """What is there only where the node has the means, or its operator allows it."""
        parts, hub, calls = self._parts, self._hub, self._calls
        if parts.messages is not None:
            days = parts.sip.keep_messages_days
            calls.mailroom = Mailroom(
                hub, self._clients, parts.registrar, parts.messages, days=days
            )
            self._registrations.registered = calls.mailroom.registered
        if parts.outward is not None:
            calls.outward = Outward(hub, self._clients, maker, parts.outward)
            calls.redirects.outward = calls.outward
            hub.ways = Ways(hub, parts.outward, calls.outward.spared)

    # Life

    def start(self, stored: Mapping[str, bytes], messages: Iterable[KeptMessage] = ()) -> None:
        """Begin; calls that a crash left open (`stored`) are ended, `messages` wait on."""
        self.mail.restore(messages)
        self._hub.later(INTERVAL, self._on_tick)
        self._parts.tap.read_by(self._count)
        self._parts.tap.follow(self._hub.later)
        for row_id, data in stored.items():
            self._parts.dialogs.remove(row_id)
            try:
                group = unpack_dialog(
                    data,
                    self._hub.dialogs.new_id(),
                    now=self._hub.now(),
                    unix=self._hub.clock.unix(),
                )
            except StoredDialogError as error:
                self._hub.log.warning("stored_dialog_unreadable", reason=str(error))
                continue
            for side in (group.caller, *(dialog.callee for dialog in group.dialogs.values())):
                if isinstance(side, TrunkSide):
                    side.credentials = self._parts.trunks.book.credentials(side.login)
            self._endings.hang_up(group, "the node was restarted")

    async def drain(self) -> None:
        """End every call, and wait a moment for those who are told."""
        for group in self._hub.dialogs:
            self._endings.hang_up(group, "the node is shutting down")
        for _ in range(int(DRAIN_WAIT / 0.05)):
            if self._endings.waiting == 0 and self._hub.layer.usage.unanswered == 0:
                return
            await asyncio.sleep(0.05)

    async def close(self) -> None:
        """Stop timers and tasks."""
        self.journal.flush()
        await self._hub.close()

    # From the transports

    def receive(self, data: bytes, flow: Flow) -> None:
        """A message arrived from a phone or from plain SIP."""
        if self.guard.is_alert and self.guard.refuses(flow):
            return
        if self._overload.is_alert and self.shedding.takes(data, flow):
            return
        now = self._now()
        self._note((now, RECEIVED, data, flow))
        self._carry_out(self._hub.layer.receive_data(data, flow, now=now))

    def flow_closed(self, flow: Flow) -> None:
        """A connection ended, or could not be made."""
        self._registrations.flow_closed(flow)
        self._hub.large.refused(flow, now=self._hub.now())
        self._carry_out(self._hub.layer.flow_failed(flow, now=self._hub.now()))

    # For people

    def calls(self) -> list[CallInfo]:
        """Every call under way."""
        return calls_of(self._hub.dialogs, now=self._hub.clock.unix())

    def hang_up(self, call: str) -> int:
        """End one call by its id, or `all`; how many were ended."""
        chosen = [
            group
            for group in self._hub.dialogs
            if group.method == "INVITE" and call in ("all", str(group.id))
        ]
        for group in chosen:
            self._endings.hang_up_in_order(group, "ended by the operator")
        return len(chosen)

    def end_account(self, login: str) -> None:
        """An account was removed: its registrations and its calls end."""
        self._parts.store_bindings(self._parts.registrar.remove(login))
        self.mail.forget(login)
        for group in self._hub.dialogs:
            sides = [group.caller, *(dialog.callee for dialog in group.dialogs.values())]
            here = any(isinstance(side, PhoneSide) and side.login == login for side in sides)
            if here or group.forwarder == login:
                self._endings.hang_up_in_order(group, "the account was removed")

    def peer_gone(self, node: NodeId) -> int:
        """How many calls go to a node that no link reaches."""
        return sum(
            isinstance(side, NodeSide) and side.node == node
            for group in self._hub.dialogs
            for side in (group.caller, *(d.callee for d in group.dialogs.values()))
        )

    @property
    def transactions(self) -> TransactionUsage:
        """How full the tables of transactions are."""
        return self._hub.layer.usage

    @property
    def leftovers(self) -> dict[str, int]:
        """What is held now; all zero some time after the last call. For tests and metrics."""
        usage = self._hub.layer.usage
        return {
            "dialog_sets": len(self._hub.dialogs),
            "clients": len(self._clients),
            "contexts": len(self._contexts) + len(self._calls.contexts),
            "unanswered": usage.unanswered,
            "requests": usage.requests,
            "lingering": usage.lingering,
        }

    def ask(self, request: Request, flow: Flow, owner: BranchOwner) -> PhoneBranch:
        """Send a request of this node's own, without Via as yet; `owner` hears what comes of it."""
        self._hub.forwarder.push_via(request, PhoneSide(flow, "", ""))
        branch = PhoneBranch(0, self._hub, self._clients, owner, request, flow)
        branch.start()
        return branch

    # Inside

    def _handlers(self) -> Mapping[type[Effect], Callable[[Any], None]]:
        return {
            RequestArrived: self._ingress.request,
            ResponseArrived: self._responded,
            AckArrived: self._ingress.ack,
            CancelArrived: self._ingress.cancel,
            ClientTimedOut: self._timed_out,
            ClientFailed: self._failed,
            TransactionEnded: self._ended,
            Malformed: self._malformed,
            StrayResponse: self._stray,
        }

    def _carry_out(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            if type(effect) is Send:
                self._send(effect)
            else:
                self._do[type(effect)](effect)
        bound = self._timers.bound
        if bound is not None and bound < self._waker.bound:
            self._waker.wake(bound)

    def _send(self, effect: Send) -> None:
        self._note((self._now(), SENT, effect.data, effect.flow))
        self._hub.wires.send(effect.data, effect.flow)

    def _responded(self, effect: ResponseArrived) -> None:
        branch = self._clients.get(effect.key)
        if branch is not None:
            branch.on_response(effect.response)

    def _timed_out(self, effect: ClientTimedOut) -> None:
        branch = self._clients.get(effect.key)
        if branch is not None:
            text = no_answer_text(branch.request.encode())
            self._note((self._now(), RECEIVED, text, branch.flow))
            branch.on_timeout()

    def _failed(self, effect: ClientFailed) -> None:
        branch = self._clients.get(effect.key)
        if branch is not None:
            branch.on_failure()

    def _ended(self, effect: TransactionEnded) -> None:
        self._client_ended(ClientKey(effect.key))
        self._contexts.pop(ServerKey(effect.key), None)

    def _malformed(self, effect: Malformed) -> None:
        self._hub.log.debug("malformed", reason=effect.reason, limit_by=effect.flow.remote.host)
        self.guard.offend(effect.flow, Misdeed.MALFORMED)

    def _client_ended(self, key: ClientKey) -> None:
        branch = self._clients.get(key)
        if branch is not None and branch.gave_up:
            # A device that was given up may answer yet, and its call has to be ended then.
            self._hub.later(TRANSACTION_LIFE, lambda: self._clients.forget(key))
        else:
            self._clients.forget(key)

    def _stray(self, effect: StrayResponse) -> None:
        """A 2xx to an INVITE that was given up; anything else without transaction is dropped."""
        response = effect.response
        try:
            via, method = response.top_via, response.cseq.method
        except SipParseError:
            return
        if method == "INVITE" and 200 <= response.status < 300 and via.branch is not None:
            branch = self._clients.get(client_key(via.branch, method))
            if branch is not None:
                branch.on_response(response)

    def _on_timer(self) -> None:
        self._carry_out(self._hub.layer.handle_timer(now=self._hub.now()))

    def _on_tick(self) -> None:
        self._hub.later(INTERVAL, self._on_tick)
        self._watch.look()
        self._endings.retry()
        self._registrations.sweep()
        self.shedding.look()
        self.guard.look()
        self._hub.limits.look(self._hub.now())
        self.mail.sweep()

    def _confirmed(self, group: DialogSet) -> None:
        """Keep what a start after a crash needs to end the call."""
        dialog = group.confirmed
        if dialog is not None and group.method == "INVITE":
            self._parts.dialogs.put(str(group.id), pack_dialog(dialog))

    def _forgotten(self, group: DialogSet, reason: str) -> None:
        if group.method != "INVITE":
            return
        self._echo.forget(group.id)
        self._parts.trunks.load.over(group.id)
        answered = [d for d in group.dialogs.values() if d.answered_at is not None]
        if answered:
            self._parts.dialogs.remove(str(group.id))
        self.journal.ended(group, reason)
