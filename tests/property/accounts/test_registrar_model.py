"""A random walk over the registrar beside a dict that knows the rules."""

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from federation.model.clocks import UnixTime
from node.sip.binding import Binding, BindingStored
from node.sip.registrar import Registrar, RegistrarConfig, Registration
from tests.support.digest_client import register
from tests.support.sip_exchange import TCP, UDP

ACCOUNTS = st.sampled_from(["alice", "bob"])
HOSTS = st.integers(min_value=1, max_value=5)
FLOWS = st.sampled_from([UDP, TCP, replace(TCP, id=8)])
WISHES = st.sampled_from([None, 0, 30, 60, 300, 5000])
LIMIT = 3


class RegistrarAgainstModel(RuleBasedStateMachine):
    """The model: (account, uri) -> (call id, cseq, expiry, flow id or None when not connected)."""

    def __init__(self) -> None:
        super().__init__()
        self.now = UnixTime(1000.0)
        self.registrar = Registrar(RegistrarConfig(max_contacts=LIMIT))
        self.model: dict[tuple[str, str], tuple[str, int, float, str | None]] = {}
        self.stored: dict[tuple[str, str], Binding] = {}

    @rule(
        account=ACCOUNTS, host=HOSTS, call=st.integers(1, 2), cseq=st.integers(1, 4),
        flow=FLOWS, wish=WISHES,
    )  # fmt: skip
    def registers(
        self, account: str, host: int, call: int, cseq: int, flow: object, wish: int | None
    ) -> None:
        uri, call_id = f"sip:{account}@192.0.2.{host}", f"call-{call}"
        contact = f"<{uri}>" + ("" if wish is None else f";expires={wish}")
        request = register(user=account, contacts=[contact], call_id=call_id, cseq=cseq)
        answer = self.registrar.register(account, request, flow, now=self.now)  # type: ignore[arg-type]
        self.store(answer)
        self.drop_expired()
        known = self.model.get((account, uri))
        if known is not None and known[0] == call_id and cseq <= known[1]:
            assert answer.status == 500
            return
        if wish == 30:
            assert answer.status == 423
            return
        longest = 3600 if flow is not UDP else 600
        granted = longest if wish is None else min(wish, longest)
        others = {k: v for k, v in self.model.items() if k[0] == account and k[1] != uri}
        current = {k: v for k, v in others.items() if v[2] > self.now}
        surplus = len(current) + (granted > 0) - LIMIT
        dead = [k for k, v in current.items() if v[3] is None]
        if surplus > len(dead):
            assert answer.status == 403
            return
        assert answer.status == 200
        if surplus > 0:
            gone = set(current) - {
                (account, b.uri) for b in self.registrar.bindings(account, now=self.now)
            }
            assert len(gone) == surplus
            assert gone <= set(dead)
            for key in gone:
                del self.model[key]
        self.model.pop((account, uri), None)
        if granted:
            self.model[account, uri] = (call_id, cseq, self.now + granted, str(flow))

    @rule(account=ACCOUNTS)
    def unregisters_all(self, account: str) -> None:
        request = register(user=account, contacts=["*"], headers=[("Expires", "0")], call_id="star")
        answer = self.registrar.register(account, request, UDP, now=self.now)
        assert answer.status == 200
        self.store(answer)
        self.model = {k: v for k, v in self.model.items() if k[0] != account}

    @rule(flow=FLOWS)
    def loses_a_connection(self, flow: object) -> None:
        self.apply(self.registrar.flow_closed(flow))  # type: ignore[arg-type]
        if flow is UDP:
            return
        for key, (call_id, cseq, expiry, path) in self.model.items():
            if path == str(flow):
                self.model[key] = (call_id, cseq, expiry, None)

    @rule(seconds=st.sampled_from([1.0, 59.0, 300.0, 4000.0]))
    def waits(self, seconds: float) -> None:
        self.now = UnixTime(self.now + seconds)

    @rule()
    def looks_at_the_clock(self) -> None:
        self.apply(self.registrar.handle_timer(now=self.now))
        self.drop_expired()

    @precondition(lambda self: self.stored)
    @rule()
    def restarts(self) -> None:
        """From what was stored; streams are gone with the process."""
        self.registrar = Registrar(RegistrarConfig(max_contacts=LIMIT))
        self.registrar.restore(self.stored.values(), now=self.now)
        self.stored = {k: b for k, b in self.stored.items() if b.is_current(now=self.now)}
        self.drop_expired()
        for key, (call_id, cseq, expiry, path) in self.model.items():
            if path is not None and path.startswith("TCP"):
                self.model[key] = (call_id, cseq, expiry, None)

    def drop_expired(self) -> None:
        self.model = {key: entry for key, entry in self.model.items() if entry[2] > self.now}

    def store(self, answer: Registration) -> None:
        if answer.status != 200:
            assert answer.changes == ()
        self.apply(answer.changes)

    def apply(self, changes: object) -> None:
        for change in changes:  # type: ignore[attr-defined]
            key = (change.binding.aor, change.binding.key)
            if isinstance(change, BindingStored):
                self.stored[key] = change.binding
            else:
                del self.stored[key]

    @invariant()
    def both_know_the_same(self) -> None:
        for account in ("alice", "bob"):
            found = {
                (b.uri, b.call_id, b.cseq, b.expires_at, b.is_connected)
                for b in self.registrar.bindings(account, now=self.now)
            }
            expected = {
                (uri, call_id, cseq, expiry, path is not None)
                for (owner, uri), (call_id, cseq, expiry, path) in self.model.items()
                if owner == account and expiry > self.now
            }
            assert found == expected

    @invariant()
    def what_was_stored_is_what_is_held(self) -> None:
        held = {
            (aor, key): binding
            for aor, bindings in self.registrar.accounts().items()
            for key, binding in bindings.items()
        }
        assert len(self.registrar) == len(held) == len(self.stored)
        assert {k: b.uri for k, b in held.items()} == {k: b.uri for k, b in self.stored.items()}
        due = self.registrar.next_timer()
        assert due == min((b.expires_at for b in held.values()), default=None)


TestRegistrarAgainstModel = RegistrarAgainstModel.TestCase
TestRegistrarAgainstModel.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None
)
