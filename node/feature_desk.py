"""What the operator sets about ringing: forwarding, do-not-disturb, groups; running or stopped."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from node.accounts.account import Account, AccountKind
from node.accounts.book import AccountBook
from node.control import JsonObject, RefusedError
from node.dialled import MAX_DIALLED, dialled_uri
from node.routing import LocalTarget, Refusal, ServiceTarget, Target
from node.sip.errors import SipParseError
from node.sip.uri import Uri
from node.storage.features import LONGEST_RING, FeatureBook
from node.storage.ring_groups import MAX_MEMBERS, RingGroup, RingGroups, RingMode

WHEN = ("always", "busy", "no_answer")


class FeatureDesk:
    """Sets and shows. Every method may raise `RefusedError` with a sentence."""

    def __init__(
        self,
        accounts: AccountBook,
        features: FeatureBook,
        groups: RingGroups,
        *,
        key_name: str,
        sheet: Callable[[Account], JsonObject],
        read: Callable[[Uri], Target] | None = None,
    ) -> None:
        """`read` says what a target means; `None` while the node is stopped."""
        self._accounts = accounts
        self._features = features
        self._groups = groups
        self._key_name = key_name
        self._sheet = sheet
        self._read = read

    # Forwarding and do-not-disturb

    def of(self, account: Account) -> JsonObject:
        """`dnd`, and `forwarding` with `always`, `busy`, `no_answer` (or null) and `after`."""
        found = self._features.of(account.login)
        forwarding: JsonObject = {name: getattr(found, name) for name in WHEN}
        return {"dnd": found.dnd, "forwarding": forwarding | {"after": found.after}}

    def forward(
        self,
        login: str,
        *,
        always: str | None = None,
        busy: str | None = None,
        no_answer: str | None = None,
        after: int | None = None,
        off: bool = False,
    ) -> JsonObject:
        """Set where calls go on to: what is not given stays, or is dropped with `off`."""
        account = self._account(login)
        given = {"always": always, "busy": busy, "no_answer": no_answer}
        targets = {
            name: self._target(account, text) for name, text in given.items() if text is not None
        }
        if after is not None:
            _check_seconds(after)
        found = self._features.of(account.login)
        if off:
            found = replace(found, always=None, busy=None, no_answer=None)
        found = replace(
            found,
            always=targets.get("always", found.always),
            busy=targets.get("busy", found.busy),
            no_answer=targets.get("no_answer", found.no_answer),
        )
        if after is not None:
            found = replace(found, after=after)
            if found.no_answer is None:
                raise RefusedError(
                    "seconds without a target would do nothing: give --no-answer TARGET too", 400
                )
        self._features.set(found)
        return self._told(account)

    def dnd(self, login: str, *, on: bool) -> JsonObject:
        """Switch do-not-disturb."""
        account = self._account(login)
        self._features.set(replace(self._features.of(account.login), dnd=on))
        return self._told(account)

    def _told(self, account: Account) -> JsonObject:
        answer: JsonObject = {"login": account.login}
        return answer | self.of(account)

    def _target(self, account: Account, text: str) -> str:
        plain = text.strip()
        if not plain or len(plain) > MAX_DIALLED or not plain.isprintable():
            raise RefusedError(
                f"a target is a number, a login or user@domain of up to {MAX_DIALLED} characters",
                400,
            )
        try:
            uri = dialled_uri(plain, self._key_name)
        except SipParseError as error:
            raise RefusedError(
                f"{plain!r} cannot be dialled: give a number, a login or user@domain", 400
            ) from error
        target = self._accounts.find(plain) if self._read is None else self._read(uri)
        if isinstance(target, Refusal):
            raise RefusedError(f"{plain!r} cannot be a target: {target.text}")
        if isinstance(target, ServiceTarget):
            raise RefusedError(f"{plain!r} is a service of this node, which takes no such calls")
        found = target.account if isinstance(target, LocalTarget) else target
        if isinstance(found, Account) and found.login == account.login:
            raise RefusedError(f"{account.login} cannot have its calls sent to itself")
        return plain

    def _account(self, login: str) -> Account:
        account = self._accounts.by_login(login)
        if account is None:
            raise RefusedError(
                f"no account {login!r} here; `ringmesh user list` shows which there are", 404
            )
        return account

    # Groups

    def groups(self) -> list[JsonObject]:
        """Every group."""
        return [self._shown(group) for group in self._groups if self._has_account(group)]

    def group(self, login: str) -> JsonObject:
        """One group: its sheet, and `members`, `mode`, `ring`."""
        return self._shown(self._group(login))

    def checked(self, login: str, members: Sequence[str], mode: str, ring: int) -> RingGroup:
        """A group that could be set."""
        names = self._names(members)
        _check_mode(mode)
        _check_seconds(ring)
        return RingGroup(login=login.lower(), members=names, mode=RingMode(mode), ring=ring)

    def _names(self, members: Sequence[str]) -> tuple[str, ...]:
        names = tuple(dict.fromkeys(name.strip().lower() for name in members if name.strip()))
        if not names:
            raise RefusedError("a group needs members: --members alice,bob", 400)
        if len(names) > MAX_MEMBERS:
            raise RefusedError(f"a group has at most {MAX_MEMBERS} members, not {len(names)}", 400)
        for name in names:
            if self._account(name).kind is AccountKind.GROUP:
                raise RefusedError(f"{name} is a group itself; name its members instead")
        return names

    def keep(self, group: RingGroup) -> JsonObject:
        """Have a group whose account exists."""
        self._groups.set(group)
        return self._shown(group)

    def group_set(
        self,
        login: str,
        *,
        members: Sequence[str] | None = None,
        mode: str | None = None,
        ring: int | None = None,
    ) -> JsonObject:
        """Change what is given."""
        old = self._group(login)
        if mode is not None:
            _check_mode(mode)
        if ring is not None:
            _check_seconds(ring)
        return self.keep(
            replace(
                old,
                members=old.members if members is None else self._names(members),
                mode=old.mode if mode is None else RingMode(mode),
                ring=old.ring if ring is None else ring,
            )
        )

    def check_group(self, login: str) -> str:
        """The login of a group that there is."""
        return self._group(login).login

    def forget(self, login: str) -> None:
        """An account is gone, and what was set for it."""
        self._features.remove(login)
        self._groups.remove(login)

    def _has_account(self, group: RingGroup) -> bool:
        return self._accounts.by_login(group.login) is not None

    def _group(self, login: str) -> RingGroup:
        group = self._groups.get(login.lower())
        if group is None or not self._has_account(group):
            raise RefusedError(
                f"no group {login!r} here; `ringmesh group list` shows which there are", 404
            )
        return group

    def _shown(self, group: RingGroup) -> JsonObject:
        account = self._account(group.login)
        answer = self._sheet(account)
        answer |= {"members": list(group.members), "mode": group.mode.value, "ring": group.ring}
        return answer | self.of(account)


def _check_seconds(seconds: int) -> None:
    if not 1 <= seconds <= LONGEST_RING:
        raise RefusedError(f"{seconds} s is no time to ring: give 1 to {LONGEST_RING}", 400)


def _check_mode(mode: str) -> None:
    if mode not in tuple(RingMode):
        raise RefusedError(f"{mode!r} is no way to ring: all, or in-turn", 400)
