"""The registrar: where each account's devices can be reached (RFC 3261 10.3, core).

A REGISTER that was authenticated comes in; its answer and the bindings that changed go out. All
bindings are in memory; the caller stores what changed behind the answer, and gives it back with
`restore` after a restart.

A binding remembers the flow that its REGISTER came over, since most phones can be reached on that
path only. UDP flows outlive a restart. A stream does not: its binding stays, but counts as not
connected until the phone registers again over a new stream. That of a WebSocket goes with it, for
its Contact leads nowhere (RFC 7118 B.1) and pages that are closed do not come back.
"""

import hashlib
import heapq
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from email.utils import formatdate
from functools import lru_cache
from typing import Final

from federation.model.clocks import UnixTime
from node.sip.binding import Binding, BindingChange, BindingRemoved, BindingStored
from node.sip.errors import SipParseError
from node.sip.flow import Flow
from node.sip.headers import NameAddr
from node.sip.message import Request
from node.sip.names import REASONS
from node.sip.outbound import (
    STREAM_FLOW_TIMER,
    UDP_FLOW_TIMER,
    lacks_first_hop,
    wants_outbound,
)
from node.sip.senders import Senders
from node.sip.text import quote
from node.sip.uri import Uri

MAX_CONTACTS: Final = 10
"Bindings of one account. Beyond it one whose connection is gone makes room, else 403."
MAX_CONTACT_TEXT: Final = 1024
"Characters of a Contact's URI or instance; more is 400."
MAX_PATH: Final = 5
"Path values of one binding; more is 400."
MAX_USER_AGENT: Final = 128
"Characters kept of a User-Agent."
MAX_SERVER: Final = 255
"Characters of the host in To; more is 400."
MAX_CALL_ID: Final = 128
"Characters kept of a Call-ID; of a longer one its hash is kept."
_EXPIRES: Final = re.compile(r"[0-9]{1,10}")
_ZERO: Final = re.compile(r"0{1,10}")
_Q: Final = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")
_REG_ID: Final = re.compile(r"[1-9][0-9]{0,8}")
_SUPPORTED: Final = frozenset({"path", "outbound", "gruu", "gin"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrarConfig:
    """How long registrations last, in seconds."""

    udp_expires: int = 600
    "Default and maximum on UDP: short, since nothing tells that a phone is gone."
    stream_expires: int = 3600
    "Default and maximum on TCP and TLS, whose end is noticed."
    min_expires: int = 60
    "A shorter wish is refused with 423."
    max_contacts: int = MAX_CONTACTS


@dataclass(frozen=True, slots=True)
class Registration:
    """The answer to a REGISTER, and what it changed."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...] = ()
    changes: tuple[BindingChange, ...] = ()


class _Refused(Exception):
    """Ends the work on a REGISTER; nothing was changed."""

    def __init__(self, status: int, reason: str | None = None, *headers: tuple[str, str]) -> None:
        super().__init__(status)
        self.answer = Registration(status, reason or REASONS[status], headers)


class Registrar:
    """All bindings of all accounts.

    `register` answers a REGISTER; `handle_timer` drops what has expired by then and is needed at
    `next_timer`; `flow_closed` notes the end of a connection. Each returns what changed, in order.
    """

    def __init__(self, config: RegistrarConfig | None = None) -> None:
        self._config = config or RegistrarConfig()
        self._accounts: dict[str, dict[str, Binding]] = {}
        self._flows: dict[Flow, set[tuple[str, str]]] = {}
        "Bindings by the stream that leads to them."
        self.senders = Senders()
        self._expiries: list[tuple[UnixTime, str, str]] = []
        "A heap; entries whose binding has another expiry now are passed over."
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def restore(self, bindings: Iterable[Binding], *, now: UnixTime) -> None:
        """Take in what was stored before a restart. Streams are gone, the expired is left out."""
        for binding in bindings:
            if not binding.is_current(now=now) or binding.flow.is_web:
                continue
            if binding.flow.reliable:
                binding = replace(binding, is_connected=False, flow=replace(binding.flow, id=0))
            self._put(binding)

    def bindings(self, aor: str, *, now: UnixTime) -> tuple[Binding, ...]:
        """The current bindings of an account: highest q first, then the newest."""
        found = [b for b in self._accounts.get(aor, {}).values() if now < b.expires_at]
        if len(found) > 1:
            found.sort(key=lambda b: (-b.q, -b.registered_at))
        return tuple(found)

    def accounts(self) -> Mapping[str, Mapping[str, Binding]]:
        """Every account with bindings, and these by key; a view, not to be kept."""
        return self._accounts

    def remove(self, aor: str) -> tuple[BindingChange, ...]:
        """Drop all bindings of an account that is no more."""
        return tuple(self._drop(binding) for binding in tuple(self._accounts.get(aor, {}).values()))

    def flow_closed(self, flow: Flow) -> tuple[BindingChange, ...]:
        """Note that a connection has ended; its bindings stay, not connected, until they expire."""
        changes: list[BindingChange] = []
        for aor, key in sorted(self._flows.get(flow, ())):
            binding = self._accounts[aor][key]
            if flow.is_web:
                changes.append(self._drop(binding))
                continue
            gone = replace(binding, is_connected=False, flow=replace(flow, id=0))
            self._put(gone)
            changes.append(BindingStored(gone))
        return tuple(changes)

    def next_timer(self) -> UnixTime | None:
        """When `handle_timer` is next needed; `None` while nothing is registered."""
        while self._expiries:
            expires_at, aor, key = self._expiries[0]
            binding = self._accounts.get(aor, {}).get(key)
            if binding is not None and binding.expires_at == expires_at:
                return expires_at
            heapq.heappop(self._expiries)
        return None

    def handle_timer(self, *, now: UnixTime) -> tuple[BindingChange, ...]:
        """Drop what has expired by `now`. Calling early is harmless."""
        changes: list[BindingChange] = []
        while (due := self.next_timer()) is not None and due <= now:
            _, aor, key = heapq.heappop(self._expiries)
            changes.append(self._drop(self._accounts[aor][key]))
        return tuple(changes)

    # REGISTER

    def register(
        self,
        aor: str,
        request: Request,
        flow: Flow,
        *,
        now: UnixTime,
        gruus: Callable[[Binding], str] | None = None,
    ) -> Registration:
        """Answer an authenticated REGISTER for the account `aor` (RFC 3261 10.3 steps 2, 6-8).

        `gruus` makes the parameters with a device's GRUUs, where the sender asks for them.
        It takes effect as a whole or not at all. Nothing in the request makes this raise.
        """
        try:
            path = self._required(request)
            if request.is_star_contact:
                changes = self._unregister_all(aor, request, now)
            else:
                wishes = self._wishes(aor, request, flow, path, now)
                changes = self._commit(aor, wishes, now)
        except _Refused as refusal:
            return refusal.answer
        except SipParseError as error:
            return Registration(error.status, error.reason)
        headers = []
        for binding in self.bindings(aor, now=now):
            text = _contact_text(binding, now)
            headers.append(("Contact", text if gruus is None else text + gruus(binding)))
        if any(b.reg_id is not None and b.flow == flow for b in _stored(changes)):
            timer = STREAM_FLOW_TIMER if flow.reliable else UDP_FLOW_TIMER
            headers += (("Require", "outbound"), ("Flow-Timer", str(timer)))
        headers += (("Path", value) for value in path)
        headers.append(("Date", _date(int(now))))
        return Registration(200, REASONS[200], tuple(headers), tuple(changes))

    def _required(self, request: Request) -> tuple[str, ...]:
        """Step 2: extensions that must be understood; the Path that the request came along."""
        unknown = [tag for tag in request.values("Require") if tag.lower() not in _SUPPORTED]
        if unknown:
            raise _Refused(420, None, ("Unsupported", ", ".join(unknown)))
        path = tuple(request.values("Path"))
        if len(path) > MAX_PATH or sum(map(len, path)) > MAX_CONTACT_TEXT * MAX_PATH:
            raise _Refused(400, "Too many Path values")
        if path and "path" not in (tag.lower() for tag in request.values("Supported")):
            raise _Refused(421, None, ("Require", "path"))
        return path

    def _unregister_all(self, aor: str, request: Request, now: UnixTime) -> list[BindingChange]:
        """Step 6: `Contact: *` with `Expires: 0` and nothing else."""
        if len(request.values("Contact")) > 1:
            raise _Refused(400, "Contact * stands alone")
        if not _ZERO.fullmatch(request.get("Expires") or ""):
            raise _Refused(400, "Contact * needs Expires 0")
        bindings = tuple(self._accounts.get(aor, {}).values())
        for binding in bindings:
            _check_order(binding, request, now)
        return [self._drop(binding) for binding in bindings]

    def _wishes(
        self, aor: str, request: Request, flow: Flow, path: tuple[str, ...], now: UnixTime
    ) -> dict[str, Binding]:
        """Step 7: what each Contact asks for, by binding key; nothing is changed yet."""
        contacts = request.contacts
        if len(contacts) > self._config.max_contacts:
            raise _Refused(403, f"More than {self._config.max_contacts} contacts")
        wishes: dict[str, Binding] = {}
        for contact in contacts:
            wish = self._wish(aor, contact, request, flow, path, now)
            if wish.key in wishes:
                raise _Refused(400, "Contact given twice")
            wishes[wish.key] = wish
        return wishes

    def _wish(
        self,
        aor: str,
        contact: NameAddr,
        request: Request,
        flow: Flow,
        path: tuple[str, ...],
        now: UnixTime,
    ) -> Binding:
        uri = str(contact.uri)
        instance = contact.param("+sip.instance") or None
        if not contact.uri.is_sip:
            raise _Refused(400, "Contact is not a SIP URI")
        if contact.uri.user is not None and contact.uri.param("bnc") is not None:
            raise _Refused(400, "A bulk contact names no user")  # RFC 6140 section 5.1
        if len(uri) > MAX_CONTACT_TEXT or len(instance or "") > MAX_CONTACT_TEXT:
            raise _Refused(400, "Contact too long")
        reg_id_text = contact.param("reg-id") or ""
        reg_id = None
        if instance and _REG_ID.fullmatch(reg_id_text) and wants_outbound(request):
            if lacks_first_hop(request, path):
                raise _Refused(439)
            reg_id = int(reg_id_text)
        existing = self._existing(aor, contact.uri, uri, instance, reg_id)
        if existing is not None:
            _check_order(existing, request, now)
        key = existing.key if existing else _key_of(uri, instance, reg_id)
        granted = self._granted(contact.param("expires"), request.get("Expires"), flow)
        q_text = contact.param("q") or "1"
        return Binding(
            aor=aor,
            key=key,
            uri=uri,
            flow=flow,
            is_connected=True,
            server=_server_of(request),
            instance=instance,
            reg_id=reg_id,
            q=float(q_text) if _Q.fullmatch(q_text) else 1.0,
            path=path,
            user_agent=(request.get("User-Agent") or "")[:MAX_USER_AGENT],
            call_id=_call_id_of(request),
            cseq=request.cseq.number,
            registered_at=now,
            expires_at=UnixTime(now + granted),
        )

    def _existing(
        self, aor: str, parsed: Uri, uri: str, instance: str | None, reg_id: int | None
    ) -> Binding | None:
        """The binding that a Contact is about: by instance and reg-id, else by URI comparison."""
        account = self._accounts.get(aor)
        if account is None:
            return None
        found = account.get(_key_of(uri, instance, reg_id))
        if found is not None or (instance and reg_id):
            return found
        for binding in account.values():
            if binding.uri == uri or binding.target.same_as(parsed):
                return binding
        return None

    def _granted(self, wish: str | None, expires: str | None, flow: Flow) -> int:
        """The seconds granted; what is malformed counts as not given (RFC 3261 10.2.1.1)."""
        config = self._config
        longest = config.stream_expires if flow.reliable else config.udp_expires
        text = wish if wish is not None else expires
        if text is None or not _EXPIRES.fullmatch(text):
            return longest
        seconds = int(text)
        if 0 < seconds < config.min_expires:
            raise _Refused(423, None, ("Min-Expires", str(config.min_expires)))
        return min(seconds, longest)

    def _commit(self, aor: str, wishes: dict[str, Binding], now: UnixTime) -> list[BindingChange]:
        account = self._accounts.get(aor, {})
        changes: list[BindingChange] = []
        if len(account) + len(wishes) > self._config.max_contacts:
            changes += self._make_room(account, wishes, now)
        for key, wish in wishes.items():
            if wish.is_current(now=now):
                self._put(wish)
                changes.append(BindingStored(wish))
            elif key in account:
                changes.append(self._drop(account[key]))
        return changes

    def _make_room(
        self, account: Mapping[str, Binding], wishes: Mapping[str, Binding], now: UnixTime
    ) -> list[BindingChange]:
        """Drop what has expired and, where needed, what lost its connection, oldest first."""
        others = [binding for key, binding in account.items() if key not in wishes]
        stays = [binding for binding in others if binding.is_current(now=now)]
        dead = sorted((b for b in stays if not b.is_connected), key=lambda b: b.registered_at)
        added = sum(wish.is_current(now=now) for wish in wishes.values())
        surplus = len(stays) + added - self._config.max_contacts
        if surplus > len(dead):
            raise _Refused(403, f"More than {self._config.max_contacts} contacts")
        expired = [binding for binding in others if not binding.is_current(now=now)]
        return [self._drop(binding) for binding in (*expired, *dead[: max(surplus, 0)])]

    def _put(self, binding: Binding) -> None:
        account = self._accounts.setdefault(binding.aor, {})
        before = account.get(binding.key)
        account[binding.key] = binding
        if before is None:
            self._count += 1
            self.senders.add(binding.flow.remote)
        elif before.flow != binding.flow:
            self._unlink(before)
            self.senders.add(binding.flow.remote)
        if binding.flow.reliable and binding.is_connected:
            self._flows.setdefault(binding.flow, set()).add((binding.aor, binding.key))
        if before is None or before.expires_at != binding.expires_at:
            heapq.heappush(self._expiries, (binding.expires_at, binding.aor, binding.key))
            if len(self._expiries) > 4 * self._count + 64:
                self._expiries = [
                    (b.expires_at, b.aor, b.key)
                    for account in self._accounts.values()
                    for b in account.values()
                ]
                heapq.heapify(self._expiries)

    def _drop(self, binding: Binding) -> BindingChange:
        account = self._accounts[binding.aor]
        del account[binding.key]
        if not account:
            del self._accounts[binding.aor]
        self._count -= 1
        self._unlink(binding)
        return BindingRemoved(binding)

    def _unlink(self, binding: Binding) -> None:
        self.senders.remove(binding.flow.remote)
        linked = self._flows.get(binding.flow)
        if linked is not None:
            linked.discard((binding.aor, binding.key))
            if not linked:
                del self._flows[binding.flow]


def _stored(changes: Iterable[BindingChange]) -> list[Binding]:
    return [change.binding for change in changes if isinstance(change, BindingStored)]


def _check_order(binding: Binding, request: Request, now: UnixTime) -> None:
    """Refuse what a newer REGISTER of the same Call-ID has overtaken (RFC 3261 10.3 steps 6, 7)."""
    if (
        binding.call_id == _call_id_of(request)
        and request.cseq.number <= binding.cseq
        and binding.is_current(now=now)
    ):
        raise _Refused(500, "CSeq is not higher than the last")


def _key_of(uri: str, instance: str | None, reg_id: int | None) -> str:
    return f"{instance};{reg_id}" if instance and reg_id else uri


def _call_id_of(request: Request) -> str:
    call_id = request.call_id
    if len(call_id) <= MAX_CALL_ID:
        return call_id
    return hashlib.sha256(call_id.encode("utf-8", "surrogateescape")).hexdigest()


def _server_of(request: Request) -> str:
    uri = request.to.uri
    if len(uri.host) > MAX_SERVER:
        raise _Refused(400, "To names too long a host")
    host = f"[{uri.host}]" if ":" in uri.host else uri.host
    return host if uri.port is None else f"{host}:{uri.port}"


def _contact_text(binding: Binding, now: UnixTime) -> str:
    parts = [f"<{binding.uri}>"]
    if binding.q != 1.0:
        parts.append(f"q={binding.q:g}")
    if binding.instance is not None:
        parts.append(f"+sip.instance={quote(binding.instance)}")
    if binding.reg_id is not None:
        parts.append(f"reg-id={binding.reg_id}")
    parts.append(f"expires={max(1, int(binding.expires_at - now))}")
    return ";".join(parts)


@lru_cache(maxsize=4)
def _date(now: int) -> str:
    return formatdate(now, usegmt=True)
