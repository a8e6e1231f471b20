"""Which flow of a device is used (RFC 5626), and which device a GRUU means (RFC 5627)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from federation.model.clocks import Clock
from node.edge.branches import PhoneBranch
from node.edge.dialog import PhoneSide
from node.sip.binding import Binding
from node.sip.errors import SipParseError
from node.sip.flow import Flow
from node.sip.gruu import Gruus
from node.sip.registrar import Registrar
from node.sip.uri import Uri


def one_flow_each(bindings: Iterable[Binding]) -> list[Binding]:
    """The first binding of each device, and each contact once.

    Bindings of one instance with reg-ids are one device (RFC 5626 7). A request forked twice to one
    contact would come there as two of one, and the second be refused 482 (RFC 3261 8.2.2.2).
    """
    found: dict[str, Binding] = {}
    for binding in bindings:
        device = binding.key if binding.reg_id is None else f"{binding.instance}"
        found.setdefault(device, binding)
    contacts: dict[tuple[str, Flow], Binding] = {}
    for binding in found.values():
        contacts.setdefault((binding.uri, binding.flow), binding)
    return list(contacts.values())


@dataclass(slots=True)
class OtherFlows:
    """The flows of one device that a request was not sent on yet; the newest first."""

    registrar: Registrar
    clock: Clock
    make: Callable[[Binding], PhoneBranch]
    device: Binding
    tried: set[str] = field(default_factory=set)

    def __call__(self) -> PhoneBranch | None:
        """The request for the next flow; `None`: there is no other."""
        device, tried = self.device, self.tried
        tried.add(device.key)
        for binding in self.registrar.bindings(device.aor, now=self.clock.unix()):
            is_other = binding.reg_id is not None and binding.instance == device.instance
            if is_other and binding.is_connected and binding.key not in tried:
                tried.add(binding.key)
                return self.make(binding)
        return None


@dataclass(frozen=True, slots=True)
class Contacts:
    """Where phones are now, inside dialogs: one may have given a GRUU, or connected anew."""

    registrar: Registrar
    gruus: Gruus
    clock: Clock
    stands: Callable[[Flow], bool]

    def target(self, phone: PhoneSide) -> str:
        """The URI a request inside a dialog goes to: for a GRUU the device's Contact of now."""
        contact = phone.contact
        if ";gr" not in contact:
            return contact
        try:
            device = self.gruus.read(Uri.parse(contact))
        except SipParseError:
            return contact
        if device is None or device.aor != phone.login:
            return contact
        for binding in self.registrar.bindings(phone.login, now=self.clock.unix()):
            if device.is_at(binding):
                return binding.uri
        return contact

    def flow(self, phone: PhoneSide) -> Flow:
        """The device's flow: the dialog's if it registered on that, else the one it registered on.

        A phone closes a connection that it made for one large request after half a minute. Where no
        registration is the dialog's, it keeps its own while that stands; then one of the same host
        has to do.
        """
        if not phone.flow.reliable:
            return phone.flow
        bindings = self.registrar.bindings(phone.login, now=self.clock.unix())
        there = [binding for binding in bindings if binding.is_connected]
        flows = [binding.flow for binding in there]
        if phone.flow in flows:
            return phone.flow
        contact = self.target(phone)
        for binding in there:
            if binding.uri == contact:
                return binding.flow
        if self.stands(phone.flow):
            return phone.flow
        return next((f for f in flows if f.remote.host == phone.flow.remote.host), phone.flow)
