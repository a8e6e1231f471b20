"""MESSAGE for users who are not there (RFC 3428): kept, and delivered at the next registration.

A message is on the disk before its sender hears 202. What waits is delivered in order, one at a
time, to the first device that takes it; while anything waits, what comes later waits behind it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from email.utils import formatdate

from federation.messages import Leg
from federation.model.clocks import UnixTime
from federation.model.errors import RingmeshError
from federation.model.number import Number
from node.accounts.account import Account
from node.edge.alarms import Alarm
from node.edge.branches import PhoneBranch, PhoneClients
from node.edge.context import RequestContext
from node.edge.dialog import PhoneSide
from node.edge.forward import MAX_FORWARDS
from node.edge.hub import Hub, MeshUpstream
from node.edge.identity import Caller
from node.edge.mailboxes import NODE, OWN, STRANGERS, Mailboxes
from node.sip.binding import Binding
from node.sip.message import Request, Response
from node.sip.registrar import Registrar
from node.storage.messages import KeptMessage, MessageStore

EXPIRY_DAYS = 14
"Days a message waits, where it does not say less itself."
DAY = 86_400.0
PATIENCE = 10.0
"Seconds the devices have to answer a MESSAGE before it is kept; its sender waits for 32 s."
MAX_HEADER = 512
"Characters of a header field that is kept; a longer one is left out."
UNREACHED = frozenset({408, 430, 480, 503})
"Answers that mean that no device had the message."
NEVER_KEPT = frozenset({"application/im-iscomposing+xml"})
"Media types that mean nothing later (RFC 3994)."
KEPT_HEADERS = (
    "Content-Type",
    "Content-Disposition",
    "Content-Encoding",
    "Content-Language",
    "MIME-Version",
    "Subject",
    "Priority",
    "In-Reply-To",
)


@dataclass(slots=True)
class Mailroom:
    """Keeps messages and delivers them."""

    hub: Hub
    clients: PhoneClients
    registrar: Registrar
    store: MessageStore
    boxes: Mailboxes = field(default_factory=Mailboxes)
    days: int = EXPIRY_DAYS
    _busy: set[str] = field(default_factory=set)
    "Accounts whose messages are on their way."
    _again: set[str] = field(default_factory=set)
    "Those of them that registered meanwhile."
    _branch: int = -1

    # Keeping

    def takes(self, request: Request) -> bool:
        """Whether a MESSAGE is one that may be kept."""
        if self.days == 0:
            return False
        kind = (request.get("Content-Type") or "").partition(";")[0].strip().lower()
        return kind not in NEVER_KEPT

    def takes_over(self, context: RequestContext, account: Account, caller: Caller) -> bool:
        """Keep a message at once if nobody is there, or others wait; else see what comes of it."""
        if self.boxes.has(account.login) or not self.devices(account.login):
            self.keep(context, account, caller)
            return True
        self._watch(context, account, caller)
        return False

    def keep(
        self,
        context: RequestContext,
        account: Account,
        caller: Caller,
        *,
        at_once: bool = True,
    ) -> "Keeping | None":
        """Keep a message, and answer 202 once that is done; `None`: it was refused.

        `at_once`: devices that are there get it now, else with the next registration.
        """
        message = self._message(context, account, caller)
        lack = self.boxes.lack_of_room(account.login, message.source, message.size)
        if lack is not None:
            context.refuse(480, lack)
            return None
        self.boxes.add(message, is_safe=False)
        context.hold()  # nothing but what follows answers it
        self.hub.spawn(self._write(context, message, at_once=at_once))
        return Keeping(self, message)

    async def _write(self, context: RequestContext, message: KeptMessage, *, at_once: bool) -> None:
        try:
            await self.store.add(message)
        except RingmeshError as error:
            self.boxes.made_safe(message)
            self.boxes.remove(message)
            self.hub.log.error("message_not_kept", login=message.login, reason=str(error))
            context.refuse(480, "nobody is there, and the message cannot be kept now")
            return
        if not self.boxes.made_safe(message):
            self.store.remove(message.id)
        if context.done:  # a device took it while it was written
            self.drop(message)
            return
        self.hub.log.info("message_kept", login=message.login, limit_by=message.login)
        context.answer(202)
        if at_once:
            self.deliver(message.login)

    def _message(self, context: RequestContext, account: Account, caller: Caller) -> KeptMessage:
        request, now = context.request, self.hub.clock.unix()
        found = ((name, request.get(name)) for name in KEPT_HEADERS)
        return KeptMessage(
            id=self.boxes.new_id(),
            login=account.login,
            source=_source(context, caller),
            display=caller.display,
            number=caller.number,
            uri=caller.uri[:MAX_HEADER],
            verified=caller.verified,
            anonymous=caller.anonymous,
            headers=tuple((n, v) for n, v in found if v is not None and len(v) <= MAX_HEADER),
            body=request.body,
            sent_at=_date(request) or formatdate(now, usegmt=True),
            kept_at=now,
            expires_at=UnixTime(now + _life(request, self.days * DAY)),
        )

    def _watch(self, context: RequestContext, account: Account, caller: Caller) -> None:
        """Keep a message that goes to devices, should none of them take it."""
        watched = _Watched(self, context, account, caller)
        watched.alarm = self.hub.later(PATIENCE, watched.silent)
        context.rescue = watched.rescue

    # Delivering

    def registered(self, login: str) -> None:
        """A device registered."""
        if not self.boxes.has(login):
            return
        if login in self._busy:
            self._again.add(login)
        self.deliver(login)

    def deliver(self, login: str) -> None:
        """Send what waits for an account, unless that is under way."""
        if login not in self._busy and self.devices(login):
            self._busy.add(login)
            self._next(login, 0)

    def _next(self, login: str, after: int) -> None:
        message = self.boxes.next_of(login, after)
        if message is None or not self.devices(login):
            self._busy.discard(login)
            self._again.discard(login)
            return
        _Delivery(self, message).try_next()

    def devices(self, login: str) -> list[Binding]:
        """The devices of an account that can be reached now."""
        found = self.registrar.bindings(login, now=self.hub.clock.unix())
        return [binding for binding in found if binding.is_connected]

    def delivered(self, message: KeptMessage) -> None:
        """A device has it."""
        self.drop(message)
        self._next(message.login, message.id)

    def refused(self, message: KeptMessage) -> None:
        """Every device would not have it: the next one may go on."""
        if self.boxes.refused(message):
            self.hub.log.warning("message_refused", login=message.login, limit_by=message.login)
            self.drop(message)
        self._next(message.login, message.id)

    def unreached(self, message: KeptMessage) -> None:
        """No device answered: all that waits does so until the next registration."""
        self._busy.discard(message.login)
        if message.login in self._again:
            self._again.discard(message.login)
            self.deliver(message.login)

    def drop(self, message: KeptMessage) -> None:
        """Forget a message."""
        if self.boxes.remove(message):
            self.store.remove(message.id)

    def sweep(self) -> None:
        """Forget what is too old."""
        for message in self.boxes.expired(self.hub.clock.unix()):
            self.hub.log.info("message_expired", login=message.login, limit_by=message.login)
            self.drop(message)

    def forget(self, login: str) -> None:
        """An account was removed; its rows went with it."""
        for message in self.boxes.of(login):
            self.boxes.remove(message)

    def branch(self, message: KeptMessage, binding: Binding, owner: "_Delivery") -> PhoneBranch:
        """The request that brings a message to one device."""
        caller = Caller(
            message.display,
            None if message.number is None else Number(message.number),
            message.uri,
            verified=message.verified,
            anonymous=message.anonymous,
        )
        number = self.hub.tag()
        request = Request.create(
            "MESSAGE",
            binding.target,
            [
                ("Max-Forwards", str(MAX_FORWARDS)),
                ("From", f"{caller.shown_from(binding.server)};tag={self.hub.tag()}"),
                ("To", f"<sip:{message.login}@{binding.server}>"),
                ("Call-ID", f"{number}@{self.hub.node.key_name}"),
                ("CSeq", "1 MESSAGE"),
                ("Date", message.sent_at),
                *message.headers,
            ],
            message.body,
        )
        asserted = caller.asserted_identity(binding.server)
        if asserted is not None:
            request.append("P-Asserted-Identity", asserted)
        for value in reversed(binding.path):
            request.prepend("Route", value)
        side = PhoneSide(binding.flow, binding.aor, binding.server, binding.uri)
        self.hub.forwarder.push_via(request, side)
        self._branch -= 1
        return PhoneBranch(
            self._branch, self.hub, self.clients, owner, request, binding.flow, binding.uri
        )


@dataclass(slots=True)
class Keeping:
    """A message that is being kept, or is kept."""

    room: Mailroom
    message: KeptMessage

    def late(self, response: Response) -> None:
        """A device took it after all, when the sender had its answer."""
        if response.status < 300:
            self.room.drop(self.message)


@dataclass(slots=True)
class _Delivery:
    """One message on its way to one device after the other; the branch's owner."""

    room: Mailroom
    message: KeptMessage
    tried: set[str] = field(default_factory=set)
    was_refused: bool = False
    current: int = 0
    "The branch whose answer is waited for."

    def try_next(self) -> None:
        """Send it to the next device, or give up for now."""
        devices = self.room.devices(self.message.login)
        left = [device for device in devices if device.key not in self.tried]
        if left:
            self.tried.add(left[0].key)
            branch = self.room.branch(self.message, left[0], self)
            self.current = branch.id
            branch.start()
        elif self.was_refused:
            self.room.refused(self.message)
        else:
            self.room.unreached(self.message)

    def on_response(
        self, branch: int, response: Response, legs: Sequence[Leg], peer_ip: str
    ) -> None:
        if response.status < 200 or branch != self.current:
            return
        self.current = 0
        if response.status < 300:
            self.room.delivered(self.message)
            return
        reached = response.status not in UNREACHED and response.status // 100 != 5
        self.was_refused = self.was_refused or reached
        self.try_next()

    def on_failure(self, branch: int, status: int, reason: str) -> None:
        if branch == self.current:
            self.current = 0
            self.try_next()


@dataclass(slots=True)
class _Watched:
    """A MESSAGE that is with the devices."""

    room: Mailroom
    context: RequestContext
    account: Account
    caller: Caller
    keeping: Keeping | None = None
    alarm: Alarm | None = None

    def silent(self) -> None:
        """No device answered in time."""
        self.alarm = None
        if not self.context.done and self.keeping is None:
            self._keep()

    def rescue(self, response: Response) -> bool:
        """Keep the message in place of its refusal; whether that is what happens."""
        self._rest()
        if self.keeping is not None:
            return True
        if response.status not in UNREACHED or self.context.done:
            return False
        self._keep()
        return True

    def _keep(self) -> None:
        context = self.context
        self.keeping = self.room.keep(context, self.account, self.caller, at_once=False)
        if self.keeping is not None:
            context.on_late = self.keeping.late

    def _rest(self) -> None:
        if self.alarm is not None:
            self.alarm.cancel()
            self.alarm = None


def _source(context: RequestContext, caller: Caller) -> str:
    upstream = context.upstream
    if isinstance(upstream, MeshUpstream):
        return f"{NODE}{upstream.transaction.peer.text}"
    return OWN if caller.verified or caller.anonymous else STRANGERS


def _date(request: Request) -> str | None:
    text = request.get("Date")
    return text if text is not None and 0 < len(text) <= 64 and text.isascii() else None


def _life(request: Request, most: float) -> float:
    """Seconds a message is worth something (RFC 3428 section 8, Expires)."""
    text = (request.get("Expires") or "").strip()
    asked = float(text) if text.isascii() and text.isdigit() and len(text) < 10 else most
    return min(asked, most) if asked > 0 else most
